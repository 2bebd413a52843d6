"""Prune as a step of a recipe: budgets, numbers, layers, stages, engines, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.locale.notes import sentence
from imbik.methods.registry import make_method, make_methods
from imbik.models.blocks import blocks_of
from imbik.models.facts import flops, parameters
from imbik.models.structure import structure_of
from imbik.students.catalogue import make_student
from imbik.testing.contract import check_method, check_reload
from imbik.testing.tiny import logits_of, tiny_bert, tiny_context, tiny_splits

INT8 = {"quantize": {"scheme": "dynamic"}}


def prune(settings, directory, teacher=None):
    teacher = teacher or tiny_bert(heads=4)
    splits = tiny_splits(teacher.task)
    student = make_student(None, teacher, splits.train, 0)
    return make_method({"prune": settings}, "test").apply(student, tiny_context(teacher, splits, directory))


def left(checkpoint, kind):
    return [block.count for block in blocks_of(checkpoint.model) if block.kind == kind]


@pytest.mark.parametrize("settings", [
    {"importance": "taylor", "repair": "none"},
    {"importance": "activation", "repair": "masks", "measure": "parameters"},
    {"importance": "magnitude", "repair": "matrices", "alike": True},
])  # fmt: skip
def test_the_contract(settings, tmp_path):
    made = check_method({"prune": {"budget": 0.5, "multiple": 8, **settings}}, tmp_path, teacher=tiny_bert(heads=4))
    assert structure_of(made.model.config) and made.notes[-1].values["left"] <= 0.5
    assert len(set(left(made, "heads"))) == 1 or not settings.get("alike")


@pytest.mark.parametrize("measure", ["flops", "parameters"])
@pytest.mark.parametrize("budget", [0.3, 0.8])
def test_the_budget_is_kept_and_used(measure, budget, tmp_path):
    teacher = tiny_bert(heads=4)
    made = prune({"budget": budget, "measure": measure, "multiple": 1, "repair": "none"}, tmp_path, teacher)
    found = made.notes[-1].values["left"]
    assert budget - 0.02 < found <= budget
    if measure == "parameters":
        heads, units = 4 * (4 * 8 * 32 + 3 * 8) * 4, 4 * 64 * (2 * 32 + 1)  # of all blocks, their biases of readers included
        assert parameters(teacher.model) - parameters(made.model) == pytest.approx((1 - found) * (heads + units), rel=1e-9)
    assert flops(made.model)[1] < flops(teacher.model)[1]


def test_numbers_are_taken_as_they_are(tmp_path):
    made = prune({"heads": [1, 2, 3, 4], "units": 24, "layers": None}, tmp_path)
    assert left(made, "heads") == [1, 2, 3, 4] and left(made, "units") == [24] * 4
    assert made.model.config.intermediate_size == 24
    fewer = prune({"layers": [1, 4], "heads": [4, 2]}, tmp_path / "second")
    assert left(fewer, "heads") == [4, 2] and fewer.model.config.num_hidden_layers == 2
    assert prune({"layers": 3}, tmp_path / "third").model.config.num_hidden_layers == 3


def test_layers_count_towards_the_budget(tmp_path):
    made = prune({"layers": 2, "budget": 0.4, "multiple": 1, "repair": "none"}, tmp_path)
    assert len(left(made, "heads")) == 2 and 0.37 < made.notes[-1].values["left"] <= 0.4
    assert sum(left(made, "units")) > 64, "the two layers that stay keep most of theirs"


def test_repair_brings_the_answers_nearer_and_says_so(tmp_path):
    teacher, splits = tiny_bert(heads=4), tiny_splits()
    distances = {}
    for kind in ("none", "masks", "matrices"):
        made = prune({"budget": 0.5, "multiple": 1, "repair": kind}, tmp_path / kind, teacher)
        distances[kind] = float(np.square(logits_of(made, splits.test) - logits_of(teacher, splits.test)).mean())
    assert distances["matrices"] < distances["none"] and distances["masks"] <= distances["none"]
    assert "after the repair by" in sentence(made.notes[-1])


def test_stages_end_where_one_cut_ends(tmp_path):
    made = prune({"budget": 0.4, "multiple": 1, "stages": 2, "recovery": {"epochs": 1}, "layers": 3}, tmp_path)
    assert 0.37 < made.notes[-1].values["left"] <= 0.4 and len(left(made, "heads")) == 3
    assert made.notes[-1].values["all_layers"] == 4
    assert len([note for note in made.notes if note.kind.startswith("prune")]) == 1
    halves = prune({"units": 16, "heads": 1, "stages": 2, "recovery": {"epochs": 1}}, tmp_path / "numbers")
    assert left(halves, "units") == [16] * 4 and left(halves, "heads") == [1] * 4
    check_reload(halves, tmp_path / "saved", tiny_splits().test)


@pytest.mark.parametrize(("stages", "importance"), [(1, "taylor"), (3, "taylor"), (3, "fisher")])
def test_a_budget_holds_where_an_early_stage_leaves_one_head(stages, importance, tmp_path):
    teacher = tiny_bert(layers=3)
    settings = {"budget": 0.35, "measure": "parameters", "multiple": 4, "importance": importance, "repair": "none"}
    made = prune(settings | {"stages": stages, "recovery": {"epochs": 1}}, tmp_path, teacher)
    assert left(made, "heads") == [1, 1, 1]
    gone = parameters(teacher.model) - parameters(made.model)
    blocks = 3 * (2 * (4 * 16 * 32 + 3 * 16) + 64 * (2 * 32 + 1))
    assert gone >= 0.65 * blocks * 0.999 and made.notes[-1].values["left"] == pytest.approx(1 - gone / blocks)
    assert made.notes[-1].values["heads"] == 3 and not [note for note in made.notes if note.kind == "prune_fixed_heads"]


def test_one_head_in_every_stage_from_the_second_on(tmp_path):
    made = prune({"heads": 1, "units": 16, "stages": 4, "recovery": {"epochs": 1}, "repair": "none"}, tmp_path, tiny_bert(layers=2))
    assert left(made, "heads") == [1, 1] and left(made, "units") == [16, 16]


def test_a_budget_that_the_last_stage_cannot_reach_is_refused_before_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr("imbik.methods.distill.Distill.apply", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match="below the smallest heads and units") as told:
        prune({"budget": 0.05, "stages": 3, "multiple": 32, "recovery": {"epochs": 1}}, tmp_path)
    assert told.value.found == 0.05


def test_layers_of_different_widths_are_not_cut_alike(tmp_path):
    uneven = prune({"units": [8, 16, 24, 32], "repair": "none"}, tmp_path / "uneven")
    with pytest.raises(UserError, match="cannot be cut alike"):
        prune({"budget": 0.9, "alike": True, "multiple": 8}, tmp_path, uneven)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_artefacts_of_a_pruned_model_answer_as_it_does(family, tmp_path):
    made = prune({"budget": 0.5, "multiple": 8}, tmp_path, tiny_bert(heads=4, family=family))
    splits = tiny_splits()
    artefact = export(made, "onnx", tmp_path / "float", texts=splits.test)
    assert artefact.parity["max_abs_relative"] < 1e-4 and artefact.parity["agreement"] == 1.0
    from dataclasses import replace

    lowered = export(replace(made, steps=(INT8,)), "onnx", tmp_path / "int8", texts=splits.test)
    assert lowered.parity["float_matmuls"] == 0 and lowered.parity["int8_ops"] > 0


def test_attention_scores_of_a_pruned_layer_have_its_own_heads(tmp_path):
    from imbik.models.anatomy import anatomy, listen

    made = prune({"heads": [1, 2, 3, 4]}, tmp_path)
    with listen(made.model, anatomy(made.model), ["scores.0", "scores.2"]) as states, torch.no_grad():
        made.model(input_ids=torch.ones(1, 5, dtype=torch.long))
    assert states["scores.0"].shape == (1, 1, 5, 5) and states["scores.2"].shape == (1, 3, 5, 5)


def test_fixed_heads_are_said(tmp_path):
    made = prune({"budget": 0.5, "multiple": 8}, tmp_path, tiny_bert(family="mpnet"))
    assert [note.kind for note in made.notes][:1] == ["prune_fixed_heads"] and left(made, "heads") == [2] * 4


@pytest.mark.parametrize(("settings", "message"), [
    ({}, "a budget, or numbers of heads, units or layers"),
    ({"budget": 0.5, "heads": 2}, "a budget, or numbers of heads and units"),
    ({"layers": [2, 1]}, "layers: each once, ascending"),
    ({"layers": []}, "layers: one at least"),
    ({"layers": True}, "yes, no, true and false are neither"),
    ({"heads": [2, True]}, "yes, no, true and false are neither"),
    ({"budget": 1.0}, "less than 1"),
    ({"budget": 0.5, "recovery": {"epochz": 1}}, "epochz"),
])  # fmt: skip
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(UserError, match=message):
        make_method({"prune": settings}, "r")


@pytest.mark.parametrize(("settings", "family", "message"), [
    ({"heads": 5}, "bert", "fewer heads"),
    ({"units": [1, 2]}, "bert", "not one number for each layer"),
    ({"layers": 9}, "bert", "fewer layers"),
    ({"layers": [2, 3]}, "modernbert", "first layer of this architecture stays"),
    ({"layers": 2}, "albert", "share their weights"),
    ({"heads": 1}, "mpnet", "heads of this architecture cannot be cut"),
    ({"budget": 0.01}, "bert", "below the smallest heads and units"),
])  # fmt: skip
def test_what_a_model_does_not_have(settings, family, message, tmp_path):
    with pytest.raises(UserError, match=message):
        prune(settings, tmp_path, tiny_bert(family=family, heads=4))


def test_orders_without_a_meaning():
    for steps, message in (
        ([{"low_rank": {"rank": 4}}, {"prune": {"budget": 0.5}}], "put prune before low_rank"),
        ([{"cluster": {"values": 16}}, {"prune": {"budget": 0.5}}], "put prune before cluster"),
        ([{"prune": {"budget": 0.5}}, {"share": {"groups": 1}}], "alike: true"),
        ([{"prune": {"heads": [1, 2]}}, {"share": {"groups": 1}}], "alike: true"),
    ):
        with pytest.raises(UserError, match=message):
            make_methods(steps, "r")
    assert make_methods([{"prune": {"units": 32}}, {"share": {"groups": 1}}, {"prune": {"units": 16}}], "r")
