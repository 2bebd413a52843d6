"""The table of the published shapes, from the result file."""

from __future__ import annotations

import json
from collections.abc import Callable

from benchmarks.common import read_result, result_path

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
    document = json.loads(result_path("literature/architectures").read_text(encoding="utf-8"))
    machine, rows = document["environment"], document["numbers"]["texts"]["rows"]
    return [
        f"Measured at commit `{document['commit'][:7]}` on {document['date'][:10]}: {machine['cpu']} ({', '.join(machine['flags'])}),",
        f"threads: {machine['threads']}, one core, ONNX Runtime, {rows} of the bundled bank messages, random weights, one interleaved run",
        "([the file](../benchmarks/results/literature/architectures.json)). Ratios are to BERT-base fp32.",
    ]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    "architectures": (("literature/architectures",), architectures),
    "origin": (("literature/architectures",), origin),
}
"""Name -> the result files that it reads, and the function that makes its lines."""
