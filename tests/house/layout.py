"""Reading the house: modules, the imports among them, circles."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "imbik"

FLOORS = (
    ("errors", "types", "machine"),
    ("jobs", "tasks", "locale", "images"),
    ("data", "models"),
    ("training", "runtime", "recommend"),
    ("measure", "serve", "page", "predict", "students", "pretraining", "quantization", "factorization", "sharing", "linear", "trim"),
    ("finetune", "distillation", "pruning", "push"),
    ("advise", "methods"),
    ("roi", "export", "recipes"),
    ("literature", "testing", "cascade", "modules"),
    ("report",),
    ("compress",),
    ("demo", "search"),
    ("cli",),
    ("__main__",),
)
"""Packages by floor, the ground first. A package imports only what stands on a lower floor, or itself."""


def module_name(path: Path) -> str:
    """``imbik.data.load`` for ``src/imbik/data/load.py``; a package's name for its ``__init__.py``."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module by name, parsed."""
    return {module_name(path): ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}


def room(module: str) -> str:
    """The part of a name below ``imbik`` that FLOORS lists: ``data`` of ``imbik.data.formats.csv``."""
    return module.split(".")[1] if "." in module else module


def imports(name: str, tree: ast.Module, known: Mapping[str, object], everywhere: bool) -> Iterator[tuple[str, int]]:
    """(module of the house, line) that ``name`` imports: at module level only, or inside functions too.

    Imports for the type checker alone (``if TYPE_CHECKING``) count as inside.
    """
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found = [f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in known else node.module for a in node.names]
        else:
            continue
        yield from ((module, node.lineno) for module in dict.fromkeys(found) if module in known and module != name)


def circles(everywhere: bool) -> list[list[str]]:
    """Groups of modules that import one another in a circle (strongly connected components of more than one; Tarjan 1972)."""
    known = modules()
    edges = {name: {m for m, _ in imports(name, tree, known, everywhere)} for name, tree in known.items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in edges[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            part = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(part) > 1:
                found.append(sorted(part))

    for name in edges:
        if name not in index:
            visit(name)
    return found


def climbs() -> list[str]:
    """Imports, inside functions too, of a package on the same floor or a higher one."""
    known = modules()
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    wrong = []
    for name, tree in known.items():
        if name == "imbik":
            continue
        for other, line in imports(name, tree, known, everywhere=True):
            if other == "imbik":
                continue
            mine, theirs = room(name), room(other)
            if mine != theirs and floor[mine] <= floor[theirs]:
                wrong.append(f"{name}:{line} imports {other}")
    return wrong
