"""The job: the table adds up, a search continues where it was, another budget asks for nothing that is known, the winner can be made."""

from __future__ import annotations

import json
from dataclasses import asdict, astuple, replace

import numpy as np
import pytest
from made_up_costs import true_cost

from imbik.compress.run import compress
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.measure.values import Limits
from imbik.models.blocks import blocks_of
from imbik.models.pretrained import load_checkpoint
from imbik.pruning.table import Architecture, Cost, CostFile, Table
from imbik.recipes.recipe import load_recipe
from imbik.search import study as job
from imbik.search.candidate import Candidate
from imbik.search.costs import design
from imbik.search.options import SearchOptions
from imbik.search.run import search
from imbik.search.sandwich import Sandwich
from imbik.search.space import Space
from imbik.testing.tiny import logits_of, tiny_bert, tiny_splits

QUICK = {
    "levers": "architecture",
    "supernet": Sandwich(epochs=1, batch_tokens=512),
    "vocabulary": False,
    "distill": {"epochs": 1},
    "threads": 1,
}


@pytest.mark.parametrize("fixed", [(), (0,), (0, 1, 2)])
@pytest.mark.parametrize("depth", [1, 2, 5, 12])
def test_the_table_adds_up_to_what_a_machine_of_that_form_takes(depth, fixed):
    space = Space.of(depth, 4, 256, tuple(place for place in fixed if place < depth))
    points = list(design(space))
    table = Table.fitted(space, points, [true_cost(architecture) for architecture in points])
    again = Table(**json.loads(json.dumps(asdict(table))))
    generator = np.random.default_rng(1)
    for _ in range(50):
        architecture = space.architecture(space.draw(generator))
        assert astuple(again.cost(architecture)) == pytest.approx(astuple(true_cost(architecture))), architecture


def test_the_table_minimizes_the_relative_error():
    space, generator = Space.of(4, 4, 256), np.random.default_rng(2)
    points = list(design(space))
    noisy = [Cost(*(value * generator.uniform(0.8, 1.2) for value in astuple(true_cost(architecture)))) for architecture in points]

    def error(table):
        shares = [np.array(astuple(table.cost(one))) / np.array(astuple(cost)) - 1 for one, cost in zip(points, noisy, strict=True)]
        return np.square(shares).sum(0)

    table = Table.fitted(space, points, noisy)
    for name in table.terms:
        for factor in (0.99, 1.01):
            moved = {**table.terms, name: [factor * value for value in table.terms[name]]}
            assert (error(replace(table, terms=moved)) >= error(table) - 1e-12).all(), name


def test_what_is_best():
    def candidate(retention, ms, mb):
        return Candidate(Architecture((0,), (1,), (8,)), retention, Cost(ms, mb * 1e6, ms))

    good, fast, slow = candidate(0.99, 1.0, 5), candidate(0.96, 0.2, 3), candidate(1.0, 9.0, 20)
    limited = Limits(max_latency_ms=2.0, max_mb=6.0)
    assert max((good, fast, slow), key=lambda one: one.rank(limited)) == good
    assert max((good, fast, slow), key=lambda one: one.rank(Limits(max_latency_ms=0.1))) == fast, "the nearest to a limit that none meets"
    assert max((good, fast, slow), key=lambda one: one.rank(Limits(min_retention=0.95))) == fast, "the fastest that keeps enough"
    assert max((good, fast, slow), key=lambda one: one.rank(Limits(min_retention=0.995))) == slow
    assert slow.violation(limited) == pytest.approx(9 / 2 - 1 + 20 / 6 - 1)


def run(directory, teacher, splits, **options):
    return search(teacher, splits, directory, SearchOptions(**QUICK | options), progress=Silent(), say=lambda line: None)


@pytest.mark.usefixtures("quick_table")
@pytest.mark.parametrize("strategy", ["evolution", "controller"])
def test_a_search_that_is_interrupted_ends_as_one_that_is_not(strategy, tmp_path, monkeypatch, interrupted_after):
    teacher, splits = tiny_bert(layers=3), tiny_splits()
    options = {"strategy": strategy, "evaluations": 30, "make": False, "limits": Limits(max_latency_ms=0.2)}
    whole = run(tmp_path / "a", teacher, splits, **options)
    real = job.scored
    interrupted_after(12)
    first = run(tmp_path / "b", teacher, splits, **options)
    assert not first.finished and first.looked_at == 12 and (tmp_path / "b" / "best.yaml").is_file()
    log = next((tmp_path / "b").rglob("evaluations.jsonl"))
    log.write_bytes(log.read_bytes() + b'{"decisions": [0, ')  # as a kill leaves it
    monkeypatch.setattr(job, "scored", real)
    second = run(tmp_path / "b", teacher, splits, **options)
    assert second.finished and second.looked_at == whole.looked_at == 30
    assert second.best == whole.best and (tmp_path / "b" / "best.yaml").read_text() == (tmp_path / "a" / "best.yaml").read_text()


@pytest.mark.usefixtures("quick_table")
def test_another_budget_asks_for_nothing_that_is_known(tmp_path, monkeypatch):
    teacher, splits = tiny_bert(layers=2), tiny_splits()
    loose = run(tmp_path, teacher, splits, evaluations=80, strategy="random", make=False)
    monkeypatch.setattr(job, "scored", lambda *arguments: pytest.fail("an architecture was looked at a second time"))
    tight = run(tmp_path, teacher, splits, evaluations=1, strategy="random", make=False, limits=Limits(max_latency_ms=0.13))
    assert loose.looked_at == tight.looked_at == 80 and tight.best.cost.ms <= 0.13
    assert tight.best.violation(Limits(max_latency_ms=0.13)) == 0.0


def test_the_whole_search_makes_its_winner_with_a_recipe_that_compress_repeats(tmp_path):
    teacher, splits = tiny_bert(layers=2), tiny_splits()
    options = {"evaluations": 4, "vocabulary": True, "limits": Limits(min_retention=0.1)}
    found = run(tmp_path, teacher, splits, **options)
    assert found.finished and found.results is not None
    assert {"best"} <= {one.name for one in found.results.measurements}
    recipe = load_recipe(found.recipe)
    assert [step.name for step in recipe.steps] == ["vocabulary", "prune", "distill", "quantize"]
    made = load_checkpoint(tmp_path / "run" / "best" / "model")
    counts = [block.count for block in blocks_of(made.model) if block.kind == "units"]
    assert counts == list(found.best.architecture.units) and made.model.config.num_hidden_layers == len(counts)
    again = compress(teacher, splits, tmp_path / "again", recipes=[found.recipe], threads=1, progress=Silent(), say=lambda line: None)
    assert any(one.name == "best" for one in again.measurements)
    repeated = load_checkpoint(tmp_path / "again" / "best" / "model")
    # to a rounding: where weights lie in memory decides the order in which some processors add
    np.testing.assert_allclose(logits_of(repeated, splits.test), logits_of(made, splits.test), atol=1e-3)
    kept = CostFile.read(tmp_path / "costs.json")
    table = asdict(kept.table)
    assert kept.threads == 1 and kept.machine["cpu"] and kept.shape.layers == 2
    assert len(table["measured"]) == len(list(design(Space.of(2, 2, 64)))) and all(entry["cost"]["ms"] > 0 for entry in table["measured"])
    assert not list(tmp_path.rglob("search/*/artefacts")), "artefacts that were only timed are gone"


def test_an_unknown_strategy_is_refused_before_any_work(tmp_path):
    with pytest.raises(UserError, match="unknown strategy"):
        run(tmp_path, tiny_bert(), tiny_splits(), strategy="bayes")
    assert not list(tmp_path.rglob("*.safetensors"))
