"""Low rank and the factorized table as methods: break-even, budgets, stages, reload, export."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.export.onnx.graph import count_ops
from imbik.factorization.decomposition import largest_rank
from imbik.factorization.matrices import matrices_of
from imbik.methods.registry import make_method
from imbik.models.facts import flops, parameters
from imbik.models.layers.factorized_embedding import FactorizedEmbedding
from imbik.models.layers.low_rank import LowRankLinear
from imbik.models.structure import structure_of, tie_module
from imbik.recipes.recipe import load_recipe
from imbik.students.catalogue import make_student
from imbik.testing.contract import check_method, check_reload, quick
from imbik.testing.tiny import logits_of, tiny_bert, tiny_context, tiny_splits

INT8 = {"quantize": {"scheme": "dynamic"}}
METHODS = ("svd", "asvd", "fwsvd", "nmf")


def cut(settings, directory, teacher=None, name="low_rank"):
    teacher = teacher or tiny_bert()
    splits = tiny_splits(teacher.task)
    student = make_student(None, teacher, splits.train, 0)
    return make_method({name: settings}, "test").apply(student, tiny_context(teacher, splits, directory))


def left(checkpoint):
    matrices = matrices_of(checkpoint.model, nmf=False).values()
    return sum(matrix.now for matrix in matrices) / sum(matrix.dense for matrix in matrices)


@pytest.mark.parametrize("kind", METHODS)
def test_the_contract(kind, tmp_path):
    made = check_method({"low_rank": {"method": kind, "budget": 0.6, "texts": 40}}, tmp_path)
    assert 0.5 < left(made) <= 0.6 and any(isinstance(m, LowRankLinear) for m in made.model.modules())


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("budget", [0.35, 0.8])
def test_the_budget_is_kept_and_used(kind, budget, tmp_path):
    made = cut({"method": kind, "budget": budget}, tmp_path)
    assert budget - 0.06 < left(made) <= budget
    plain = tiny_bert()
    saved = sum(matrix.dense - matrix.now for matrix in matrices_of(made.model, nmf=False).values())
    assert parameters(plain.model) - parameters(made.model) == saved
    assert flops(plain.model)[1] - flops(made.model)[1] == pytest.approx(2 * saved), "every parameter of a matrix is used once a token"


@pytest.mark.parametrize(("kind", "rank"), [("svd", 15), ("asvd", 15), ("fwsvd", 12), ("nmf", 7)])
def test_a_rank_that_saves_for_some_matrices_leaves_the_others(kind, rank, tmp_path):
    made = cut({"method": kind, "rank": rank}, tmp_path)
    pairs = 2 if kind == "nmf" else 1
    for matrix in matrices_of(made.model, nmf=False).values():
        saves = rank <= largest_rank(matrix.rows, matrix.columns, pairs)
        assert isinstance(matrix.module, LowRankLinear) == saves
        if saves:
            assert matrix.module.rank == rank * pairs and matrix.now < matrix.dense


@pytest.mark.parametrize("settings", [{"rank": 22}, {"method": "nmf", "rank": 11}, {"energy": 0.9999}])
def test_what_saves_nothing_anywhere_is_refused(settings, tmp_path):
    with pytest.raises(UserError, match="no matrix would become smaller"):
        cut(settings, tmp_path)


def test_a_budget_below_the_smallest_ranks_is_refused(tmp_path):
    with pytest.raises(UserError, match="below the smallest ranks"):
        cut({"budget": 0.01}, tmp_path)


def test_a_budget_that_the_last_stage_cannot_reach_is_refused_before_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr("imbik.methods.distill.Distill.apply", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match="below the smallest ranks"):
        cut({"budget": 0.001, "stages": 4, "recovery": {"epochs": 1}}, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"test, low_rank: wrong setting\. Found: {}\. Expected: exactly one of rank, energy and budget"),
        ({"rank": 3, "budget": 0.5}, r"Found: {'rank': 3, 'budget': 0.5}\. Expected: exactly one of rank, energy and budget"),
        ({"budget": 1.5}, r"test, low_rank\.budget: .*Expected: less than 1"),
        ({"rank": 0}, "greater than or equal to 1"),
        ({"method": "qr", "rank": 3}, "svd"),
        ({"budget": 0.5, "recovery": {"epoch": 3}}, "unknown setting"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        make_method({"low_rank": settings}, "test")


def test_energy_keeps_that_share_of_every_matrix(tmp_path):
    before = matrices_of(tiny_bert().model, nmf=False)
    made = cut({"energy": 0.7}, tmp_path)
    for name, matrix in matrices_of(made.model, nmf=False).items():
        if isinstance(matrix.module, LowRankLinear):
            old = before[name].module.weight
            kept = 1 - (old - matrix.module.weight).detach().square().sum() / old.detach().square().sum()
            assert 0.7 - 1e-5 <= float(kept) < 0.8


def test_activation_aware_factors_keep_more_of_the_outputs_than_plain_ones(tmp_path):
    splits, wanted = tiny_splits(), logits_of(tiny_bert(), tiny_splits().train)
    lost = {
        kind: np.square(logits_of(cut({"method": kind, "rank": 8}, tmp_path / kind), splits.train) - wanted).mean() for kind in METHODS[:2]
    }
    assert lost["asvd"] < lost["svd"]


def test_stages_end_at_the_same_size_and_learn_in_between(tmp_path):
    settings = {"method": "svd", "budget": 0.4, "recovery": {"epochs": 1}}
    once, staged = cut(settings, tmp_path / "once"), cut({**settings, "stages": 3}, tmp_path / "staged")
    assert abs(left(once) - left(staged)) < 0.03 and left(staged) <= 0.4
    assert len(structure_of(staged.model.config)) == sum(isinstance(m, LowRankLinear) for m in staged.model.modules())
    head = staged.model.classifier.weight
    assert not torch.equal(head, once.model.classifier.weight), "distilled between the cuts"
    check_reload(staged, tmp_path / "saved", tiny_splits().test)


def test_a_factorized_model_is_cut_further_and_never_grown(tmp_path):
    teacher = tiny_bert()
    half = cut({"budget": 0.5}, tmp_path / "half", teacher)
    context = tiny_context(teacher, tiny_splits(), tmp_path / "less")
    ranks = {name: matrix.module.rank for name, matrix in matrices_of(half.model, nmf=False).items() if matrix.now < matrix.dense}
    same = make_method({"low_rank": {"budget": 0.7}}, "test").apply(half, context)
    assert left(same) <= 0.5
    less = make_method({"low_rank": {"budget": 0.3}}, "test").apply(same, context)
    assert 0.25 < left(less) <= 0.3
    after = {name: matrix.module.rank for name, matrix in matrices_of(less.model, nmf=False).items() if name in ranks}
    assert all(after[name] <= rank for name, rank in ranks.items())


def test_flops_count_a_shared_matrix_at_every_use(tmp_path):
    def shared():
        teacher = tiny_bert()
        for layer in (1, 2):
            tie_module(teacher.model, f"bert.encoder.layer.{layer}", "bert.encoder.layer.0")
        return teacher

    by_bytes = cut({"budget": 0.5}, tmp_path / "bytes", shared())
    by_flops = cut({"budget": 0.5, "measure": "flops"}, tmp_path / "flops", shared())
    dense = flops(shared().model)[1]
    work = 2 * sum(matrix.dense * (3 if ".layer.0." in name else 1) for name, matrix in matrices_of(shared().model, nmf=False).items())
    saved = (dense - flops(by_flops.model)[1]) / work
    assert 0.5 <= saved < 0.56 and left(by_bytes) <= 0.5
    check_reload(by_flops, tmp_path / "saved", tiny_splits().test)


@pytest.mark.parametrize("family", ["albert", "distilbert", "roberta", "electra"])
def test_other_families(family, tmp_path):
    made = check_method({"low_rank": {"method": "asvd", "budget": 0.5}}, tmp_path, teacher=tiny_bert(family=family))
    assert left(made) <= 0.5


@pytest.mark.parametrize("task", ["multi-label", "regression"])
@pytest.mark.parametrize("kind", ["fwsvd", "asvd"])
def test_other_tasks(kind, task, tmp_path):
    labels = ("score",) if task == "regression" else ("bad", "good", "other")
    check_method({"low_rank": {"method": kind, "budget": 0.5}}, tmp_path, teacher=tiny_bert(labels, task))


def test_fisher_weights_come_from_the_teachers_answers_where_there_are_no_labels(tmp_path):
    teacher, splits = tiny_bert(), tiny_splits()
    bare = replace(splits, train=replace(splits.train, targets=None))
    student = make_student(None, teacher, bare.train, 0)
    made = make_method({"low_rank": {"method": "fwsvd", "budget": 0.5}}, "test").apply(student, tiny_context(teacher, bare, tmp_path))
    assert left(made) <= 0.5


@pytest.mark.parametrize("kind", ["asvd", "nmf"])
def test_factors_are_two_products_in_the_artefact_and_both_become_int8(kind, tmp_path):
    made = cut({"method": kind, "rank": 5}, tmp_path)
    dense = count_ops(onnx.load(export(tiny_bert(), "onnx", tmp_path / "dense").path / "model.onnx"))["MatMul"]
    artefact = export(made, "onnx", tmp_path / "float")
    assert artefact.parity["max_abs_relative"] < 1e-4
    ops = count_ops(onnx.load(artefact.path / "model.onnx"))
    # Query, key and value are one product; where they are factorized, their first factors are. In the last layer the query reads the
    # first token alone, so that its product is one of its own; dense, it is absorbed, and four products stand for keys and values.
    assert dense == 4 * (1 + 3) + 1 + 3 and ops["MatMul"] == 4 * (1 + 3 + 3 * 2) + 1
    lowered = export(replace(made, steps=(INT8,)), "onnx", tmp_path / "int8")
    assert lowered.parity["float_matmuls"] == 0 and lowered.parity["int8_ops"] >= ops["MatMul"]
    manifest = json.loads((lowered.path / "manifest.json").read_text())
    assert manifest["params"] == parameters(made.model)


def test_a_factorized_table_is_a_lookup_and_a_product(tmp_path):
    made = cut({"rank": 8}, tmp_path, name="embedding")
    assert isinstance(made.model.get_input_embeddings(), FactorizedEmbedding)
    check_reload(made, tmp_path / "saved", tiny_splits().test)
    artefact = export(replace(made, steps=(INT8,)), "onnx", tmp_path / "int8")
    assert artefact.parity["float_matmuls"] == 0
    distilled = make_method(quick({"distill": {}}), "test").apply(made, tiny_context(tiny_bert(), tiny_splits(), tmp_path / "d"))
    assert distilled.model.get_input_embeddings().table.num_embeddings == made.model.config.vocab_size


def test_frequent_words_lose_least(tmp_path):
    table = tiny_bert().model.get_input_embeddings().weight.detach()
    splits, tokenizer = tiny_splits(), tiny_bert().tokenizer
    counts = np.bincount(np.concatenate([tokenizer(t)["input_ids"] for t in splits.train.texts]), minlength=len(table))
    lost = {}
    for weights in ("frequency", "none"):
        embedding = cut({"rank": 8, "weights": weights}, tmp_path / weights, name="embedding").model.get_input_embeddings()
        lost[weights] = (table - embedding.projection(embedding.table.weight)).square().sum(1).detach().numpy()
    assert (lost["frequency"] * (counts + 1)).sum() < (lost["none"] * (counts + 1)).sum()
    assert lost["frequency"].sum() > lost["none"].sum()


@pytest.mark.parametrize("settings", [{"rank": 26}, {"energy": 0.99999}])
def test_a_table_that_would_grow_is_refused(settings, tmp_path):
    with pytest.raises(UserError, match="larger than the table"):
        cut(settings, tmp_path, name="embedding")


@pytest.mark.parametrize("kind", METHODS)
def test_shipped_recipes(kind):
    recipe = load_recipe(f"{kind}-50")
    cut, recovery = recipe.steps
    assert (cut.name, recovery.name) == ("low_rank", "distill")
    assert (cut.method, cut.budget) == (kind, 0.5)
