"""The table of the published shapes, from the result file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from benchmarks.common import ROOT, read_result
from benchmarks.common import origin as measured
from benchmarks.literature import trained
from benchmarks.literature.study import SETS

NAMES = {"bert-base": "BERT-base", "distilbert": "DistilBERT", "mobilebert": "MobileBERT", "tinybert-4l-312": "TinyBERT-4L"}


def architectures() -> list[str]:
    """Return each shape in each precision: size and speed measured here, beside what the study and the papers state."""
    found = read_result("literature/architectures")
    titles = ("model", "", "parameters", "shipped", "one request, p50", "", "texts a second", "", "the study says", "its paper says")
    lines = [f"| {' | '.join(titles)} |", "| --- | --- |" + " ---: |" * (len(titles) - 2)]
    for row in found["rows"]:
        full = row["precision"] == "fp32"
        study, paper = row["study_speedup"], row["published"] if row["shape"] != "bert-base" else None
        cells = (
            NAMES[row["shape"]],
            row["precision"],
            f"{row['params'] / 1e6:.1f} M",
            f"{row['bytes'] / 1e6:.0f} MB",
            f"{row['p50_ms']:.2f} ms",
            f"{row['speedup']:.2f}x",
            f"{row['items_per_s']:,.0f}/s",
            f"{row['throughput_gain']:.2f}x",
            f"{study}x" if full and study else "",
            f"{paper['speedup']}x ({paper['device']})" if full and paper else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def origin() -> list[str]:
    """Return where the table comes from."""
    rows = read_result("literature/architectures")["texts"]["rows"]
    return [
        measured("literature/architectures"),
        f"One core, ONNX Runtime, {rows} of the bundled bank messages, random weights, one interleaved run",
        "([the file](../benchmarks/results/literature/architectures.json)). Ratios are to BERT-base fp32.",
    ]


READERS: dict[str, Callable[[dict[str, Any], dict[str, Any]], float]] = {
    "retention": lambda row, base: float(row["retention"]),
    "quality": lambda row, base: float(row["retention"]),
    "latency_p95_ms": lambda row, base: float(row["latency_ms"]["p95"]),
    "megabytes": lambda row, base: row["bytes"] / 1e6,
    "cpu_share": lambda row, base: row["cpu_s_per_1000"] / base["cpu_s_per_1000"],
    "cpu_s_per_1000": lambda row, base: float(row["cpu_s_per_1000"]),
    "batch_hours": lambda row, base: row["items"] / row["items_per_s"] / 3600,
}
"""Quantity of a scenario -> its value for a row beside BERT-base; a model's quality is what its own paper says that it keeps."""
SHOWN: dict[str, Callable[[float], str]] = {
    "retention": lambda value: f"keeps {100 * value:.1f} % by its paper",
    "latency_p95_ms": lambda value: f"p95 {value:.2f} ms",
    "megabytes": lambda value: f"{value:.1f} MB",
    "cpu_share": lambda value: f"{100 * value:.1f} % of BERT-base's processor time",
    "batch_hours": lambda value: f"{60 * value:.1f} minutes",
}
CASES = ("bank-support", "mobile-banking", "review-batch")


def _case(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """Return what one scenario's own limits and preferences choose among the six small models."""
    scenario = yaml.safe_load((ROOT / "src" / "imbik" / "advise" / "scenarios" / f"{name}.yaml").read_text(encoding="utf-8"))
    base, *small = [row | {"items": scenario["volume"].get("items_per_batch", 0) if "volume" in scenario else 0} for row in rows]
    small = [row for row in small if row["shape"] != base["shape"]]
    limits = [need for need in scenario["requirements"] if need["quantity"] in READERS]

    def meets(row: dict[str, Any], need: dict[str, Any]) -> bool:
        value = READERS[need["quantity"]](row, base)
        return bool(value >= need["at_least"] if "at_least" in need else value <= need["at_most"])

    left = [row for row in small if all(meets(row, need) for need in limits)]
    fitting = ", ".join(f"{NAMES[row['shape']]} {row['precision']}" for row in left) if len(left) < len(small) else "all six"
    for wish in scenario["prefer"]:
        read = READERS[wish["quantity"]]
        if "within" in wish:
            best = max(read(row, base) for row in left)
            left = [row for row in left if read(row, base) >= best * (1 - wish["within"])]
        else:
            left = [min(left, key=lambda row: read(row, base))]
    one = left[0]
    facts = ", ".join(SHOWN[need["quantity"]](READERS[need["quantity"]](one, base)) for need in limits)
    chosen = f"**{NAMES[one['shape']]} {one['precision']}** ({facts})"
    agreed = "as the study has it" if NAMES[one["shape"]].startswith(scenario["study"]["model"]) else "not as the study has it"
    return [
        f"* **{name}**: the study chose {scenario['study']['model']}. All limits are met by {fitting}.",
        f"  The scenario's rule takes {chosen}, {agreed}.",
    ]


def cases() -> list[str]:
    """Return what the three business cases choose when these speeds stand beside what each paper says that its model keeps."""
    document = yaml.safe_load((ROOT / "src" / "imbik" / "literature" / "published.yaml").read_text(encoding="utf-8"))
    kept = {model["shape"]: model["retention"] for model in document["models"]}
    rows = [row | {"retention": kept[row["shape"]]} for row in read_result("literature/architectures")["rows"]]
    return [line for name in CASES for line in _case(name, rows)]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    "architectures": (("literature/architectures",), architectures),
    "cases": (("literature/architectures",), cases),
    "origin": (("literature/architectures",), origin),
    **{f"trained-{name}": ((f"compress/study-{name}",), lambda name=name: trained.models(name)) for name in SETS},  # type: ignore[misc]
    **{f"cases-{name}": ((f"compress/study-{name}",), lambda name=name: trained.cases(name)) for name in SETS},  # type: ignore[misc]
}
"""Name -> the result files that it reads, and the function that makes its lines."""
