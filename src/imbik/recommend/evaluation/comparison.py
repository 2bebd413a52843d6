"""All models on the same splits of one data set: quality with intervals, seconds, memory, bytes."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.ratings import Ratings
from imbik.recommend.data.splits import random_split
from imbik.recommend.evaluation.measures import evaluate, paired
from imbik.recommend.evaluation.memory import PeakMemory
from imbik.recommend.models.model import Model
from imbik.recommend.models.registry import build

EXPLICIT = ("global-mean", "biases", "item-knn", "truncated-svd", "svd", "nmf", "pmf", "bpmf")
IMPLICIT = ("most-popular", "item-knn", "truncated-svd", "als", "logistic")
LOWER_IS_BETTER = ("rmse", "mae", "mpr")


def compare(
    ratings: Ratings,
    models: Sequence[str | Model] | None = None,
    *,
    splits: int = 3,
    test: float = 0.1,
    seed: int = 0,
    k: int = 10,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Fit every model on `splits` random splits (seeds seed, seed + 1, ...) and measure all of them the same way.

    Models are ranked by RMSE where all have one, else by NDCG.

    Returns {"data", "environment", "metric", "k", "models": [{"name", "settings", "measures": {name: {"mean", "low", "high",
    "values"}}, "versus_best": paired comparison, ...}]}, best first. Intervals are Student's over the splits (of a
    single split: the value itself, and None in the comparison). Settings are taken as they are: choose them on a split of
    the training part, never here.
    """
    if splits < 1:
        raise UserError("impossible number of splits", found=splits, expected="at least 1")
    chosen = [build(m) if isinstance(m, str) else m for m in models or suited(ratings)]
    if k < 1:
        raise UserError("impossible length of a list of recommendations", found=k, expected="at least 1")
    for model in chosen:
        model._check(ratings)  # a mistake is told before hours of work, not in the middle of it
    _warm_up(chosen, ratings)
    rows: list[list[dict[str, float]]] = [[] for _ in chosen]
    for number in range(splits):
        train, held = random_split(ratings, test, seed + number)
        for model, row in zip(chosen, rows, strict=True):
            if progress:
                progress(f"split {number + 1}/{splits}: {model.name}")
            row.append(_measure(model, train, held, k))
    metric = "rmse" if all("rmse" in row[0] for row in rows) else "ndcg"
    table = [_summary(model, row) for model, row in zip(chosen, rows, strict=True)]
    table.sort(key=lambda r: (1 if metric in LOWER_IS_BETTER else -1) * r["measures"][metric]["mean"])
    for entry in table:
        best, own = (np.array(e["measures"][metric]["values"]) for e in (table[0], entry))
        entry["versus_best"] = {name: value if np.isfinite(value) else None for name, value in paired(own, best, test=test).items()}
    return {
        "schema": 1, "metric": metric, "k": k, "splits": splits, "test": test, "seed": seed,
        "data": {"ratings": len(ratings), "users": ratings.shape[0], "items": ratings.shape[1], "implicit": ratings.implicit},
        "environment": _environment(), "models": table,
    }  # fmt: skip


def suited(ratings: Ratings) -> tuple[str, ...]:
    """The models that can learn from these data: for events or for ratings, NMF for ratings that are not negative."""
    names = IMPLICIT if ratings.implicit else EXPLICIT
    return tuple(name for name in names if name != "nmf" or ratings.values.min() >= 0)


def _warm_up(models: Sequence[Model], ratings: Ratings) -> None:
    """Compile every kernel on a few rows, so that the first split is timed like the others."""
    few = ratings.take(np.arange(min(len(ratings), 2000)))
    for model in models:
        small = build(model.name, **{**model.settings, **_tiny(model)})
        try:
            small.fit(few)
            evaluate(small, few)
        except UserError:
            continue  # the same complaint comes again, about the real data, where it belongs


def _tiny(model: Model) -> dict[str, int]:
    return {k: 2 for k in ("epochs", "samples", "burn_in") if hasattr(model, k)}


def _measure(model: Model, train: Ratings, held: Ratings, k: int) -> dict[str, float]:
    with PeakMemory() as memory:
        start = time.perf_counter()
        model.fit(train)
        fitted = time.perf_counter()
        model.predict_for(held)
        predicted = time.perf_counter()
    costs = {
        "train_seconds": fitted - start, "predict_seconds": predicted - fitted,
        "peak_mb": memory.extra / 1e6, "bytes": float(model.bytes),
    }  # fmt: skip
    return {**evaluate(model, held, k=k), **costs}


def _summary(model: Model, rows: list[dict[str, float]]) -> dict[str, Any]:
    from scipy.stats import t

    measures = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
        mean = float(values.mean())
        measures[name] = {"mean": mean, "low": mean - float(half), "high": mean + float(half), "values": values.tolist()}
    return {"name": model.name, "settings": model.settings, "measures": measures}


def _environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count(),
        "numpy": version("numpy"), "numba": version("numba"), "scipy": version("scipy"),
    }  # fmt: skip


def write(result: dict[str, Any], folder: str | Path) -> list[Path]:
    """`compare.json`, `compare.md` and `compare.svg` in `folder`; returns their paths."""
    from imbik.recommend.evaluation.figure import dot_plot

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "compare.json": json.dumps(result, indent=1),
        "compare.md": markdown(result),
        "compare.svg": dot_plot(result),
    }
    for name, text in texts.items():
        temporary = folder / f"{name}.tmp"
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, folder / name)
    return [folder / name for name in texts]


def columns(result: dict[str, Any]) -> list[tuple[str, str]]:
    """(title, measure) of the columns that this result can fill."""
    k = result["k"]
    every = [
        ("RMSE", "rmse"), ("MAE", "mae"), ("cover 90 %", "coverage"), (f"NDCG@{k}", "ndcg"), (f"Recall@{k}", "recall"),
        ("MAP", "map"), ("MPR", "mpr"), ("train s", "train_seconds"), ("predict s", "predict_seconds"),
        ("peak MB", "peak_mb"), ("model MB", "bytes"),
    ]  # fmt: skip
    return [(title, m) for title, m in every if any(m in row["measures"] for row in result["models"])]


def cell(row: dict[str, Any], measure: str) -> str:
    """One cell of the table as text."""
    if measure not in row["measures"]:
        return "-"
    value = row["measures"][measure]["mean"]
    if measure == "bytes":
        return f"{value / 1e6:.2f}"
    if measure in ("train_seconds", "predict_seconds"):
        return f"{value:.3f}"
    if measure == "peak_mb":
        return f"{value:.0f}"
    half = row["measures"][measure]["high"] - value
    return f"{value:.4f} ± {half:.4f}" if measure in ("rmse", "ndcg") and half else f"{value:.4f}"


def markdown(result: dict[str, Any]) -> str:
    """The table as Markdown, best model first."""
    head = columns(result)
    lines = ["| model | " + " | ".join(t for t, _ in head) + " |", "|---" * (len(head) + 1) + "|"]
    for row in result["models"]:
        lines.append(f"| {row['name']} | " + " | ".join(cell(row, m) for _, m in head) + " |")
    return "\n".join(lines) + "\n"
