"""What commands share: the console, the options that read data, and tables of results."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from imbik.environment import CPUS
from imbik.errors import UserError


def volume(text: str) -> float:
    """A number of requests or texts as it was typed. ``100.000`` is a hundred thousand to some and a hundred to others, so it is refused.

    Raises:
        UserError: grouped digits, or not a number.

    >>> volume("100000"), volume("2.5e6")
    (100000.0, 2500000.0)
    """
    where = "number of requests or texts"
    if re.fullmatch(r"[+-]?\d{1,3}([.,' ]\d{3})+", text.strip()):
        raise UserError("digits in groups can be read in two ways", where=where, found=text, expected="digits alone, e.g. 100000")
    try:
        return float(text)
    except ValueError:
        raise UserError("not a number", where=where, found=text, expected="digits, e.g. 100000") from None


TextOption = Annotated[str | None, typer.Option("--text", help="Column with the text (guessed and printed if not given).")]
PairOption = Annotated[str | None, typer.Option("--text-pair", help="Column with the second text of a pair.")]
LabelOption = Annotated[str | None, typer.Option("--label", help="Column with the label; several, comma-separated: multi-label.")]
TaskOption = Annotated[
    str | None, typer.Option("--task", help="classification, multi-label or regression (guessed if not given); finetune: mlm too.")
]
EncodingOption = Annotated[str | None, typer.Option("--encoding", help="Of the files, where it is neither UTF-8 nor marked UTF-16.")]
DataOption = Annotated[str, typer.Option("--data", help="A file, a folder with train/dev/test files, or a hub name.")]
CpuOption = Annotated[str, typer.Option("--cpu", help=f"Processor that int8 artefacts are made for: {', '.join(CPUS)}.")]
MultipleOption = Annotated[
    int | None, typer.Option("--length-multiple", help="Pad lengths to a multiple of this (default: what the engine asks for).", min=1)
]
OutOption = Annotated[Path, typer.Option("--out", help="Output folder.")]


def consoles(quiet: bool = False) -> tuple[Console, Callable[[str], None]]:
    """A console on stderr (results go to stdout) and a function that says one line there."""
    console = Console(stderr=True, quiet=quiet, highlight=False)
    return console, lambda line: console.print(line, markup=False)


def check_positive(name: str, value: float | None) -> None:
    """Refuse a limit of zero or below.

    Raises:
        UserError: naming the option.
    """
    if value is not None and not value > 0:
        raise UserError("must be above zero", where=name, found=value)


def overridden(**values: Any) -> dict[str, Any]:
    """The options that the user gave."""
    return {name: value for name, value in values.items() if value is not None}
