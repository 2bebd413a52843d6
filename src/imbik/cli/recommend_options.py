"""Options that commands of ratings share: how a file is read, and where a model is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from imbik.errors import UserError

if TYPE_CHECKING:
    from imbik.recommend.data.ratings import Ratings
    from imbik.recommend.data.reading import Pairs
    from imbik.recommend.models.model import Model


@dataclass(frozen=True)
class Columns:
    """Options that say how users and items are found in a file."""

    user_column: Annotated[str | None, typer.Option(help="Name or number of the user column.")] = None
    item_column: Annotated[str | None, typer.Option(help="Name or number of the item column.")] = None
    separator: Annotated[str | None, typer.Option(help="What stands between columns, \\t for a tab (guessed).")] = None
    encoding: Annotated[str | None, typer.Option(help="Of the file, where it is neither UTF-8 nor marked UTF-16.")] = None

    def pairs(self, path: Path) -> Pairs:
        """Return the pairs of a file."""
        from imbik.recommend.data.reading import read_pairs

        return read_pairs(path, self.encoding, user=self.user_column, item=self.item_column, separator=self.separator)


@dataclass(frozen=True)
class Source(Columns):
    """The same options with those that ratings need."""

    rating_column: Annotated[str | None, typer.Option(help="Name or number of the rating column.")] = None
    time_column: Annotated[str | None, typer.Option(help="Name or number of the time column.")] = None
    implicit: Annotated[bool, typer.Option("--implicit", help="Values are counts of events, not opinions.")] = False
    duplicates: Annotated[str | None, typer.Option(help="A cell that occurs twice: last, mean, sum or error.")] = None

    def read(self, path: Path, console: Console, events: bool = False) -> Ratings:
        """Return the ratings of a file, as events if asked by the caller or the user; print what was noticed.

        Raises:
            UserError: see :func:`imbik.recommend.read_ratings`.
        """
        from imbik.recommend.data.ratings import check_rule
        from imbik.recommend.data.reading import read_ratings

        check_rule(self.duplicates, "--duplicates")
        data = read_ratings(
            path,
            user=self.user_column,
            item=self.item_column,
            rating=self.rating_column,
            time=self.time_column,
            separator=self.separator,
            encoding=self.encoding,
            implicit=self.implicit or events or None,
            duplicates=self.duplicates,  # type: ignore[arg-type]
        )
        for note in data.notes:
            console.print(f"note: {escape(note)}")
        return data


@dataclass(frozen=True)
class Cluster:
    """Options that say on which machines a model is fitted."""

    ray: Annotated[str | None, typer.Option("--ray", help="Fit on a Ray cluster, users divided: its address, auto, or local.")] = None
    workers: Annotated[int | None, typer.Option("--workers", help="Actors for --ray (default: one a processor).", min=1)] = None

    def check(self, model: Model) -> None:
        """Check that the model can be fitted there.

        Raises:
            UserError: it cannot, or workers without a cluster are asked for.
        """
        if self.ray is not None:
            model.check_sharding()
        elif self.workers is not None:
            fix = "give --ray local, or leave --workers out"
            raise UserError("workers belong to a cluster", where="--workers", found="no --ray", fix=fix)
