"""How the commands read a file of ratings: one set of options for all of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from imbik.errors import UserError

if TYPE_CHECKING:
    from imbik.recommend.ratings import Ratings

RULES = ("last", "mean", "sum", "error")


@dataclass(frozen=True)
class Source:
    """The options; every field is one."""

    user_column: Annotated[str | None, typer.Option(help="Name or number of the user column.")] = None
    item_column: Annotated[str | None, typer.Option(help="Name or number of the item column.")] = None
    rating_column: Annotated[str | None, typer.Option(help="Name or number of the rating column.")] = None
    time_column: Annotated[str | None, typer.Option(help="Name or number of the time column.")] = None
    separator: Annotated[str | None, typer.Option(help="What stands between columns (guessed).")] = None
    encoding: Annotated[str | None, typer.Option(help="Of the file, where it is neither UTF-8 nor marked UTF-16.")] = None
    implicit: Annotated[bool, typer.Option("--implicit", help="Values are counts of events, not opinions.")] = False
    duplicates: Annotated[str | None, typer.Option(help="A cell that occurs twice: last, mean, sum or error.")] = None

    def read(self, path: Path, console: Console, events: bool = False) -> Ratings:
        """The ratings of a file, as events if asked by the caller or the user; tells what was noticed."""
        from imbik.recommend.reading import read_ratings

        if self.duplicates not in (None, *RULES):
            raise UserError("unknown rule", where="--duplicates", found=self.duplicates, expected=", ".join(RULES))
        data = read_ratings(
            path, user=self.user_column, item=self.item_column, rating=self.rating_column, time=self.time_column,
            separator=self.separator, encoding=self.encoding, implicit=self.implicit or events or None,
            duplicates=self.duplicates,  # type: ignore[arg-type]
        )  # fmt: skip
        for note in data.notes:
            console.print(f"note: {escape(note)}")
        return data


def reads_ratings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `source` of a command by the options of `Source`."""
    options = inspect.signature(Source, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True).parameters

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        source = Source(**{name: arguments.pop(name) for name in options})
        command(**arguments, source=source)

    parameters = [p for name, p in own.items() if name != "source"] + list(options.values())
    run.__signature__ = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
