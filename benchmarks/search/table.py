"""The tables of a search that was looked into, and of pruned students between one and two layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import fmean, stdev
from typing import Any

from benchmarks.common import named, origin, read_result

STRATEGIES = ("evolution", "controller", "random")
SEEDS = (0, 1, 2)
T = {2: 12.706, 3: 4.303}
"""Seeds -> the quantile of Student's t for a 95 % interval of their mean."""
DATA = ("trec",)
COSTS = {"one request, p50": "ms", "texts a second": "batch_ms", "bytes": "bytes"}
PRUNED = ("layers-2+int8", "layers-2-half", "layers-2-quarter", "layers-2-cut", "conv-augmented+vocabulary+int8")


def latency(data: str) -> list[str]:
    """Return how far predicted costs are from measured ones."""
    run = read_result(f"search/{data}")
    networks = run["cells"]["latency"]["networks"]
    lines = ["| predicted | mean error | within 10 % | largest error |", "|---|---:|---:|---:|"]
    for title, name in COSTS.items():
        ratios = [said[name] / one["measured"][name] for said, one in zip(run["crossed"], networks, strict=True)]
        # a rate: its error is that of the reciprocal time
        errors = [abs((1 / ratio if name == "batch_ms" else ratio) - 1) for ratio in ratios]
        near = sum(error <= 0.1 for error in errors)
        lines.append(f"| {title} | {100 * fmean(errors):.1f} % | {near} of {len(errors)} networks | {100 * max(errors):.1f} % |")
    return [*lines, "", origin(f"search/{data}")]


def interval(values: list[float]) -> str:
    """Return a mean of few seeds with its 95 % interval by Student's t."""
    half = T[len(values)] * stdev(values) / math.sqrt(len(values))
    mean = fmean(values)
    return f"{100 * mean:.2f} ({100 * (mean - half):.2f} – {100 * (mean + half):.2f})"


def strategies(data: str) -> list[str]:
    """Return the best reward of each strategy after some evaluations."""
    cells = read_result(f"search/{data}")["cells"]
    lines = ["| `--strategy` | best of 50 | best of 100 | best of 200 | within the limit |", "|---|---:|---:|---:|---:|"]
    for strategy in STRATEGIES:
        runs = [cells[f"{strategy} {seed}"] for seed in SEEDS if f"{strategy} {seed}" in cells]
        best = [interval([max(run["rewards"][:count]) for run in runs]) for count in (50, 100, 200)]
        within = fmean(run["within"] / len(run["rewards"]) for run in runs)
        lines.append(f"| `{strategy}` | {' | '.join(best)} | {100 * within:.0f} % |")
    return lines


def alone(data: str) -> list[str]:
    """Return what the best architecture keeps as a slice, finished from there, and made alone."""
    run = read_result(f"search/{data}")
    cells = run["cells"]
    names = {"as it is in the supernet": "slice", "after a short distillation from there": "finished"}
    names |= {f"pruned and distilled alone, seed {seed}": f"alone {seed}" for seed in SEEDS}
    lines = ["| the same architecture | dev accuracy | test accuracy | kept | seconds |", "|---|---:|---:|---:|---:|"]
    for title, name in names.items():
        if name in cells:
            cell, found = cells[name], cells[name]["test_retention"]
            kept = f"{100 * found['value']:.1f} % ({100 * found['low']:.1f} – {100 * found['high']:.1f})"
            accuracies = " | ".join(f"{100 * cell[split]['value']:.1f} %" for split in ("dev", "test"))
            lines.append(f"| {title} | {accuracies} | {kept} | {cell['seconds']:,.0f} |")
    asked = [cell for name, cell in cells.items() if name.split()[0] in STRATEGIES]
    computed = sum(cell["computed"] for cell in asked)
    made = [cells[name]["seconds"] for name in names.values() if name.startswith("alone") and name in cells]
    spent = f"The supernet and its table took {run['begin']['supernet_and_table'] / 60:.1f} minutes, {computed:,} evaluations "
    spent += (
        f"{sum(cell['seconds'] for cell in asked) / 60:.1f} minutes; made alone, one architecture takes {fmean(made) / 60:.1f} minutes."
    )
    return [*lines, "", spent]


def pruned() -> list[str]:
    """Return pruned students beside the two layers that they were cut from."""
    measurements = read_result("compress/sst2-pruned")["results"]["measurements"]
    rows: dict[str, Any] = {name: next(m for m in named(measurements, name) if m["engine"] == "onnx") for name in PRUNED}
    unit = rows["layers-2+int8"]["throughput"]["items_per_s"]
    lines = [
        "| candidate | accuracy (95 %) | kept (95 %) | one request, p50 | texts a second | shipped |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, one in rows.items():
        quality, kept, rate = one["quality"], one["retention"], one["throughput"]["items_per_s"]
        shares = [f"{100 * v['value']:.1f} % ({100 * v['low']:.1f} – {100 * v['high']:.1f})" for v in (quality, kept)]
        rest = f"{one['latency_ms']['p50']:.2f} ms | {rate:,.0f} ({rate / unit:.2f}x) | {one['bytes'] / 1e6:.1f} MB"
        lines.append(f"| `{name}` | {' | '.join(shares)} | {rest} |")
    return [*lines, "", origin("compress/sst2-pruned")]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    **{f"{data}-{make.__name__}": ((f"search/{data}",), partial(make, data)) for data in DATA for make in (latency, strategies, alone)},
    "sst2-pruned": (("compress/sst2-pruned",), pruned),
}
"""Name -> the result files that it reads, and the function that makes its lines."""
