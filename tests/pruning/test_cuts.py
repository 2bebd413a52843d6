"""Smaller matrices answer as masks do, in every architecture that can be cut; what stays plain is plain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from imbik.errors import UserError
from imbik.models.blocks import blocks_of
from imbik.models.checkpoint import save_checkpoint
from imbik.models.facts import architecture
from imbik.models.structure import structure_of, tie_module
from imbik.pruning.cuts import cut, masked, prunable
from imbik.pruning.depth import keep_layers, least_missed, removable
from imbik.students.catalogue import make_student
from imbik.testing.contract import check_reload
from imbik.testing.tiny import tiny_bert, tiny_splits

FAMILIES = ("bert", "distilbert", "roberta", "electra", "modernbert", "albert", "mpnet", "deberta-v2", "mobilebert")
IDS = torch.randint(5, 100, (3, 12), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 12, [1] * 7 + [0] * 5, [1] * 3 + [0] * 9])


def teacher_of(family):
    if family == "distilbert":
        return make_student({"family": "distilbert", "layers": 3}, tiny_bert(), tiny_splits().train, 0)
    return tiny_bert(family=family, layers=3, hidden=32, heads=4)


@torch.no_grad()
def answer(model):
    return model(input_ids=IDS, attention_mask=MASK).logits


def draw(blocks, seed=0):
    """Some heads and units of every block, another number in each."""
    generator = np.random.default_rng(seed)
    return {b.writer: np.sort(generator.permutation(b.count)[: generator.integers(1, b.count)]) for b in blocks}


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_and_smaller_matrices_give_the_same_answers(family, tmp_path):
    checkpoint = teacher_of(family)
    model = checkpoint.model
    blocks = prunable(model)
    kept, before = draw(blocks), answer(model)
    masks = {b.writer: torch.zeros(b.count).index_fill(0, torch.from_numpy(kept[b.writer]), 1.0) for b in blocks}
    with masked(model, blocks, masks):
        wanted = answer(model)
    assert (wanted - before).abs().max() > 1e-3, "the masks change nothing"
    torch.testing.assert_close(answer(model), before, rtol=0, atol=0)
    now = cut(model, blocks, kept)
    torch.testing.assert_close(answer(model), wanted, rtol=1e-5, atol=1e-5)
    assert [b.count for b in now] == [len(kept[b.writer]) for b in blocks]
    assert [b for b in blocks_of(model) if b.writer in kept] == now
    check_reload(checkpoint, tmp_path, tiny_splits().test)


@pytest.mark.parametrize(("family", "kinds"), [("bert", {"heads", "units"}), ("mpnet", {"units"}), ("deberta-v2", {"units"})])
def test_heads_that_the_code_counts_on_are_not_offered(family, kinds):
    assert {block.kind for block in prunable(tiny_bert(family=family).model)} == kinds


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "modernbert", "distilbert"])
def test_units_alike_in_all_layers_leave_a_plain_model(family, tmp_path):
    checkpoint = teacher_of(family)
    model = checkpoint.model
    units = [block for block in prunable(model) if block.kind == "units"]
    cut(model, units, {block.writer: np.arange(block.layer, block.layer + 24) for block in units})
    assert structure_of(model.config) == []
    save_checkpoint(checkpoint, tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager").eval()
    torch.testing.assert_close(answer(plain), answer(model), rtol=1e-6, atol=1e-6)


def test_units_that_only_a_second_cut_makes_alike_are_plain_again():
    model = tiny_bert().model
    for counts in ((40, 48, 40, 40), (40, 40, 40, 40)):
        units = [block for block in blocks_of(model) if block.kind == "units"]
        cut(model, units, {block.writer: np.arange(count) for block, count in zip(units, counts, strict=True)})
    # the layers that were recorded once stay recorded: the config still names the width that they had
    assert model.config.intermediate_size == 64 and {c["arguments"].get("out_features") for c in structure_of(model.config)} >= {40}
    assert architecture(model)["intermediate"] == 40 and architecture(model)["heads"] == 2


def test_a_shared_block_is_cut_once_and_everywhere(tmp_path):
    checkpoint = tiny_bert()
    model = checkpoint.model
    for layer in (1, 2, 3):
        tie_module(model, f"bert.encoder.layer.{layer}.attention", "bert.encoder.layer.0.attention")
    heads = [block for block in prunable(model) if block.kind == "heads"]
    assert len(heads) == 1
    cut(model, heads, {heads[0].writer: np.array([1])})
    assert all(model.bert.encoder.layer[i].attention.self.query.out_features == 16 for i in range(4))
    check_reload(checkpoint, tmp_path, tiny_splits().test)


def test_matrices_of_another_method_are_not_cut(tmp_path):
    from imbik.methods.registry import make_method
    from imbik.testing.tiny import tiny_context

    teacher, splits = tiny_bert(), tiny_splits()
    student = make_student(None, teacher, splits.train, 0)
    made = make_method({"low_rank": {"rank": 4}}, "t").apply(student, tiny_context(teacher, splits, tmp_path))
    with pytest.raises(UserError, match="prune before the methods that replace matrices"):
        prunable(made.model)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "deberta-v2"])
def test_layers_go_with_what_belongs_to_them(family, tmp_path):
    checkpoint = teacher_of(family)
    model = checkpoint.model
    last = [block for block in prunable(model) if block.layer == 2]
    kept = draw(last)
    cut(model, last, kept)
    states = dict(model.named_parameters())
    keep_layers(model, [0, 2])
    changed = [change["module"] for change in structure_of(model.config)]
    assert changed and all(".1." in path and ".2." not in path for path in changed), "the record follows the layer"
    moved = {name for name, value in model.named_parameters() if any(value is one for one in states.values())}
    assert moved == set(dict(model.named_parameters())), "every weight that is left is one of before"
    check_reload(checkpoint, tmp_path, tiny_splits().test)


def test_the_layer_that_is_missed_least_goes_first():
    model = tiny_bert(layers=4).model
    for layer in (1, 3):  # two layers that write nothing: what they add is zero
        for writer in (model.bert.encoder.layer[layer].attention.output.dense, model.bert.encoder.layer[layer].output.dense):
            torch.nn.init.zeros_(writer.weight), torch.nn.init.zeros_(writer.bias)
    before = answer(model)
    assert least_missed(model, 2, lambda: float((answer(model) - before).square().mean())) == [0, 2]
    assert len(model.bert.encoder.layer) == 4, "the model comes back as it was"


def test_what_stands_first_and_is_made_otherwise_stays():
    assert removable(tiny_bert(family="modernbert").model) == [1, 2, 3]
    with pytest.raises(UserError, match="share their weights"):
        removable(tiny_bert(family="albert").model)
    shared = tiny_bert().model
    tie_module(shared, "bert.encoder.layer.1.attention", "bert.encoder.layer.0.attention")
    with pytest.raises(UserError, match="share their weights"):
        removable(shared)
