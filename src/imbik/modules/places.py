"""Which modules of a network a step looks at, and which share their weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from torch import nn

from imbik.models.hooks import module_at


def chosen(model: nn.Module, exclude: Sequence[str]) -> list[tuple[str, nn.Module]]:
    """List the modules that are not excluded and not inside an excluded one, a shared one once.

    Raises:
        UserError: an excluded path that the model does not have.
    """
    # a misspelt path would exclude nothing, in silence
    for path in exclude:
        module_at(model, path)
    return [(path, module) for path, module in model.named_modules() if not inside(path, exclude)]


def inside(path: str, folders: Sequence[str]) -> bool:
    """Tell whether a path is one of ``folders`` or below one.

    >>> inside("head.0", ["head"]), inside("header", ["head"])
    (True, False)
    """
    return any(path == folder or path.startswith(f"{folder}.") for folder in folders)


def tied_weights(model: nn.Module) -> set[str]:
    """Return the paths of modules of which another module holds a parameter too."""
    holders: dict[int, set[str]] = defaultdict(set)
    # a module that stands at several paths is one holder: named_modules gives its first path alone
    for path, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            holders[id(parameter)].add(path)
    return {path for paths in holders.values() if len(paths) > 1 for path in paths}
