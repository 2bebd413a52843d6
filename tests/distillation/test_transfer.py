"""Hooks, the anatomy of Transformers, and losses between states of two networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from imbik.distillation.attention_losses import AttentionKL, AttentionMSE, RelationKL
from imbik.distillation.feature_losses import HiddenMSE
from imbik.distillation.teacher_states import LiveTeacher, StoredTeacher
from imbik.distillation.transfer import Modules, Pair, Transfer
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.models.anatomy import anatomy, listen
from imbik.models.hooks import Tap, capture
from imbik.students.catalogue import make_student
from imbik.students.layer_map import layer_map
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.training.encoding import encode
from imbik.training.prediction import to_batch

FAMILIES = ["bert", "roberta", "electra", "distilbert", "albert", "mpnet", "camembert", "deberta-v2", "modernbert"]
PLAIN = [f for f in FAMILIES if f not in ("mpnet", "deberta-v2", "modernbert")]  # position enters at the embeddings alone
IDS = {"input_ids": torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]]), "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_states_are_those_of_transformers(family):
    model = tiny_bert(family=family, layers=3).model
    names = ["embeddings", "hidden.0", "hidden.1", "hidden.-1", "query.1", "key.2", "value.0", "scores.1"]
    with listen(model, anatomy(model), names) as states, torch.no_grad():
        wanted = model(**IDS, output_hidden_states=True)
    states = {name: states[name] for name in names}
    for name, index in (("embeddings", 0), ("hidden.0", 1), ("hidden.1", 2)):
        assert torch.equal(states[name], wanted.hidden_states[index]), name
    assert states["scores.1"].shape == (2, 2, 4, 4) and states["query.1"].shape == states["value.0"].shape == (2, 4, 32)


@pytest.mark.parametrize("family", PLAIN)
def test_the_scores_give_the_models_own_attention(family):
    model = tiny_bert(family=family, layers=3).model
    names = [f"scores.{i}" for i in range(3)]
    with listen(model, anatomy(model), names) as states, torch.no_grad():
        wanted = model(**IDS, output_attentions=True).attentions
    hidden_keys = ~IDS["attention_mask"].bool()[:, None, None, :]
    for name, attention in zip(names, wanted, strict=True):
        ours = states[name].masked_fill(hidden_keys, -1e9).softmax(-1)
        torch.testing.assert_close(ours, attention, atol=1e-5, rtol=1e-4)


def test_what_listens_leaves_no_trace():
    model = tiny_bert().model
    with capture(model, [Tap("bert.encoder.layer.0")]) as seen:
        model(**IDS)
        model(**IDS)
    assert set(seen) == {Tap("bert.encoder.layer.0")} and seen[Tap("bert.encoder.layer.0")].requires_grad
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_wrong_path_lists_what_exists():
    with pytest.raises(UserError) as error, capture(tiny_bert().model, [Tap("bert.encoder.layer.9.output")]):
        pass
    assert "bert.encoder.layer.3" in str(error.value.expected)


def test_a_wrong_state_lists_what_exists():
    body = anatomy(tiny_bert().model)
    for name in ("hidden.9", "hidden.x", "depth.0", "layers"):
        with pytest.raises(UserError, match="no such state"):
            body.taps(name)


def everything(student, teacher, layers):
    pairs = [Pair("embeddings", "embeddings", HiddenMSE())]
    for ours, theirs in enumerate(layers):
        pairs += [
            Pair(f"hidden.{ours}", f"hidden.{theirs}", HiddenMSE()),
            Pair(f"scores.{ours}", f"scores.{theirs}", AttentionMSE(), 0.5),
            Pair(f"scores.{ours}", f"scores.{theirs}", AttentionKL()),
            Pair(f"value.{ours}", f"value.{theirs}", RelationKL()),
        ]
    reader = anatomy(teacher.model)
    live = LiveTeacher(teacher.model, reader, [pair.teacher for pair in pairs])
    return Transfer(pairs, anatomy(student.model), live)


def test_a_copy_of_the_teacher_has_no_loss_and_a_narrow_student_trains_all_but_its_head():
    teacher, splits = tiny_bert(hidden=64, heads=4), tiny_splits()
    batch = to_batch(encode(splits.train, teacher.tokenizer), np.arange(8))
    copy = make_student(None, teacher, splits.train, 0)
    transfer = everything(copy, teacher, [0, 1, 2, 3])
    transfer.bind(copy.model, batch)
    assert float(transfer(copy.model, batch).detach()) == pytest.approx(0.0, abs=1e-6)
    student = make_student({"layers": 2, "hidden": 48, "heads": 3}, teacher, splits.train, 0)
    transfer = everything(student, teacher, layer_map("uniform", 4, 2))
    transfer.bind(student.model, batch)
    before = {name: p.clone() for name, p in teacher.model.named_parameters()}
    transfer(student.model, batch).backward()
    idle = [name for name, p in student.model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert all(name.startswith(("bert.pooler", "classifier")) for name in idle), idle
    assert all(p.grad.abs().sum() > 0 for p in transfer.parameters()) and len(list(transfer.parameters())) == 3
    assert all(torch.equal(p, before[n]) and p.grad is None for n, p in teacher.model.named_parameters())


def test_stored_states_are_the_live_ones(tmp_path):
    teacher, splits = tiny_bert(), tiny_splits()
    data, reader = encode(splits.train, teacher.tokenizer), anatomy(teacher.model)
    names = ["embeddings", "hidden.2", "scores.1", "value.-1"]
    stored = StoredTeacher(teacher.model, reader, names, data, tmp_path / "states.bin")
    stored.fill(Silent())
    assert (tmp_path / "states.bin").stat().st_size == stored.bytes()
    batch = to_batch(data, np.array([5, 0, 17]))
    live, mask = LiveTeacher(teacher.model, reader, names).states(batch), batch["attention_mask"].bool()
    read = stored.states(batch)
    for name in names:
        ours, theirs = read[name], live[name]
        if name == "scores.1":
            keep = (mask[:, None, :, None] & mask[:, None, None, :]).expand(theirs.shape)
            ours, theirs = ours[keep], theirs[keep]
        else:
            ours, theirs = ours[mask], theirs[mask]
        torch.testing.assert_close(ours, theirs, atol=3e-2, rtol=3e-2)  # bf16 products where the processor has them, float16 on disk


def test_layer_maps():
    assert layer_map("uniform", 12, 4) == [2, 5, 8, 11] and layer_map("uniform", 6, 4) == [1, 2, 4, 5]
    assert layer_map("top", 12, 4) == [8, 9, 10, 11] and layer_map("bottom", 12, 4) == [0, 1, 2, 3]
    assert layer_map([1, 1, 12], 12, 3) == [0, 0, 11]
    for spec, student in (([1, 2], 3), ([0, 1], 2), ([1, 13], 2), ("uniform", 13)):
        with pytest.raises(UserError):
            layer_map(spec, 12, student)


def test_pairs_that_cannot_work_are_refused_before_training():
    one, two = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    two.idle = nn.Linear(3, 3)
    two.forward = lambda x: two[1](two[0](x))

    def run(model, batch):
        return model(batch)

    def transfer(*pairs):
        live = LiveTeacher(two, Modules(two), [p.teacher for p in pairs], call=run)
        return Transfer(pairs, Modules(one), live, call=run)

    x = torch.randn(5, 4)
    good = transfer(Pair("0", "0", HiddenMSE()), Pair("", "", HiddenMSE()))
    good.bind(one, x)
    assert float(good(one, x).detach()) > 0 and set(good.last) == {"0 ↔ 0", " ↔ "}
    for pairs, message in (
        ([Pair("7", "0", HiddenMSE())], "no such module"),
        ([Pair("0", "7", HiddenMSE())], "no such module"),
        ([Pair("0", "idle", HiddenMSE())], "when the network runs"),
        ([Pair("0", "0", AttentionMSE())], "cannot compare"),
        ([], "nothing to learn"),
    ):
        with pytest.raises(UserError, match=message):
            transfer(*pairs).bind(one, x)
