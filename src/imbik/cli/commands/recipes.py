"""``imbik recipes``: list the shipped recipes, or check and print one."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from imbik.cli.speech import Speaker


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("recipes")
    def recipes(
        name: Annotated[str | None, typer.Argument(help="A shipped name, names joined by '+', or a YAML file.")] = None,
    ) -> None:
        """List the recipes, or check one and print it as YAML to copy and edit."""
        from imbik.recipes.groups import GROUPS
        from imbik.recipes.recipe import dump_recipe, load_recipe, shipped

        if name is not None:
            typer.echo(dump_recipe(load_recipe(name)), nl=False)
            return
        table = Table(title="Recipes; join parts by '+': layers-3+int8. N of layers-N is any number of the teacher's layers")
        for column in ("name", "student", "steps"):
            table.add_column(column)
        for part in shipped():
            recipe = load_recipe(part)
            steps = ", ".join(step.name for step in recipe.steps)
            table.add_row(part, _in_words(recipe.student.written), steps)
        for group, names in GROUPS.items():
            table.add_row(group, "", ", ".join(names))
        Speaker().print(table)


def _in_words(student: object) -> str:
    """Return a student as a recipe has it: a name, its settings, or the teacher itself."""
    if isinstance(student, dict):
        return ", ".join(f"{name}: {value}" for name, value in student.items())
    return str(student or "the teacher itself")
