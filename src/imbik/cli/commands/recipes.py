"""``imbik recipes``: list the shipped recipes, or check and print one."""

from __future__ import annotations

from typing import Annotated

import typer
import yaml
from rich.table import Table

from imbik.cli.speech import Speaker


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("recipes")
    def recipes(
        name: Annotated[str | None, typer.Argument(help="A shipped name, names joined by '+', or a YAML file.")] = None,
    ) -> None:
        """List the recipes, or check one and print it as YAML to copy and edit; of a name for several, each of them."""
        from imbik.compress.plan import LINEAR, linear_document
        from imbik.recipes.groups import GROUPS
        from imbik.recipes.recipe import dump_recipe, load_recipe, shipped
        from imbik.students.catalogue import student_names

        if name is not None:
            said = [
                yaml.safe_dump(linear_document(one), sort_keys=False) if one in LINEAR else dump_recipe(load_recipe(one))
                for one in GROUPS.get(name, (name,))
            ]
            typer.echo("---\n".join(said), nl=False)
            return
        free = ", ".join(name for name in student_names() if not name.islower())
        table = Table(title=f"Recipes; join parts by '+': layers-3+int8. Capital letters are numbers of your own in {free}")
        for column in ("name", "student", "steps"):
            table.add_column(column)
        for part in shipped():
            recipe = load_recipe(part)
            steps = ", ".join(step.name for step in recipe.steps)
            table.add_row(part, _in_words(recipe.student.written), steps)
        for linear in LINEAR:
            table.add_row(linear, linear, "")
        for group, names in GROUPS.items():
            table.add_row(group, "", ", ".join(names))
        Speaker().print(table)


def _in_words(student: object) -> str:
    """Return a student as a recipe has it: a name, its settings, or the teacher itself."""
    if isinstance(student, dict):
        return ", ".join(f"{name}: {value}" for name, value in student.items())
    return str(student or "the teacher itself")
