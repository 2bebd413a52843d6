"""The page of the study's three models: numbers of the record, the verdict by architecture and not by a recipe's name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks import common  # noqa: E402
from benchmarks.literature import trained  # noqa: E402

METHODS = {"distilbert": "layers-2+int8/onnx", "mobilebert": "int8/onnx", "tinybert": "layers-1+int8/onnx"}


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A record of three students, each with the numbers of a candidate of TREC's run."""
    document = json.loads((ROOT / "benchmarks" / "results" / "compress" / "trec.json").read_text(encoding="utf-8"))
    results = document["numbers"]["results"]
    measured = {m["id"]: m for m in results["measurements"]}
    made = [
        measured[like] | {"id": f"{name}+int8/onnx", "name": f"{name}+int8", "parent": None, "steps": [{name: {}}]}
        for name, like in METHODS.items()
    ]
    results |= {"measurements": [measured["teacher/pytorch"], *made], "choice": None, "pareto": [], "failures": []}

    def write(rename=lambda name: name):
        for m in results["measurements"]:
            m["id"], m["name"] = rename(m["id"]), rename(m["name"])
        (tmp_path / "compress").mkdir(exist_ok=True)
        (tmp_path / "compress" / "study-trec.json").write_text(json.dumps(document), encoding="utf-8")
        return measured

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    return write


def test_every_model_has_its_measured_numbers_beside_its_paper(stored):
    measured = stored()
    lines = trained.models("trec")
    assert len(lines) == 6
    for line, like, paper in zip(lines[3:], METHODS.values(), ("96.9 %", "99.2 %", "96.9 %"), strict=True):
        m = measured[like]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[1] == f"{m['params'] / 1e6:.1f} M" and cells[8].startswith(f"{100 * m['quality']['value']:.1f} %")
        assert cells[9].startswith(f"{100 * m['retention']['value']:.1f} %") and cells[10] == paper


def test_the_verdict_goes_by_architecture(stored):
    stored()
    before = trained.cases("trec")
    assert all("refuted" in line for line in before)  # MobileBERT has the teacher's own numbers here: above the others by more than 1 %
    stored(lambda name: name.replace("mobilebert", "distilbert-like"))
    assert [line.split("choose")[0] for line in trained.cases("trec")] == [line.split("choose")[0] for line in before]
