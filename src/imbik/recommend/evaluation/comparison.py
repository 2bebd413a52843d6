"""All models on the same splits of one data set: quality with intervals, seconds, memory, bytes."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from imbik.errors import UserError
from imbik.jobs.files import replacing
from imbik.jobs.paths import with_home
from imbik.machine import versions
from imbik.recommend.data.ratings import Ratings
from imbik.recommend.data.splits import Split, random_split
from imbik.recommend.evaluation.measures import evaluate, paired
from imbik.recommend.evaluation.memory import PeakMemory
from imbik.recommend.evaluation.result import Comparison, Entry, LeftOut, Spread, decimal
from imbik.recommend.models.model import Model
from imbik.recommend.models.registry import build

EXPLICIT = ("global-mean", "biases", "item-knn", "truncated-svd", "svd", "nmf", "pmf", "bpmf")
IMPLICIT = ("most-popular", "item-knn", "truncated-svd", "als", "logistic")
LOWER_IS_BETTER = ("rmse", "mae", "mpr")
RESULT_FILES = ("compare.json", "compare.md", "compare.svg")

Progress = Callable[[str], None]
Measured = dict[str, float]


def compare(
    ratings: Ratings,
    models: Sequence[str | Model] | None = None,
    *,
    splits: int = 3,
    test: float = 0.1,
    seed: int = 0,
    k: int = 10,
    progress: Progress | None = None,
    left_out: Sequence[LeftOut] = (),
) -> Comparison:
    """Fit every model on random splits and measure all of them the same way.

    Models are ranked by RMSE where all have one, else by NDCG. A model whose fit fails is left out of the table, with the
    reason in ``left_out``. Settings are taken as they are: choose them on a split of the training part, never here.

    Args:
        ratings: the data.
        models: names or models; None: all that can learn from the data, the others are left out.
        splits: how many, seeded by ``seed``, ``seed + 1``, ...
        test: share held out.
        seed: of the first split.
        k: length of a list of recommendations.
        progress: called with a line before each fit.
        left_out: models that the caller left out, to be told with the others.

    Raises:
        UserError: a model that is named here cannot learn from the data, no model could be fitted, impossible numbers.
    """
    if splits < 1:
        raise UserError("impossible number of splits", found=splits, expected="at least 1")
    if k < 1:
        raise UserError("impossible length of a list of recommendations", found=k, expected="at least 1")
    if models is None:
        chosen, absent = choose_models(ratings)
    else:
        chosen, absent = [build(model) if isinstance(model, str) else model for model in models], []
        for model in chosen:
            model._check(ratings)  # a mistake is told before hours of work, not in the middle of it
    _warm_up(chosen, ratings)
    pairs = (random_split(ratings, test, seed + number) for number in range(splits))  # one at a time in memory
    measured, failures = _measure_all(chosen, pairs, splits, k, progress)
    metric = "rmse" if all("rmse" in rows[0] for _, rows in measured) else "ndcg"
    return {
        "schema": 1,
        "metric": metric,
        "k": k,
        "splits": splits,
        "test": test,
        "seed": seed,
        "data": {"ratings": len(ratings), "users": ratings.shape[0], "items": ratings.shape[1], "implicit": ratings.implicit},
        "environment": {"machine": platform.machine(), "cpus": os.cpu_count(), **versions(("numpy", "numba", "scipy"))},
        "models": _table(measured, metric, test),
        "left_out": [*left_out, *absent, *failures],
    }


def suited(ratings: Ratings) -> tuple[str, ...]:
    """Return the models that can learn from these data: for events or for ratings, NMF for ratings that are not negative."""
    names = IMPLICIT if ratings.implicit else EXPLICIT
    return tuple(name for name in names if name != "nmf" or ratings.values.min() >= 0)


def choose_models(
    ratings: Ratings, make: Callable[[str], Model] = build, rank_given: bool = False
) -> tuple[list[Model], list[LeftOut]]:  # fmt: skip
    """Return all models for events or for ratings that can learn from these data, and the others with the reason.

    Args:
        ratings: the data.
        make: makes a model of a name.
        rank_given: whether the user chose the rank: one that does not fit is then a mistake, and no reason to leave out.

    Raises:
        UserError: no model can learn from the data, or see ``rank_given``.
    """
    chosen: list[Model] = []
    left_out: list[LeftOut] = []
    reason: UserError | None = None
    for name in IMPLICIT if ratings.implicit else EXPLICIT:
        model = make(name)
        try:
            model._check(ratings)
        except UserError as error:
            if rank_given and not 1 <= getattr(model, "rank", 1) <= min(ratings.shape):
                raise
            left_out.append({"name": name, "reason": str(error)})
            reason = reason or error
        else:
            chosen.append(model)
    if not chosen and reason is not None:
        raise reason
    return chosen, left_out


def _measure_all(
    models: Sequence[Model], pairs: Iterable[Split], count: int, k: int, progress: Progress | None
) -> tuple[list[tuple[Model, list[Measured]]], list[LeftOut]]:
    """Return the models that could be fitted on all splits with their measures, and those that could not."""
    rows: list[list[Measured]] = [[] for _ in models]
    failed: dict[int, UserError] = {}
    for number, split in enumerate(pairs):
        for place, model in enumerate(models):
            if place in failed:
                continue
            if progress:
                progress(f"split {number + 1}/{count}: {model.name}")
            try:
                rows[place].append(_measure(model, split.train, split.test, k))
            except UserError as error:
                failed[place] = error
                if progress:
                    progress(f"{model.name} is left out: {error}")
    if len(failed) == len(models):
        raise next(iter(failed.values()))
    # A model that failed on one split is judged on none: intervals compare the same splits.
    kept = [(model, rows[place]) for place, model in enumerate(models) if place not in failed]
    return kept, [{"name": models[place].name, "reason": str(error)} for place, error in failed.items()]


def _warm_up(models: Sequence[Model], ratings: Ratings) -> None:
    """Compile every kernel on a few rows, so that the first split is timed like the others."""
    few = ratings.take(np.arange(min(len(ratings), 2000)))
    for model in models:
        short: dict[str, object] = {name: 2 for name in ("epochs", "samples", "burn_in") if name in model.settings}
        try:
            small = build(model.name, **(model.settings | short)).fit(few)
            evaluate(small, few)
        except UserError:
            continue  # the same complaint comes again, about the real data, where it belongs


def _measure(model: Model, train: Ratings, test: Ratings, k: int) -> Measured:
    with PeakMemory() as memory:
        start = time.perf_counter()
        model.fit(train)
        fitted = time.perf_counter()
        model.predict_for(test)
        predicted = time.perf_counter()
    costs = {
        "train_seconds": fitted - start,
        "predict_seconds": predicted - fitted,
        "peak_mb": memory.extra / 1e6,
        "bytes": float(model.bytes),
    }
    return {**evaluate(model, test, k=k), **costs}


def _table(measured: Sequence[tuple[Model, list[Measured]]], metric: str, test: float) -> list[Entry]:
    """Return the models by the metric, best first, each beside the best."""
    entries: list[Entry] = [
        {"name": model.name, "settings": model.settings, "measures": _spreads(rows), "versus_best": {}} for model, rows in measured
    ]
    entries.sort(key=lambda entry: (1 if metric in LOWER_IS_BETTER else -1) * entry["measures"][metric]["mean"])
    best = np.array(entries[0]["measures"][metric]["values"])
    for entry in entries:
        difference = paired(np.array(entry["measures"][metric]["values"]), best, test=test)
        entry["versus_best"] = {name: value if np.isfinite(value) else None for name, value in difference.items()}
    return entries


def _spreads(rows: list[Measured]) -> dict[str, Spread]:
    from scipy.stats import t

    spreads: dict[str, Spread] = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        mean = float(values.mean())
        half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
        spreads[name] = {"mean": mean, "low": mean - half, "high": mean + half, "values": values.tolist()}
    return spreads


def write(result: Comparison, folder: str | Path) -> list[Path]:
    """Write ``compare.json``, ``compare.md`` and ``compare.svg``; return their paths.

    Raises:
        UserError: the folder holds files of these names that no comparison wrote.
    """
    from imbik.recommend.evaluation.figure import dot_plot

    folder = with_home(folder)
    check_replaceable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = (json.dumps(result, indent=1), markdown(result), dot_plot(result))
    for name, text in zip(RESULT_FILES, texts, strict=True):
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in RESULT_FILES]


def check_replaceable(folder: Path) -> None:
    """Check that the files that :func:`write` would replace are of a comparison.

    Raises:
        UserError: naming the file of others.
    """
    present = [name for name in RESULT_FILES if os.path.lexists(folder / name)]
    if not present:
        return
    try:
        document = json.loads((folder / RESULT_FILES[0]).read_text(encoding="utf-8"))
        is_comparison = {"schema", "metric", "models", "environment"} <= set(document)
    except (OSError, ValueError, TypeError, RecursionError):
        is_comparison = False
    if not is_comparison:
        raise UserError(
            "the folder holds a file of this name that no comparison wrote",
            where=folder / present[0],
            fix="choose another folder with --out, or move the file away",
        )


def columns(result: Comparison) -> list[tuple[str, str]]:
    """Return (title, measure) of the columns that this result can fill."""
    k = result["k"]
    titles = {
        "rmse": "RMSE",
        "mae": "MAE",
        "coverage": "cover 90 %",
        "ndcg": f"NDCG@{k}",
        "recall": f"Recall@{k}",
        "map": "MAP",
        "mpr": "MPR",
        "train_seconds": "train s",
        "predict_seconds": "predict s",
        "peak_mb": "peak MB",
        "bytes": "model MB",
    }
    return [(title, measure) for measure, title in titles.items() if any(measure in entry["measures"] for entry in result["models"])]


def cell(entry: Entry, measure: str) -> str:
    """Return one cell of the table as text."""
    if measure not in entry["measures"]:
        return "-"
    value = entry["measures"][measure]["mean"]
    if measure == "bytes":
        return f"{value / 1e6:.2f}"
    if measure in ("train_seconds", "predict_seconds"):
        return f"{value:.3f}"
    if measure == "peak_mb":
        return f"{value:.0f}"
    half = entry["measures"][measure]["high"] - value
    return f"{decimal(value)} ± {decimal(half)}" if measure in ("rmse", "ndcg") and half else decimal(value)


def absences(result: Comparison) -> list[str]:
    """Return a line for each model that is not in the table."""
    return [f"left out: {entry['name']}: {' '.join(entry['reason'].split())}" for entry in result["left_out"]]


def markdown(result: Comparison) -> str:
    """Return the table as Markdown, best model first, with the models that are not in it below."""
    head = columns(result)
    lines = ["| model | " + " | ".join(title for title, _ in head) + " |", "|---" * (len(head) + 1) + "|"]
    for entry in result["models"]:
        lines.append(f"| {entry['name']} | " + " | ".join(cell(entry, measure) for _, measure in head) + " |")
    missing = absences(result)
    return "\n".join([*lines, *([""] if missing else []), *(f"* {line}" for line in missing)]) + "\n"
