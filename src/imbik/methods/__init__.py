"""Methods: one file per step that a recipe may name.

A new method is one file here with ``@method("name")``; :func:`registered` finds it. A method of another package registers itself
with the same decorator when that package is imported.
"""

from imbik.methods.registry import Method, check_order, make_method, make_methods, method, registered

__all__ = ["Method", "check_order", "make_method", "make_methods", "method", "registered"]
