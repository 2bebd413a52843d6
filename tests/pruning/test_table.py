"""The table of costs: its parts add up to an architecture's milliseconds, its file is refused where it is none or another model's, and
the cut under a budget of milliseconds is compared with every cut there is."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.locale.notes import sentence
from imbik.methods.registry import make_method
from imbik.models.blocks import Block, blocks_of
from imbik.pruning.allocation import choices, shared
from imbik.pruning.costs import Timed
from imbik.pruning.table import Architecture, CostFile, Shape, Table
from imbik.students.catalogue import make_student
from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits

HEADS, UNITS = [1, 2, 4], [8, 16, 32, 64]


def table(seed=0, heads=HEADS, units=UNITS, layers=4):
    generator = np.random.default_rng(seed)
    names = ["one layer", "several layers", "inner layer"]
    names += [f"{kind} heads {width}" for kind in ("inner", "last", "only") for width in heads[1:]]
    names += [f"{kind} units {width}" for kind in ("inner", "last", "only") for width in units[1:]]
    return Table(heads, units, {name: [float(value) for value in generator.uniform(0.05, 1.0, 3)] for name in names})


def cost_file(**changes):
    shape = Shape("bert", 32, 4, 4, 64, 119)
    return replace(CostFile(shape, "onnx", 1, "dynamic int8", {"cpu": "a test's"}, table()), **changes)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_fixed_part_and_blocks_add_up_to_the_cost_of_an_architecture(layers):
    known = table()
    for heads, units in itertools.product(itertools.product(HEADS, repeat=layers), itertools.product(UNITS, repeat=layers)):
        total = known.fixed_ms(layers)
        for place, (own_heads, own_units) in enumerate(zip(heads, units, strict=True)):
            total += known.block_ms("heads", place, layers)[own_heads] + known.block_ms("units", place, layers)[own_units]
        assert total == pytest.approx(known.cost(Architecture(tuple(range(layers)), heads, units)).ms)


def test_between_measured_widths_a_line_below_them_nothing_and_noise_costs_nothing():
    known = table()
    known.terms["inner units 16"][0] = -0.3
    found = known.block_ms("units", 0, 4)
    assert len(found) == 65 and (found[:17] == 0).all() and (np.diff(found) >= 0).all()
    assert found[24] == pytest.approx(known.terms["inner units 32"][0] / 2)


def lost(blocks, scores, counts):
    return sum(float(np.sort(scores[b.writer])[: b.count - count].sum()) for b, count in zip(blocks, counts, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_the_cut_under_milliseconds_against_every_cut_there_is(seed):
    generator, known, layers = np.random.default_rng(seed), table(seed, [1, 2, 4], [2, 4, 8]), 2
    blocks = [
        Block(kind, place, count, 1, 1, (), f"{place}.{kind}") for place in range(layers) for kind, count in (("heads", 4), ("units", 8))
    ]
    scores = {b.writer: generator.exponential(size=b.count) for b in blocks}
    costs = {b.writer: known.block_ms(b.kind, b.layer, layers) for b in blocks}
    every = list(itertools.product(*(choices(b, 1) for b in blocks)))
    price = np.array([sum(costs[b.writer][n] for b, n in zip(blocks, one, strict=True)) for one in every])
    loss = np.array([lost(blocks, scores, one) for one in every])
    # one piece of a hull may not fit: what it costs is all that separates the cut from the best one
    piece = max(float(cost[-1]) for cost in costs.values())
    equal = 0
    for budget in np.linspace(0.0, price.max(), 12):
        found = shared(blocks, scores, costs, float(budget), 1)
        assert found is not None
        spent = sum(costs[b.writer][n] for b, n in zip(blocks, found, strict=True))
        own, best = lost(blocks, scores, found), loss[price <= budget + 1e-9].min()
        assert spent <= budget + 1e-9 and own >= best - 1e-9
        within = loss[price <= budget - piece + 1e-9]
        assert not len(within) or own <= within.min() + 1e-9
        equal += own <= best + 0.05 * loss.max()
    assert equal >= 9, "nearly always within a twentieth of the best there is"
    assert shared(blocks, scores, costs, -0.01, 1) is None


def pruned(settings, directory, teacher=None):
    teacher, splits = teacher or tiny_bert(heads=4), tiny_splits()
    student = make_student(None, teacher, splits.train, 0)
    context = tiny_context(teacher, splits, directory)
    return make_method({"prune": {"multiple": 1, "repair": "none", **settings}}, "test").apply(student, context)


def grid(model):
    """The architecture of a pruned model."""
    counts = {kind: tuple(b.count for b in blocks_of(model) if b.kind == kind) for kind in ("heads", "units")}
    return counts["heads"], counts["units"]


@pytest.mark.parametrize("settings", [{}, {"layers": 2}, {"alike": True}, {"stages": 2, "recovery": {"epochs": 1}}])
def test_a_budget_of_milliseconds_is_kept_and_used(settings, tmp_path):
    own = cost_file()
    own.write(tmp_path / "costs.json")
    whole = own.table.cost(Architecture((0, 1, 2, 3), (4,) * 4, (64,) * 4)).ms
    budget = 0.6 * whole if "layers" not in settings else 0.4 * whole
    made = pruned({"budget_ms": budget, "table": str(tmp_path / "costs.json"), **settings}, tmp_path / "work")
    heads, units = grid(made.model)
    layers = len(heads)
    spent = own.table.fixed_ms(layers) + sum(
        own.table.block_ms("heads", place, layers)[heads[place]] + own.table.block_ms("units", place, layers)[units[place]]
        for place in range(layers)
    )
    assert spent <= budget + 1e-9 and spent > (0.8 if settings.get("alike") else 0.95) * budget
    assert made.notes[-1].values["left"] == pytest.approx(spent / whole) and "of their milliseconds" in sentence(made.notes[-1])


def test_the_dear_part_goes_where_the_cheap_one_goes_by_operations(tmp_path):
    """Heads cost nothing on this machine and units all: the same model loses no head and many units."""
    dear = table()
    for name, values in dear.terms.items():
        values[0] = 1e-6 if "heads" in name else values[0]
    cost_file(table=dear).write(tmp_path / "costs.json")
    heads, units = grid(pruned({"budget_ms": dear.fixed_ms(4) + 0.5, "table": str(tmp_path / "costs.json")}, tmp_path / "work").model)
    assert heads == (4, 4, 4, 4) and sum(units) < 4 * 40


def test_a_table_of_another_model_is_refused(tmp_path):
    cost_file().write(tmp_path / "costs.json")
    with pytest.raises(UserError, match="one of another model") as caught:
        pruned({"budget_ms": 1.0, "table": str(tmp_path / "costs.json")}, tmp_path / "work", tiny_bert(heads=4, layers=3))
    assert "layers 4" in str(caught.value) and "layers 3" in str(caught.value)
    # a word table of another size costs no time
    cost_file(shape=replace(cost_file().shape, pieces=7)).write(tmp_path / "costs.json")
    assert pruned({"budget_ms": 1e6, "table": str(tmp_path / "costs.json")}, tmp_path / "work").notes[-1].values["left"] == 1.0


def test_the_file_comes_back_as_it_was_written_and_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "costs.json"
    cost_file().write(path)
    assert CostFile.read(path) == cost_file()
    document = json.loads(path.read_text())
    for change in ({"table": {**document["table"], "terms": {}}}, {"threads": 0}, {"shape": {}}, {"format": "another"}):
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(UserError, match=r"costs\.json"):
            CostFile.read(path)
    for text in ("", "{", "[1]", "null"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"costs\.json"):
            CostFile.read(path)
    with pytest.raises(UserError, match="did not make"):
        cost_file().write(path)
    with pytest.raises(UserError, match="nothing"):
        CostFile.read(tmp_path / "nothing.json")


@pytest.mark.parametrize(("settings", "told"), [
    ({"budget_ms": 1.0}, "budget_ms together with table"),
    ({"table": "costs.json", "budget": 0.5}, "budget_ms together with table"),
    ({"budget_ms": 1.0, "table": "costs.json", "budget": 0.5}, "budget, a share, or budget_ms"),
    ({"budget_ms": 1.0, "table": "costs.json", "heads": 2}, "a budget, or numbers of heads and units"),
    ({"budget_ms": 0, "table": "costs.json"}, "greater than 0"),
])  # fmt: skip
def test_settings_that_have_no_meaning_are_refused(settings, told):
    with pytest.raises(UserError, match=told):
        make_method({"prune": settings}, "test")


def test_a_budget_below_the_narrowest_names_the_least(tmp_path):
    cost_file().write(tmp_path / "costs.json")
    least = Timed(cost_file(), "").kept.table.fixed_ms(4)
    with pytest.raises(UserError, match="below the smallest") as caught:
        pruned({"budget_ms": 0.9 * least, "table": str(tmp_path / "costs.json")}, tmp_path / "work")
    assert f"{least:.3f}" in str(caught.value) and "budget_ms" in str(caught.value)
