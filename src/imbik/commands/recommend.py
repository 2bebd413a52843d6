"""``imbik recommend …``: matrix factorisation of ratings."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    from imbik.recommend.cli import app as recommend

    app.add_typer(recommend, name="recommend")
