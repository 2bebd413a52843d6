"""What the benchmarks share: a result says where it comes from, turns are fair, every script can be imported."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks import common  # noqa: E402

FOREIGN = {"recommend.plot", "distillation.textbrewer", "serve.peers"}
"""Scripts that import what imbik does not install (matplotlib, TextBrewer, FastAPI)."""
SCRIPTS = sorted(
    ".".join(path.relative_to(ROOT / "benchmarks").with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
    if path.parent != ROOT / "benchmarks"
)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results go to a folder of their own."""
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(common, "ROOT", tmp_path)
    return tmp_path


def test_a_result_has_commit_machine_command_and_date(results, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run.py", "--data", "/somewhere/private/banking77", "--rounds", "2"])
    path = common.record("training/speed", {"ratio": 2.0, "rmse": float("nan")}, argparse.Namespace(threads=3))
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["recorded"] is True
    assert {"commit", "dirty", "date"} <= set(document)
    assert document["environment"]["threads"] == 3
    assert document["environment"]["cpu"]
    assert document["command"].endswith("--data banking77 --rounds 2")
    assert document["numbers"] == {"ratio": 2.0, "rmse": None}
    assert common.read_result("training/speed") == document["numbers"]
    assert [file.name for file in path.parent.iterdir()] == ["speed.json"]


def test_cells_of_an_earlier_commit_keep_it(results, monkeypatch):
    for commit in ("a" * 40, "b" * 40, "b" * 40):
        monkeypatch.setattr(common, "STARTED", {"commit": commit, "dirty": False})
        path = common.record("room/name", {"cells": 1}, continues=True)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["commit"] == "b" * 40
    assert [part["commit"] for part in document["earlier"]] == ["a" * 40]


def test_turns_go_forth_and_back():
    order = []
    runs = {name: lambda name=name: order.append(name) or len(order) for name in ("one", "other")}
    assert common.in_turns(runs, 3) == {"one": [1, 4, 5], "other": [2, 3, 6]}
    assert order == ["one", "other", "other", "one", "one", "other"]


def test_the_clock_counts_the_body():
    with common.clock() as spent:
        sum(range(200_000))
    assert spent.processor > 0
    assert 0 < spent.wall < 60


def test_a_later_call_makes_the_cells_that_are_missing_and_no_other(tmp_path):
    made = []

    def cell(name):
        return lambda: made.append(name) or {"name": name, "nan": float("nan")}

    cells = {name: cell(name) for name in ("a 1", "b 1", "b 2")}
    assert list(common.in_pieces(cells, tmp_path, 1.0, lambda name: name.startswith("b"))) == ["b 1", "b 2"]
    assert common.in_pieces(cells, tmp_path, 0.0) == {name: {"name": name, "nan": None} for name in ("b 1", "b 2")}
    assert list(common.in_pieces(cells, tmp_path, 1.0)) == ["a 1", "b 1", "b 2"]
    assert made == ["b 1", "b 2", "a 1"]


def test_a_page_is_told_where_a_result_comes_from(results, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run.py"])
    common.record("sharing/banking77", {}, argparse.Namespace(threads=1))
    document = json.loads((results / "sharing" / "banking77.json").read_text(encoding="utf-8"))
    line = common.origin("sharing/banking77")
    assert line.startswith(f"Measured at commit `{document['commit'][:7]}` on {document['date'][:10]}: ")
    assert line.endswith(", threads: 1.")


def test_shared_options_can_be_required_and_have_other_defaults():
    given = common.parser("what it does", "data!", "rounds", rounds=7).parse_args(["--data", "x"])
    assert (given.data, given.rounds) == ("x", 7)
    with pytest.raises(SystemExit):
        common.parser("what it does", "data!").parse_args([])


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in FOREIGN])
def test_every_script_can_be_imported(name):
    pytest.importorskip("numba") if name.startswith("recommend.") else None
    importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("room", sorted({name.split(".")[0] for name in SCRIPTS}))
def test_every_room_says_what_it_compares(room):
    text = (ROOT / "benchmarks" / room / "README.md").read_text(encoding="utf-8")
    for name in SCRIPTS:
        if name.startswith(f"{room}.") and name.split(".")[1] in ("run", "peers"):
            assert name.split(".")[1] in text
