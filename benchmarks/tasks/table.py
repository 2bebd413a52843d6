"""The grids of methods, engines and students by task, as what is registered says of itself; tests/contracts runs every cell."""

from __future__ import annotations

from collections.abc import Callable

from imbik.export.builders.registry import builders, refusal
from imbik.methods.registry import registered as methods
from imbik.students.pooled import why_not
from imbik.tasks.registry import registered as tasks
from imbik.testing.contract import takes


def grid(first: str, rows: dict[str, dict[str, str]]) -> list[str]:
    """Return a table with a column for each task."""
    names = list(tasks())
    head = [f"| {' | '.join([first, *(f'`{name}`' for name in names)])} |", "|---|" + "---|" * len(names)]
    return [*head, *(f"| {row} | {' | '.join(cells[name] for name in names)} |" for row, cells in rows.items())]


def of_methods() -> list[str]:
    """Return which step takes models of which task; the others are refused when a recipe is read."""
    return grid("step", {f"`{name}`": {task: "yes" if takes(name, task) else "refused" for task in tasks()} for name in sorted(methods())})


def of_engines() -> list[str]:
    """Return which engine answers which task: with students of both kinds, of one, or not."""
    layered = {name: made.takes("bert") for name, made in builders().items()}
    flat = {name: made.takes("imbik_bag") for name, made in builders().items()}
    able = {(name, task): refusal(name, (), "bert", task=task) is None for name in builders() for task in tasks()}
    rows = {
        f"`{name}`": {task: kinds(layered[name] and able[name, task], flat[name] and why_not(task, None) is None) for task in tasks()}
        for name in builders()
    }
    return grid("engine", rows)


def kinds(layered: bool, flat: bool) -> str:
    """Return which students an engine runs."""
    return {(True, True): "yes", (True, False): "with layers", (False, True): "without layers"}.get((layered, flat), "no")


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {"methods": ((), of_methods), "engines": ((), of_engines)}
"""Name -> the result files that it reads (none), and the function that makes its lines."""
