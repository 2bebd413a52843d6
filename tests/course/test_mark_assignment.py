"""The script that marks the assignment, on a run that is made for it: points by limit, and what makes a number believable."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

from imbik.compress import compress
from imbik.data import load_data
from imbik.jobs.progress import Silent
from imbik.recipes import parse_recipe
from imbik.testing.tiny import tiny_bert, tiny_splits

spec = importlib.util.spec_from_file_location("mark_assignment", Path(__file__).parents[2] / "examples" / "mark_assignment.py")
assert spec is not None and spec.loader is not None
marking = importlib.util.module_from_spec(spec)
sys.modules["mark_assignment"] = marking
spec.loader.exec_module(marking)

LIMITS = """name: assignment
requirements:
  - {{quantity: megabytes, at_most: {megabytes}, weight: 1}}
  - {{quantity: latency_p95_ms, at_most: 100000, weight: 3}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of data with 120 test rows, and a finished run on it."""
    place = tmp_path_factory.mktemp("assignment")
    tiny = tiny_splits(rows=240)
    data = place / "data"
    data.mkdir()
    for name in ("train", "dev", "test"):
        part = getattr(tiny, name)
        with (data / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(
                [("text", "label"), *((text, tiny.labels[y]) for text, y in zip(part.texts, part.targets, strict=True))]
            )
    splits = load_data(data)
    recipe = parse_recipe("name: one\nstudent: layers-1\nsteps: [{distill: {epochs: 1}}]", "one")
    compress(tiny_bert(), splits, place / "run", recipes=(recipe,), progress=Silent(), say=lambda _line: None)
    return place


def sheet(place, megabytes, run="run"):
    limits = place / "limits.yaml"
    limits.write_text(LIMITS.format(megabytes=megabytes), encoding="utf-8")
    _, marks = marking.mark(place / run, place / "data", limits, "one/onnx")
    return {one.what: one.points for one in marks}


def test_limits_give_their_points_by_weight(made):
    document = json.loads((made / "run" / "results.json").read_text())
    megabytes = next(one["bytes"] for one in document["measurements"] if one["id"] == "one/onnx") / 1e6
    kept, near, missed = sheet(made, megabytes * 1.01), sheet(made, megabytes / 1.05), sheet(made, megabytes / 2)
    assert [one["megabytes"] for one in (kept, near, missed)] == [15.0, 7.5, 0.0]
    assert kept["latency_p95_ms"] == 45.0


def test_a_true_run_is_believed_and_its_missing_rivals_are_not(made):
    found = sheet(made, 1000)
    assert {name: found[name] for name in ("files", "again", "interval", "rivals")} == {
        "files": 10,
        "again": 10,
        "interval": 10,
        "rivals": 0,
    }


def test_numbers_that_the_artefact_does_not_give_are_noticed(made):
    shutil.copytree(made / "run", made / "better", dirs_exist_ok=True)
    path = made / "better" / "results.json"
    document = json.loads(path.read_text())
    for one in document["measurements"]:
        if one["id"] == "one/onnx":
            one["quality"]["value"] = min(1.0, one["quality"]["value"] + 0.2)
            one["quality"]["high"] = 1.0
    path.write_text(json.dumps(document))
    assert sheet(made, 1000, "better")["again"] == 0


def test_another_file_than_the_measured_one_is_noticed(made):
    shutil.copytree(made / "run", made / "changed", dirs_exist_ok=True)
    model = made / "changed" / "one" / "artefacts" / "onnx" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    found = sheet(made, 1000, "changed")
    assert found["files"] == found["again"] == 0


def test_the_sheet_is_printed_in_turkish_and_a_wrong_candidate_is_refused(made, capsys):
    (made / "limits.yaml").write_text(LIMITS.format(megabytes=1000), encoding="utf-8")
    given = [str(made / "run"), "--data", str(made / "data"), "--limits", str(made / "limits.yaml")]
    assert marking.main([*given, "--candidate", "one/onnx", "--lang", "tr", "--json", str(made / "marks.json")]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("toplam", "paket boyutu", "satırda")) and "rows" not in out and "megabytes" not in out
    assert json.loads((made / "marks.json").read_text())["total"] == 90
    assert marking.main([*given, "--candidate", "two/onnx", "--lang", "tr"]) == 2
    err = capsys.readouterr().err
    assert "two/onnx" in err and "no such candidate" not in err
