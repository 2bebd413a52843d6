"""The tables of the study's three models, trained of one teacher: what each keeps and costs, and what the three business cases say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from benchmarks.common import ROOT, named, read_result, result_path
from benchmarks.compress.table import interval, quality
from imbik.advise import advise, load_scenario
from imbik.advise.families import in_family
from imbik.measure.schema import parse_results

MODELS = {"distilbert": "DistilBERT", "mobilebert": "MobileBERT", "tinybert": "TinyBERT-4L"}
CASES = {"bank-support": "DistilBERT", "mobile-banking": "MobileBERT", "review-batch": "TinyBERT"}
"""Business case -> the model that the study chose for it."""


def models(data: str) -> list[str]:
    """Return teacher and students of one data set, what each keeps beside what its own paper says that it keeps."""
    results = read_result(f"compress/study-{data}")["results"]
    base = next(m for m in results["measurements"] if m["id"] == results["baseline"])
    titles = (
        "model",
        "parameters",
        "layers",
        "width",
        "heads",
        "shipped",
        "one request, p50",
        "texts a second",
        f"{base['quality']['metric']} (95 %)",
        "kept (95 %)",
        "its paper keeps",
    )
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    published = yaml.safe_load((ROOT / "src" / "imbik" / "literature" / "published.yaml").read_text(encoding="utf-8"))["models"]
    kept = {one["name"]: f"{100 * one['retention']:.1f} %" for one in published}
    lines.append(_row("teacher, float32", base, base, results["task"], ""))
    for name, title in MODELS.items():
        m = named(results["measurements"], f"{name}+int8")[0]
        lines.append(_row(f"{title}, int8", m, base, results["task"], kept[title]))
    return lines


def _row(title: str, m: Mapping[str, Any], base: Mapping[str, Any], task: str, kept: str) -> str:
    """Return the line of one model."""
    shape, p50, speed = m["architecture"], m["latency_ms"]["p50"], m["throughput"]["items_per_s"]
    cells = (
        title,
        f"{m['params'] / 1e6:.1f} M",
        *(str(shape[name]) for name in ("layers", "hidden", "heads")),
        f"{m['bytes'] / 1e6:.1f} MB",
        f"{p50:.2f} ms ({base['latency_ms']['p50'] / p50:.1f}x)",
        f"{speed:,.0f} ({speed / base['throughput']['items_per_s']:.1f}x)",
        quality(m["quality"], task),
        interval(m["retention"]),
        kept,
    )
    return f"| {' | '.join(cells)} |"


def cases(data: str) -> list[str]:
    """Return whether the measurements of one data set confirm what the study chose for each case, by architecture.

    Judged are the three students and the teacher's artefact by the case's own limits and preferences; rivals are never chosen.
    """
    name = f"compress/study-{data}"
    results = parse_results(json.dumps(read_result(name)["results"]), result_path(name))
    lines = []
    for case, model in CASES.items():
        choice = results.get(advise(results, load_scenario(case)).choice)
        said = "confirmed" if choice is not None and in_family(choice, model.lower()) else "refuted"
        lines.append(f"* **{case}**: the study chose {model}; {said}, the measurements choose `{choice.id if choice else '-'}`.")
    return lines
