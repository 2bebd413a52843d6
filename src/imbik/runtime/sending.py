"""A predictor in another process, or copied: it is opened again from its folder there, since an engine's session cannot be sent."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from imbik.errors import UserError
from imbik.jobs.paths import with_home

Settings = ParamSpec("Settings")


class Sendable:
    """What pickle sends by how it was opened: joblib, ``multiprocessing`` and Spark do."""

    _opened: functools.partial[Any] | None = None

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        if self._opened is None:
            fix = "open it there: load_artefact(folder)"
            raise UserError("a predictor that was not opened from a folder cannot be copied, or sent to another process", fix=fix)
        return self._opened, ()


Opened = TypeVar("Opened", bound=Sendable)


def sendable(load: Callable[Settings, Opened]) -> Callable[Settings, Opened]:
    """Make what ``load`` opens from a folder, its first argument, remember how.

    Args:
        load: a function of a module, found there under its name.
    """

    @functools.wraps(load)
    def remembering(*arguments: Settings.args, **settings: Settings.kwargs) -> Opened:
        opened = load(*arguments, **settings)
        path = arguments[0] if arguments else settings["path"]
        others = {name: value for name, value in settings.items() if name != "path"}
        # absolute: the other process may work elsewhere
        opened._opened = functools.partial(remembering, with_home(path).absolute(), **others)  # type: ignore[arg-type,call-arg]
        return opened

    return remembering
