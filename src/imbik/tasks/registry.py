"""The registry of tasks: every module of this package that registers one, and those of other packages that announce theirs.

A package of one's own announces a task by the entry point group ``imbik.tasks``, whose value is the module that registers it: then
every process knows it, the workers that measure included.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import TypeVar

from imbik.errors import UserError
from imbik.tasks.label_cells import LabelCells
from imbik.tasks.metrics import Metric
from imbik.tasks.outputs import Array
from imbik.tasks.task import Decoded, Task

DEFAULT = "classification"
"""The task of results that name none."""

_TASKS: dict[str, Task] = {}
_Class = TypeVar("_Class", bound=type[Task])


def register(cls: _Class) -> _Class:
    """Register a class of tasks under its name (a decorator)."""
    _TASKS[cls.name] = cls()
    return cls


@functools.cache
def _import_all() -> None:
    package = importlib.import_module("imbik.tasks")
    for module in pkgutil.iter_modules(package.__path__, "imbik.tasks."):
        importlib.import_module(module.name)
    for point in entry_points(group="imbik.tasks"):
        point.load()


def registered() -> dict[str, Task]:
    """Return all tasks by name."""
    _import_all()
    return dict(sorted(_TASKS.items()))


def task_of(name: str, where: object = "--task") -> Task:
    """Return the task of this name.

    Raises:
        UserError: there is none; ``where`` says where the name stands.

    >>> task_of("regression").metric().name
    'spearman'
    """
    _import_all()
    if name not in _TASKS:
        raise UserError("unknown task", where=where, found=repr(name), expected=" or ".join(registered()))
    return _TASKS[name]


def guess_task(columns: Sequence[LabelCells], labels: Sequence[str] | None) -> Task:
    """Return the task that the label columns of train speak for most clearly; see :meth:`imbik.tasks.task.Task.recognize`.

    Raises:
        UserError: nothing speaks for any, or as much for one as for another.
    """
    claims = {task: task.recognize(columns, labels) for task in registered().values()}
    best = max(claims.values())
    where = f"{columns[0].where(0)}" if columns[0].numbers is None else f"column {columns[0].name!r}"
    if best <= 0:
        raise UserError(
            "these do not look like labels",
            where=where,
            found=f"{len(columns[0].values):,} different values in {len(columns[0].codes):,} rows",
            expected="labels that repeat, or numbers",
            fix="name the label column with --label, and say with --task what it holds",
        )
    tied = [task for task, claim in claims.items() if claim == best]
    if len(tied) > 1:
        reasons = dict.fromkeys(filter(None, (task.reason(columns, labels) for task in tied)))
        raise UserError(
            f"{' or '.join(task.name for task in tied)}? The labels could be read either way",
            where=where,
            found="; ".join(reasons) or None,
            fix=f"decide it: {' or '.join(f'--task {task.name}' for task in tied)}",
        )
    return tied[0]


def metric_named(name: str | None) -> Metric | None:
    """Return the metric of this name, whichever task has it; None: no task has.

    >>> metric_named("rmse").less_is_better
    True
    """
    known = (metric for task in registered().values() for metric in (*task.metrics, *task.ranking_metrics))
    return next((metric for metric in known if metric.name == name), None)


def less_is_better(name: str | None) -> bool:
    """Return whether a metric is an error; what no task has is taken as a score."""
    metric = metric_named(name)
    return metric is not None and metric.less_is_better


def metric_for(task: str, metric: str | None) -> str:
    """Return the metric to use: the named one, or the task's default.

    Raises:
        UserError: the task has no such metric.
    """
    return task_of(task).metric(metric).name


def score(metric: str, decoded: Decoded, targets: Array, task: str) -> float:
    """Compute the quality of answers (probabilities (N, L), say) against ``targets``, one number.

    Raises:
        UserError: the task has no such metric.

    >>> import numpy as np
    >>> score("accuracy", np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]), "classification")
    0.5
    """
    return task_of(task).score(metric, decoded, targets)
