"""``--lang``: an option of every command and of ``imbik`` itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import typer

from imbik.cli.options import LangOption


def add_language(app: typer.Typer) -> None:
    """Give every command and group of commands the option that lets it speak, where it has none of its own."""
    for command in app.registered_commands:
        if command.callback is not None and "lang" not in inspect.signature(command.callback).parameters:
            command.callback = _speaking(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_language(group.typer_instance)
            group.typer_instance.callback()(_group)


def _group(lang: LangOption = "en") -> None:
    """Take the option; its callback has done the work."""


def _speaking(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with one more option, which the command does not see."""
    own = inspect.signature(command, eval_str=True).parameters

    @functools.wraps(command)
    def run(*, lang: str, **arguments: Any) -> None:
        command(**arguments)

    option = inspect.Parameter("lang", inspect.Parameter.KEYWORD_ONLY, default="en", annotation=LangOption)
    # typer reads signature and annotations
    run.__signature__ = inspect.Signature([*own.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {name: parameter.annotation for name, parameter in own.items()} | {"lang": LangOption}
    return run
