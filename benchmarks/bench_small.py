"""Bytes and quality of artefacts, against a teacher's artefact on the same items; writes JSON, and docs/results/small.md from it.

python benchmarks/bench_small.py measure DATA TEACHER_ARTEFACT OUT.json ARTEFACT...      (no timings: they need a quiet machine)
python benchmarks/bench_small.py table docs/results/small.md JSON...
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imbik.data.load import load_data
from imbik.runtime.manifest import read_artefact, read_manifest
from imbik.runtime.predictor import Predictor, load_artefact
from imbik.tasks.retention import quality, retention

LEVELS = (0.97, 0.95)
HEAD = """# The smallest files

How small a classifier can be shipped when 97 % or 95 % of the teacher's quality must stay. `shipped` is every byte of the artefact
folder: model, tokenizer, manifest and README. Each row is an artefact run through `imbik.runtime.predictor`, tokenizing included.
Retention is paired on the same test items, with its 95 % interval. What is called the smallest is chosen by the retention on dev. Made by
`benchmarks/bench_small.py`; speeds are not in this table: pruning and clustering change none, int8, 4 bits and factorized tables do.

The name says the steps in their order. `vocabulary-tight` keeps the pieces of the training texts, 300 more, and the characters seen;
`cluster` is 16 values a matrix and `embedding` tables of width 128, both here **without** a `distill` step behind them (the shipped
parts `cluster-16` and `embedding-128` have one); no step behind the student's own distillation was trained. SST-2's dev is carved
from train, whose rows are phrases and easier than test: there, read the column of test.
"""


def logits(predictor: Predictor, data: Any) -> dict[str, Any]:
    parts = {"dev": data.dev, "test": data.test}
    return {name: predictor.scores(list(rows.texts), None if rows.pairs is None else list(rows.pairs)) for name, rows in parts.items()}


def facts(path: Path, data: Any, reference: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    found, manifest, artefact = logits(load_artefact(path, threads=1), data), read_manifest(path), read_artefact(path)
    row = {
        "name": path.parent.parent.name,
        "engine": manifest["engine"],
        "bytes": artefact.bytes,
        "files": dict(artefact.files),
        "params": manifest["params"],
        "vocabulary": manifest["architecture"]["vocabulary"],
        "steps": manifest["steps"],
        "dev": quality(data, "dev", data.dev, found),
        "test": quality(data, "test", data.test, found),
        "retention": retention(data, found["test"], (reference or found)["test"]),
    }
    return row, found


def measure(source: str, teacher: Path, out: Path, artefacts: list[Path]) -> None:
    data = load_data(source, labels=load_artefact(teacher, threads=1).labels)
    first, reference = facts(teacher, data, None)
    rows = [first] + [facts(path, data, reference)[0] for path in artefacts]
    sizes = {name: len(getattr(data, name).texts) for name in ("train", "dev", "test")}
    record = {"data": Path(source).name, "rows": sizes, "versions": read_manifest(teacher)["versions"], "artefacts": rows}
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def section(run: dict[str, Any]) -> list[str]:
    teacher, *others = run["artefacts"]
    lines = [f"## {run['data']}", ""]
    for level in LEVELS:
        fit = [row for row in others if row["dev"]["value"] >= level * teacher["dev"]["value"]]
        best = min(fit, key=lambda row: int(row["bytes"]))
        times = teacher["bytes"] / best["bytes"]
        lines.append(
            f"* At least {level:.0%} on dev: `{best['name']}`, **{best['bytes'] / 1e6:.2f} MB**, {times:.0f} times smaller than the "
            f"teacher's ONNX artefact; on test it keeps {interval(best['retention'])}."
        )
    titles = (
        "candidate",
        "parameters",
        "pieces",
        "shipped",
        "tokenizer.json",
        f"test {teacher['test']['metric']}",
        "kept, dev",
        "kept, test",
    )
    lines += ["", f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    for row in [teacher, *sorted(others, key=lambda row: -int(row["bytes"]))]:
        cells = (
            f"`{row['name']}`",
            f"{row['params']:,}",
            f"{row['vocabulary']:,}",
            f"{row['bytes'] / 1e6:.2f} MB",
            f"{row['files']['tokenizer.json'] / 1e3:.0f} kB",
            interval(row["test"]),
            f"{100 * row['dev']['value'] / teacher['dev']['value']:.1f} %",
            interval(row["retention"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    rows = run["rows"]
    return [*lines, "", f"{rows['train']:,} training rows, {rows['dev']:,} dev, {rows['test']:,} test.", ""]


def interval(value: Mapping[str, float]) -> str:
    return f"{100 * value['value']:.1f} % ({100 * value['low']:.1f} – {100 * value['high']:.1f})"


def table(out: Path, sources: list[Path]) -> None:
    lines = [HEAD]
    for source in sources:
        lines += section(json.loads(source.read_text(encoding="utf-8")))
    out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        measure(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), [Path(name) for name in sys.argv[5:]])
    else:
        table(Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
