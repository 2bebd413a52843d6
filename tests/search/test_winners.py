"""The winner of the default search is one that was measured, whatever the supernet promised; architectures and recipes are told apart."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import typer
import yaml

from imbik.cli.commands import search as command
from imbik.cli.commands.search import _facts, _line
from imbik.cli.options import TaskColumns
from imbik.data import load as loading
from imbik.jobs.progress import Silent
from imbik.measure.measurement import Latency, Measurement, Quality, Throughput
from imbik.measure.results import Results
from imbik.measure.values import Limits
from imbik.models import teacher as teachers
from imbik.search import recipes as job
from imbik.search import run as searching
from imbik.search.candidate import Candidate, Made
from imbik.search.levers import Levers
from imbik.search.options import SearchOptions
from imbik.search.run import search
from imbik.search.sandwich import Sandwich
from imbik.testing.tiny import tiny_bert, tiny_splits

QUICK = {"supernet": Sandwich(epochs=1, batch_tokens=512), "vocabulary": False, "distill": {"epochs": 1}, "threads": 1,
         "evaluations": 12, "strategy": "random", "recipes": 1, "sampler": "random", "limits": Limits(max_latency_ms=5.0)}  # fmt: skip


class Bench:
    """Stands for ``compress``: every recipe keeps a twentieth of the teacher, those of some names fail."""

    def __init__(self):
        self.made, self.failing, self.searched = [], ("never",), None

    def __call__(self, teacher, splits, directory, *, recipes, **options):
        names = [one if isinstance(one, str) else one.name for one in recipes]
        self.made += names
        self.searched = options["searched"]
        failed = [{"name": name, "error": "no room", "kind": "ValueError"} for name in names if name.startswith(self.failing)]
        made = [_measurement(name, "onnx", 0.05, 0.5) for name in names if not name.startswith(self.failing)]
        baseline = _measurement("teacher", "torch", 1.0, 9.0)
        return Results(baseline=baseline.id, measurements=(baseline, *made), failures=tuple(failed))


def _measurement(name, engine, kept, ms):
    return Measurement(
        id=f"{name}/{engine}", name=name, engine=engine, dev_quality=Quality(value=kept), latency_ms=Latency(p50=ms, p95=2 * ms),
        throughput=Throughput(items_per_s=2000 / ms), bytes=2000,
    )  # fmt: skip


@pytest.fixture
def bench(monkeypatch, quick_table):
    found = Bench()
    monkeypatch.setattr(job, "compress", found)
    monkeypatch.setattr(Levers, "kinds", ("linear",))
    return found


def run(directory, **options):
    return search(tiny_bert(layers=2), tiny_splits(), directory, SearchOptions(**QUICK | options), progress=Silent(), say=lambda line: None)


def test_estimates_that_keep_less_when_they_are_made_give_way_to_what_was_measured(tmp_path, bench):
    found = run(tmp_path)
    log = [json.loads(line)["retention"] for line in next(tmp_path.rglob("evaluations.jsonl")).read_text().splitlines()]
    assert sum(kept > 0.05 for kept in log) > searching._WINNERS, "the supernet promises more than any recipe keeps"
    assert isinstance(found.best, Made) and found.finished and json.loads((tmp_path / "best.json").read_text())["measured"]
    winners = [name for name in bench.made if name.startswith("pruned")]
    assert 2 <= len(set(winners)) <= searching._WINNERS, "the next best estimate is made too, a few at most"
    assert bench.searched == f"{found.best.name}/{found.best.engine}", "the table at the end marks what best.yaml makes"
    known = set(bench.made)
    bench.made = []
    again = run(tmp_path)
    assert again.best == found.best and again.made == found.made and set(bench.made) <= known, "and no more in the next call"


def test_a_winner_that_cannot_be_made_does_not_stay_the_best(tmp_path, bench):
    bench.failing = ("pruned",)
    found = run(tmp_path)
    assert isinstance(found.best, Made) and found.best.name == "linear"
    assert yaml.safe_load((tmp_path / "best.yaml").read_text())["student"] == "linear"
    # without making more, those that failed are known
    second = run(tmp_path, make=False)
    failed = {entry["document"]["name"] for entry in map(json.loads, next(tmp_path.rglob("recipes.jsonl")).read_text().splitlines())}
    assert not isinstance(second.best, Candidate) or yaml.safe_load((tmp_path / "best.yaml").read_text())["name"] not in failed


def test_winners_that_the_minutes_do_not_allow_leave_the_search_open(tmp_path, bench, monkeypatch):
    run(tmp_path, make=False)
    now = iter([0.0, *[1e9] * 99])
    monkeypatch.setattr(searching.time, "monotonic", lambda: next(now))
    found = run(tmp_path, minutes=1.0)
    assert not found.finished and isinstance(found.best, Candidate)


@pytest.mark.parametrize("part", ["evaluations", "recipes"])
def test_another_metric_is_another_search(part, tmp_path, bench):
    for metric in ("accuracy", "macro-f1"):
        splits = replace(tiny_splits(), metric=metric)
        search(tiny_bert(layers=2), splits, tmp_path, SearchOptions(**QUICK), progress=Silent(), say=lambda line: None)
    assert len(list(tmp_path.rglob(f"{part}.jsonl"))) == 2


def test_the_numbers_count_layers_as_the_recipe_and_have_a_front_of_architectures(tmp_path, quick_table):
    found = run(tmp_path, levers="architecture", make=False)
    told, recipe = (json.loads((tmp_path / "best.json").read_text()), yaml.safe_load((tmp_path / "best.yaml").read_text()))
    assert told["architecture"] == recipe["steps"][0]["prune"] == found.best.architecture.step()["prune"]
    assert told["front"] and told["architecture"] in [one["architecture"] for one in told["front"]]
    assert all(min(one["architecture"]["layers"]) >= 1 for one in told["front"])


def test_what_keeps_too_little_is_said(tmp_path, quick_table):
    for limits, less in (
        (Limits(min_retention=1.9), True),
        (Limits(min_retention=1.9, max_mb=50.0), True),
        (Limits(min_retention=0.0), False),
    ):
        found = run(tmp_path, levers="architecture", make=False, limits=limits)
        short = json.loads((tmp_path / "best.json").read_text())["shortfall"]
        assert (short > 0) == less and _facts(found, limits)["short"] == short
        assert (f"less than the {limits.min_retention:.1%}" in _line(found, limits)) == less


def test_with_and_without_unused_pieces_an_architecture_has_two_names(tmp_path, quick_table):
    names = set()
    for vocabulary in (True, False):
        options = SearchOptions(**QUICK | {"vocabulary": vocabulary, "levers": "architecture"})
        opened = searching.Study.begin(
            searching.as_teacher(tiny_bert(layers=2), tiny_splits(), None), tiny_splits(), tmp_path, options, Silent(), lambda line: None
        )
        names.add(opened.document(opened.supernet.space.architecture(opened.supernet.space.full))["name"])
    assert len(names) == 2


def test_ctrl_c_prints_what_was_found_and_ends_with_130(tmp_path, quick_table, monkeypatch, capsys, interrupted_after):
    interrupted_after(3)
    monkeypatch.setattr(teachers, "load_teachers", lambda sources: teachers.Teacher.of(tiny_bert(layers=2)))
    monkeypatch.setattr(loading, "load_data", lambda *arguments, **options: tiny_splits())
    conduct = command.SearchConduct(levers="architecture", vocabulary=False, supernet_steps=2, threads=1)
    with pytest.raises(typer.Exit) as caught:
        command.search.__wrapped__(
            teacher=["t"], data=[tmp_path], out=tmp_path / "out", columns=TaskColumns(), budget=command.SearchBudget(), conduct=conduct
        )
    assert caught.value.exit_code == 130 and "not finished" in capsys.readouterr().out
    assert (tmp_path / "out" / "best.yaml").is_file()
