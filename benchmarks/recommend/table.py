"""The tables of recommendation, from the result files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, read_result
from benchmarks.recommend.netflix import Assumed, lines
from imbik.recommend.evaluation.measures import paired

QUALITY = tuple(f"recommend/{path.stem}" for path in sorted((RESULTS / "recommend").glob("quality-*.json")))
TITLES = {"imbik": "**imbik**", "surprise": "scikit-surprise", "smurff": "SMURFF"}


def head(*titles: str) -> list[str]:
    """Return the first two lines of a table."""
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]


@cache
def _quality_rows() -> dict[tuple[str, str, str], Any]:
    """Return (library, model, default or tuned) -> its row."""
    rows: dict[tuple[str, str, str], Any] = {}
    for name in QUALITY:
        for row in read_result(name):
            tuned = bool(row["settings"]) and row["library"] != "imbik"
            rows[row["library"], row["name"], "tuned" if tuned else "default"] = row
    return rows


def quality() -> list[str]:
    """Return the table of quality on ratings, best first."""
    rows = _quality_rows()
    base = np.array([s["rmse"] for s in rows["imbik", "bpmf", "default"]["splits"]])
    table = head("library", "model", "settings", "RMSE ± sd over splits", "minus bpmf, paired 95 %", "MAE", "90 % covers", "train s")
    for (library, name, kind), row in sorted(rows.items(), key=lambda r: float(np.mean([s["rmse"] for s in r[1]["splits"]]))):
        value = {k: np.array([s[k] for s in row["splits"]]) for k in row["splits"][0]}
        gap = paired(value["rmse"], base[: len(value["rmse"])])
        cover = f"{value['coverage'].mean():.3f}" if "coverage" in value else ""
        tuned = ", ".join(f"{k} {v}" for k, v in row["settings"].items())
        settings = "see below" if library == "imbik" else tuned if kind == "tuned" else "default"
        cells = (
            TITLES.get(library, library), name, settings, f"{value['rmse'].mean():.4f} ± {value['rmse'].std(ddof=1):.4f}",
            f"{gap['difference']:+.4f} ({gap['low']:+.4f}, {gap['high']:+.4f})", f"{value['mae'].mean():.4f}", cover,
            f"{np.median(value['train_seconds']):.2f}",
        )  # fmt: skip
        table.append(f"| {' | '.join(cells)} |")
    return table


def speed() -> list[str]:
    """Return the table of milliseconds a sweep."""
    table = head("work, rank", "library", "ms a sweep, median (range of rounds)", "times ours")
    for task, times in read_result("recommend/speed").items():
        ours = float(np.median(times["imbik"]))
        for library, values in times.items():
            middle = float(np.median(values))
            span = f"{min(values):.1f}-{max(values):.1f}"
            table.append(f"| {task} | {TITLES.get(library, library)} | {middle:.1f} ({span}) | {middle / ours:.1f} |")
    return table


def scale() -> list[str]:
    """Return the table of seconds and memory as ratings grow."""
    result = read_result("recommend/scale")
    table = head("work (rank 16)", "1 million", "3 million", "10 million", "seconds, 10 M over 1 M")
    for name in dict.fromkeys(key.split()[0] for key in result):
        cells = [result.get(f"{name} {count}") for count in (1_000_000, 3_000_000, 10_000_000)]
        if any(c is None or "error" in c for c in cells):
            continue
        memory = [(c["before_mb"] / 1024, (c["peak_mb"] - c["before_mb"]) / 1024) for c in cells]
        texts = [f"{c['seconds_a_pass']:.2f} s, {a:.2f} + {b:.2f} GB" for c, (a, b) in zip(cells, memory, strict=True)]
        table.append(f"| {name} | {' | '.join(texts)} | {cells[2]['seconds_a_pass'] / cells[0]['seconds_a_pass']:.1f} |")
    return table


def events() -> list[str]:
    """Return the table of quality on events."""
    rows = read_result("recommend/events")
    table = head("library", "model", "settings", "NDCG@20", "Recall@20", "MAP", "MPR", "train s")
    chosen = {name: read_result(f"recommend/events-{name}") for name in ("implicit", "imbik")}
    for library, name in dict.fromkeys((r[0], r[1]) for r in rows):
        own = [r[3] for r in rows if (r[0], r[1]) == (library, name)]
        mean = {k: float(np.mean([o[k] for o in own])) for k in own[0]}
        spread = float(np.std([o["ndcg"] for o in own]))
        settings = ", ".join(f"{k} {v}" for k, v in chosen[library].get(name, {}).items())
        seconds = f"{mean['seconds']:.2f}" if "seconds" in mean else ""
        measures = [f"{mean['ndcg']:.4f} ± {spread:.4f}", *(f"{mean[k]:.4f}" for k in ("recall", "map", "mpr"))]
        table.append(f"| {' | '.join((TITLES.get(library, library), name, settings, *measures, seconds))} |")
    return table


def engine() -> list[str]:
    """Return the table of the two engines."""
    table = head("rank", "numba, ms", "torch, ms", "largest difference")
    for row in read_result("recommend/engine"):
        table.append(f"| {row['rank']} | {row['numba_ms']:.1f} | {row['torch_ms']:.1f} | {row['largest_difference']:.1e} |")
    return table


def cluster() -> list[str]:
    """Return the table of seconds a sweep without Ray, on one actor and on two."""
    result = read_result("recommend/cluster")
    table = head("model", "where, one thread each", "s a sweep", "users", "items", "errors", "times without Ray")
    for key, row in result["sweeps"].items():
        model, place = key.split(", ")
        parts = [f"{row[part]:.2f}" if part in row else "" for part in ("users", "items", "errors")]
        times = row["seconds"] / result["sweeps"][f"{model}, alone"]["seconds"]
        where = {"alone": "without Ray"}.get(place, place)
        cells = [model, where, f"{row['seconds']:.2f}", *parts, f"{times:.2f}"]
        table.append(f"| {' | '.join(cells)} |")
    return table


def cluster_quality() -> list[str]:
    """Return the table of the two samplers on the same splits."""
    rows = read_result("recommend/cluster")["quality"]
    table = head("split", "RMSE without Ray", "RMSE, 2 actors", "90 % covers, without Ray", "90 % covers, 2 actors", "largest difference")
    for seed, row in enumerate(rows):
        cells = [f"{row[place][what]:.4f}" for what in ("rmse", "coverage") for place in ("alone", "2 actors")]
        table.append(f"| {seed} | {' | '.join(cells)} | {row['largest difference']:.1e} |")
    return table


def netflix() -> list[str]:
    """Return the table of what Netflix's matrix needs."""
    table = head("232.5 million subscribers", "Bayesian PMF", "weighted ALS")
    table += [f"| {what} | {' | '.join(cells)} |" for what, cells in lines(read_result("recommend/cluster"), Assumed())]
    return table


def derived() -> dict[str, Any]:
    """Return means over the splits, and medians of a sweep, for sentences: ``quality.bpmf.rmse``, ``sweep["gibbs 10"].imbik``."""
    rows = {f"{library} {name} {kind}": row for (library, name, kind), row in _quality_rows().items()}
    means = {key: {k: float(np.mean([s[k] for s in row["splits"]])) for k in row["splits"][0]} for key, row in rows.items()}
    ours = {name.removeprefix("imbik ").removesuffix(" default"): row for name, row in means.items() if name.startswith("imbik ")}
    sweeps = {task: {who: float(np.median(ms)) for who, ms in times.items()} for task, times in read_result("recommend/speed").items()}
    split = {key: sorted(s["rmse"] for s in row["splits"]) for key, row in rows.items()}
    return {"quality": ours | means, "sweep": sweeps, "rmse_of_splits": split}


DERIVED_FROM = (*QUALITY, "recommend/speed")
TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    "quality": (QUALITY, quality),
    "speed": (("recommend/speed",), speed),
    "scale": (("recommend/scale",), scale),
    "events": (("recommend/events", "recommend/events-implicit", "recommend/events-imbik"), events),
    "engine": (("recommend/engine",), engine),
    "cluster": (("recommend/cluster",), cluster),
    "cluster_quality": (("recommend/cluster",), cluster_quality),
    "netflix": (("recommend/cluster",), netflix),
}
"""Name -> the result files that it reads, and the function that makes its lines."""
