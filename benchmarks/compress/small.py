"""Bytes and quality of artefacts, against a teacher's artefact on the same items.

    python -m benchmarks.compress.small --data DATA --teacher-artefact DIR ARTEFACT...

No timings: pruning and clustering change none. The result is benchmarks/results/compress/small-DATA.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import parser, record
from imbik.data import load_data
from imbik.runtime import Predictor, load_artefact, read_artefact
from imbik.runtime.manifest import read_manifest
from imbik.tasks.retention import quality, retention


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


def main() -> None:
    arguments = parser(__doc__, "data!")
    arguments.add_argument("--teacher-artefact", type=Path, required=True)
    arguments.add_argument("artefacts", type=Path, nargs="+")
    options = arguments.parse_args()
    teacher = options.teacher_artefact
    data = load_data(options.data, labels=load_artefact(teacher, threads=1).labels)
    first, reference = facts(teacher, data, None)
    numbers = {
        "data": Path(options.data).name,
        "rows": {name: len(getattr(data, name).texts) for name in ("train", "dev", "test")},
        "versions": read_manifest(teacher)["versions"],
        "artefacts": [first] + [facts(path, data, reference)[0] for path in options.artefacts],
    }
    record(f"compress/small-{numbers['data']}", numbers, options)


if __name__ == "__main__":
    main()
