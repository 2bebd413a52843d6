"""The supernet: the whole is the teacher, a slice is a model of its own, training ends alike after a kill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imbik.errors import UserError
from imbik.models.blocks import layer_stack
from imbik.pruning.table import Architecture
from imbik.search.sandwich import Sandwich, train_supernet
from imbik.search.space import SKIP, Space
from imbik.search.supernet import Supernet
from imbik.students.catalogue import make_student
from imbik.testing.contract import check_reload
from imbik.testing.tiny import logits_of, tiny_bert, tiny_context, tiny_splits
from imbik.training import loop

IDS = torch.randint(5, 100, (3, 12), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 12, [1] * 7 + [0] * 5, [1] * 3 + [0] * 9])


def teacher_of(family):
    if family == "distilbert":
        return make_student({"family": "distilbert", "layers": 3}, tiny_bert(), tiny_splits().train, 0)
    return tiny_bert(family=family, layers=3, heads=4)


@torch.no_grad()
def answer(model):
    return model.eval()(input_ids=IDS, attention_mask=MASK).logits


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "electra"])
def test_a_slice_is_a_model_of_its_own_and_the_whole_is_the_teacher(family, tmp_path):
    teacher = teacher_of(family)
    supernet = Supernet.of(teacher, tiny_context(teacher, tiny_splits(), tmp_path))
    space, generator, before = supernet.space, np.random.default_rng(1), answer(teacher.model)
    torch.testing.assert_close(answer(supernet.checkpoint.model), before, rtol=1e-5, atol=1e-5)
    drawn = [space.full, space.smallest, *(space.draw(generator) for _ in range(6))]
    answers = []
    for architecture in map(space.architecture, drawn):
        with supernet.active(architecture):
            wanted = answer(supernet.checkpoint.model)
        answers.append(wanted)
        student = supernet.student(architecture)
        torch.testing.assert_close(answer(student.model), wanted, rtol=1e-5, atol=1e-5)
        assert len(layer_stack(student.model)[1]) == len(architecture.layers)
        torch.testing.assert_close(answer(supernet.checkpoint.model), before, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(answers[0], before, rtol=1e-5, atol=1e-5)
    assert max(float((one - before).abs().max()) for one in answers[1:]) > 1e-2
    check_reload(supernet.student(space.architecture(drawn[2])), tmp_path / "saved", tiny_splits().test)


def test_the_model_is_whole_again_after_an_error(tmp_path):
    teacher = teacher_of("bert")
    supernet = Supernet.of(teacher, tiny_context(teacher, tiny_splits(), tmp_path))
    with pytest.raises(ValueError), supernet.active(supernet.space.architecture(supernet.space.smallest)):
        raise ValueError
    torch.testing.assert_close(answer(supernet.checkpoint.model), answer(teacher.model), rtol=1e-5, atol=1e-5)


def test_what_has_no_supernet_is_refused(tmp_path):
    for family in ("albert", "mpnet"):
        teacher = tiny_bert(family=family)
        with pytest.raises(UserError, match=r"layers that are alike|share their weights"):
            Supernet.of(teacher, tiny_context(teacher, tiny_splits(), tmp_path))


def test_training_teaches_the_small_ones_and_ends_alike_after_a_kill(tmp_path, monkeypatch):
    teacher, splits = tiny_bert(layers=2, heads=2), tiny_splits(rows=200)
    # layers that matter: without, the small ones answer like the whole model before any training, and their start is kept
    with torch.no_grad():
        for name, weight in teacher.model.named_parameters():
            if ".layer." in name and weight.dim() == 2:
                weight.mul_(4)
    # the random teacher's answers are the truth here, so that dev sees what is learned
    splits = replace(splits, dev=replace(splits.dev, targets=logits_of(teacher, splits.dev).argmax(1)))
    settings = Sandwich(epochs=6, batch_tokens=256, learning_rate=3e-3)

    def trained(folder, killed_after=None):
        context = tiny_context(teacher, splits, folder)
        supernet = Supernet.of(teacher, context)
        if killed_after is not None:
            steps = iter(range(killed_after))
            real = loop._check_finite
            monkeypatch.setattr(loop, "_check_finite", lambda *a: (real(*a), next(steps)))
            with pytest.raises((StopIteration, RuntimeError)):
                train_supernet(supernet, context, settings)
            monkeypatch.undo()
            supernet = Supernet.of(teacher, context)
        state = train_supernet(supernet, context, settings)
        return supernet, state

    whole, state = trained(tmp_path / "a")
    again, _ = trained(tmp_path / "b", killed_after=9)
    for name, value in whole.checkpoint.model.state_dict().items():
        assert torch.equal(value, again.checkpoint.model.state_dict()[name]), name
    assert len(state.history) == 6 and state.best_epoch >= 0
    fresh = Supernet.of(teacher, tiny_context(teacher, splits, tmp_path / "c"))
    small = whole.space.architecture(whole.space.smallest)
    gaps = []
    for supernet in (fresh, whole):
        with supernet.active(small):
            gaps.append(float((answer(supernet.checkpoint.model).softmax(-1) - answer(teacher.model).softmax(-1)).abs().mean()))
    assert gaps[1] < gaps[0], "the smallest sub-network is nearer to the teacher than before"


def test_the_space():
    space = Space.of(6, 12, 1536)
    assert space.architecture(space.full) == Architecture(tuple(range(6)), (12,) * 6, (1536,) * 6)
    assert space.architecture(space.smallest) == Architecture((5,), (3,), (192,))
    assert Space.of(2, 2, 64).size == (2 * 4 + 1) ** 2 - 1
    generator = np.random.default_rng(0)
    drawn = [space.draw(generator) for _ in range(300)]
    assert {sum(value != SKIP for value in one[::2]) for one in drawn} == set(range(1, 7))
    child = drawn[0]
    for _ in range(300):
        parent, child = child, space.mutated(child, generator)
        places = {place for place in range(6) if parent[2 * place : 2 * place + 2] != child[2 * place : 2 * place + 2]}
        assert len(places) == 1 and space.architecture(child).layers
