"""What the command line prints, in the language of ``--lang``: lines, tables, help, and the mistakes that typer itself finds.

In English nothing here does anything.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import typer
from rich.console import Console
from rich.table import Table

from imbik.locale.language import language, translated

_PIPED = 160  # columns


class Speaker(Console):
    """A console that says sentences of ours in the reader's language; of a table, its title and the heads of its columns."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does."""
        super().print(*(_shown(thing) for thing in objects), **options)


def table_speaker() -> Speaker:
    """Return a console for a wide table: as wide as the window, or in a pipe, which has no width, as wide as such tables are."""
    console = Speaker(highlight=False)
    return console if console.is_terminal else Speaker(highlight=False, width=_PIPED)


def say(line: str, *, err: bool = False, nl: bool = True) -> None:
    """Print one line as it is, without markup, in the reader's language."""
    typer.echo(translated(line), err=err, nl=nl)


def _shown(thing: object) -> object:
    if isinstance(thing, str):
        return translated(thing)
    if isinstance(thing, Table) and language() != "en":
        for part in (thing, *thing.columns):
            for name in ("title", "caption", "header"):
                if isinstance(text := getattr(part, name, None), str):
                    setattr(part, name, translated(text))
    return thing


class LogLines(logging.Formatter):
    """A library's warnings as one line each, ours in the reader's language."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return translated(super().format(record))


@contextlib.contextmanager
def translated_help() -> Iterator[None]:
    """Let typer show help and mistakes of typing in the language that is spoken.

    typer looks its own texts up by gettext while it is imported, ours not at all, and its copy of click has plain English. So the two
    functions through which it writes every text, and the words that it looked up, are replaced for the time of a command.
    """
    if language() == "en":
        yield
        return
    from typer import rich_utils

    replaced: dict[str, Any] = {
        name: translated(text)
        for name, text in vars(rich_utils).items()
        if name.endswith(("_STRING", "_TITLE", "_TEXT", "RICH_HELP")) and isinstance(text, str)
    }
    write, highlight = rich_utils._make_rich_text, rich_utils.highlighter
    replaced["_make_rich_text"] = lambda *, text, **how: write(text=_paragraphs(text), **how)
    replaced["highlighter"] = _of_text(highlight)
    with mock.patch.multiple(rich_utils, **replaced):
        yield


def _of_text(highlight: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda text: highlight(translated(text) if isinstance(text, str) else text)


def _paragraphs(text: str) -> str:
    """Say a docstring paragraph by paragraph, wherever its lines end."""
    return "\n\n".join(translated(" ".join(paragraph.split())) for paragraph in text.split("\n\n"))
