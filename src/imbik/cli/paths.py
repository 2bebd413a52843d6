"""``~`` in whatever a command takes as a path: shells leave it alone in quotes and behind ``--option=``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import typer

from imbik.jobs.paths import with_home

_PATHS_OR_NAMES = frozenset(("base", "teacher", "data", "recipe", "scenario"))
"""Parameters that take a path or the name of something shipped or on a hub."""

_MARK = "expands_paths"


def expand_paths(app: typer.Typer) -> None:
    """Let every command of an application, those of its groups too, see paths with the home folder in the place of ``~``."""
    for command in app.registered_commands:
        if command.callback is not None and not hasattr(command.callback, _MARK):
            command.callback = _expanding(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            expand_paths(group.typer_instance)


def _expanding(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def run(**arguments: object) -> None:
        command(**{name: _expand(name, value) for name, value in arguments.items()})

    setattr(run, _MARK, True)
    return run


def _expand(name: str, value: object) -> object:
    """Return a value with its paths expanded; texts that are no paths, such as those of ``imbik predict``, stay as they are.

    >>> _expand("texts", ["~ is a tilde"]), _expand("data", "owner/name"), _expand("out", Path("-"))
    (['~ is a tilde'], 'owner/name', PosixPath('-'))
    """
    if isinstance(value, list | tuple):
        return [_expand(name, item) for item in value]
    if isinstance(value, Path):
        return with_home(value)
    if isinstance(value, str) and name in _PATHS_OR_NAMES and value.startswith("~"):
        return str(with_home(value))
    return value
