"""Every registered method keeps the contract; every ordered pair composes and reloads, or is refused by declaration."""

from __future__ import annotations

import itertools

import pytest
import torch

from imbik.errors import UserError
from imbik.methods import check_order, make_method, method, registered
from imbik.students import make_student
from imbik.testing import check_method, check_reload, quick, tiny_bert, tiny_context, tiny_splits

# One representative step of every method; a method that is missing here fails the first test.
STEPS = {
    "distill": {"distill": {"temperature": 2.0}},
    "distilbert": {"distilbert": {"hard": 0.0}},
    "minilm": {"minilm": {"relations": ["qq", "vv"], "relation_heads": 4}},
    "tinybert": {"tinybert": {"augment": {"masked_model": "none", "copies": 2}}},
    "quantize": {"quantize": {"scheme": "dynamic"}},
    "cluster": {"cluster": {"values": 16}},
    "share": {"share": {"groups": 2, "init": "mean"}},
    "vocabulary": {"vocabulary": {"margin": 10}},
}


def test_every_registered_method_is_tested():
    assert set(STEPS) == set(registered())


@pytest.mark.parametrize("name", sorted(STEPS))
def test_the_contract(name, tmp_path):
    check_method(STEPS[name], tmp_path)


@pytest.mark.parametrize("task", ["multi-label", "regression"])
@pytest.mark.parametrize("name", sorted(STEPS))
def test_the_contract_for_other_tasks(name, task, tmp_path):
    labels = ("score",) if task == "regression" else ("bad", "good", "other")
    check_method(STEPS[name], tmp_path, teacher=tiny_bert(labels, task))


@pytest.mark.parametrize(("first", "second"), itertools.product(sorted(STEPS), repeat=2))
def test_every_ordered_pair_composes_and_reloads_or_is_refused(first, second, tmp_path):
    steps = (quick(STEPS[first]), quick(STEPS[second]))
    try:
        check_order(steps, "pair")
    except UserError as refusal:
        assert refusal.expected and first in str(refusal.found)
        return
    teacher, splits = tiny_bert(), tiny_splits()
    student = make_student(None, teacher, splits.train, 0)
    for number, step in enumerate(steps):
        context = tiny_context(teacher, splits, tmp_path / str(number))
        student = make_method(step, "pair").apply(student, context)
    check_reload(student, tmp_path / "saved", splits.test)


def test_quantize_is_refused_before_any_other_method():
    for name in STEPS:
        with pytest.raises(UserError, match="last step"):
            check_order((STEPS["quantize"], STEPS[name]), "recipe")


def test_a_method_is_one_class_and_one_line():
    @method("nothing")
    class Nothing:
        strength: float = 1.0

        def apply(self, checkpoint, context):
            return checkpoint

    try:
        made = make_method({"nothing": {"strength": 0.5}}, "recipe")
        assert made.strength == 0.5 and made.apply("same", None) == "same"
        with pytest.raises(UserError, match="unknown setting"):
            make_method({"nothing": {"streng": 1}}, "recipe")
    finally:
        from imbik import methods

        del methods._METHODS["nothing"]


def test_distilling_a_copy_of_the_teacher_starts_at_zero_loss(tmp_path):
    from imbik.losses import distillation_loss

    logits = torch.randn(5, 3)
    for task in ("classification", "multi-label", "regression"):
        assert distillation_loss(task, logits, logits, 3.0).abs() < 1e-6


def test_distillation_brings_the_student_to_the_teacher(tmp_path):
    from dataclasses import replace

    import numpy as np

    from imbik.testing import logits_of

    teacher, splits = tiny_bert(layers=2), tiny_splits(rows=400)
    answers = logits_of(teacher, splits.dev).argmax(1)
    splits = replace(splits, dev=replace(splits.dev, targets=answers))  # the random teacher's answers are the truth here
    student = make_student({"layers": 1, "init": "random"}, teacher, splits.train, 0)
    context = tiny_context(teacher, splits, tmp_path)
    before = np.mean(logits_of(student, splits.dev).argmax(1) == answers)
    made = make_method({"distill": {"epochs": 15, "learning_rate": 3e-3}}, "recipe").apply(student, context)
    after = np.mean(logits_of(made, splits.dev).argmax(1) == answers)
    assert after > before + 0.1 and after > 0.6
    assert context.cache.runs <= len(set(splits.train.texts)), "the teacher runs once per text, not once per epoch"
