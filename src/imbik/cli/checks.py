"""What commands share: the console, and checks of what was typed. Options: :mod:`imbik.cli.options`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from imbik.cli.speech import Speaker, say
from imbik.errors import UserError
from imbik.jobs.files import refuse_foreign_file

if TYPE_CHECKING:
    from imbik.measure.values import Limits


def volume(text: str) -> float:
    """A number of requests or texts as it was typed. ``100.000`` is a hundred thousand to some and a hundred to others, so it is refused.

    Raises:
        UserError: grouped digits, or not a number.

    >>> volume("100000"), volume("2.5e6")
    (100000.0, 2500000.0)
    """
    where = "number of requests or texts"
    # 2.500 too: in Turkish and German it is two and a half thousand
    if re.fullmatch(r"[+-]?\d{1,3}([.,' ]\d{3})+", text.strip()):
        raise UserError("digits in groups can be read in two ways", where=where, found=text, expected="digits alone, e.g. 100000")
    try:
        return float(text)
    except ValueError:
        raise UserError("not a number", where=where, found=text, expected="digits, e.g. 100000") from None


def consoles(quiet: bool = False) -> tuple[Console, Callable[[str], None]]:
    """A console on stderr (results go to stdout) and a function that says one line there."""
    # standard output carries results only, so that it can be piped
    console = Speaker(stderr=True, quiet=quiet, highlight=False)
    return console, lambda line: console.print(line, markup=False, soft_wrap=True)


def check_positive(name: str, value: float | None) -> None:
    """Refuse a limit of zero or below, or without end.

    Raises:
        UserError: naming the option.
    """
    if value is not None and not 0 < value < math.inf:
        raise UserError("must be a number above zero", where=name, found=value)


def check_share(name: str, value: float) -> None:
    """Refuse a share that is no share: 97 is meant as 0.97.

    Raises:
        UserError: naming the option.
    """
    check_positive(name, value)
    # above 1 is possible, a student may be better than its teacher; above 2 it must be per cent
    if value > 2:
        raise UserError("a share of the teacher's quality, not per cent", where=name, found=value, expected="a number such as 0.97")


def limits_of(min_retention: float, max_latency_ms: float | None, max_mb: float | None, minutes: float | None) -> Limits:
    """Return what the options of a budget ask of a candidate.

    Raises:
        UserError: what is no limit, naming the option.
    """
    for name, value in {"--max-latency-ms": max_latency_ms, "--max-mb": max_mb, "--minutes": minutes}.items():
        check_positive(name, value)
    check_share("--min-retention", min_retention)
    from imbik.measure.values import Limits

    return Limits(min_retention=min_retention, max_latency_ms=max_latency_ms, max_mb=max_mb)


def check_file(name: str, path: Path | None, ours: Callable[[Path], bool]) -> None:
    """Refuse a file to write that cannot be one, or that is somebody else's, before the work and not after it.

    Args:
        name: of the option, for the message.
        path: of the file; None or ``-``: none is written.
        ours: whether a file that stands there is one that the command wrote.

    Raises:
        UserError: naming the option or the file.
    """
    if path is None or str(path) == "-":
        return
    if path.is_dir():
        raise UserError("a folder stands where a file is to be written", where=name, found=path, fix="name a file in it")
    if not path.absolute().parent.is_dir():
        raise UserError("no such folder", where=path.absolute().parent, fix=f"create it, or choose another {name}")
    refuse_foreign_file(path, ours)


def echo(facts: dict[str, Any], line: str, as_json: bool) -> None:
    """A result on standard output: as JSON, or as a line."""
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        say(line)


def overridden(**values: Any) -> dict[str, Any]:
    """The options that the user gave."""
    return {name: value for name, value in values.items() if value is not None}
