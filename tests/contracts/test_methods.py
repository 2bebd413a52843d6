"""Every registered method keeps the contract. Pairs of methods: test_pairs.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from imbik.errors import UserError
from imbik.locale.notes import sentence
from imbik.methods.registry import make_method, make_methods, method, registered
from imbik.students.catalogue import make_student
from imbik.testing.contract import EXAMPLE_STUDENTS, EXAMPLES, check_method, takes
from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits
from imbik.training.encoding import encode
from imbik.training.prediction import predict_logits
from imbik.training.settings import training_for, training_of

STEPS = {name: {name: settings} for name, settings in EXAMPLES.items() if takes(name)}


def test_every_registered_method_is_tested():
    assert set(EXAMPLES) == set(registered())


@pytest.mark.parametrize("name", sorted(STEPS))
def test_the_contract(name, tmp_path):
    check_method(STEPS[name], tmp_path, student=EXAMPLE_STUDENTS.get(name))


@pytest.mark.parametrize("task", ["multi-label", "regression"])
@pytest.mark.parametrize("name", sorted(STEPS))
def test_the_contract_for_other_tasks(name, task, tmp_path):
    labels = ("score",) if task == "regression" else ("bad", "good", "other")
    check_method(STEPS[name], tmp_path, teacher=tiny_bert(labels, task), student=EXAMPLE_STUDENTS.get(name))


def test_quantize_is_refused_before_any_other_method():
    for name in STEPS:
        with pytest.raises(UserError, match="last step"):
            make_methods([STEPS["quantize"], STEPS[name]], "recipe")


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
        from imbik.methods import registry

        del registry._METHODS["nothing"]


def test_distillation_that_only_does_harm_is_taken_back(tmp_path):
    teacher, splits = tiny_bert(), tiny_splits()
    dev = encode(splits.dev, teacher.tokenizer)
    splits = replace(splits, dev=replace(splits.dev, targets=predict_logits(teacher.model, dev).argmax(1)))
    student = make_student(None, teacher, splits.train, 0)
    made = make_method({"distill": {"learning_rate": 1.0, "epochs": 2}}, "r").apply(student, tiny_context(teacher, splits, tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(teacher.model.parameters(), made.model.parameters(), strict=True))
    assert "no epoch was better on dev than the start" in sentence(made.notes[-1])


def test_a_method_that_trains_inherits_the_settings_of_training():
    made = make_method({"minilm": {"epochs": 3, "max_steps": 7}}, "recipe")
    training = training_of(made, tokens=10_000)
    assert (training.epochs, training.max_steps, training.learning_rate, training.max_grad_norm) == (3, 7, 5e-4, 1.0)
    auto = make_method({"distill": {"batch_tokens": 100, "target_steps": 40}}, "recipe")
    assert training_of(auto, tokens=1000).epochs == 4
    transfer = training_for(make_method({"mobilebert": {"accumulate": 2}}, "recipe"), 50)
    assert (transfer.max_steps, transfer.accumulate, transfer.learning_rate) == (50, 2, 1.5e-3)
    with pytest.raises(UserError, match=r"(?s)minilm\.epochs.*greater than or equal to 1"):
        make_method({"minilm": {"epochs": 0}}, "recipe")
    with pytest.raises(UserError, match=r"layer, relation_heads.*learning_rate, batch_tokens"):  # its own settings first
        make_method({"minilm": {"patience": 1}}, "recipe")


def test_distilling_a_copy_of_the_teacher_starts_at_zero_loss(tmp_path):
    from imbik.training.losses import distillation_loss

    logits = torch.randn(5, 3)
    for task in ("classification", "multi-label", "regression"):
        assert distillation_loss(task, logits, logits, 3.0).abs() < 1e-6


def test_distillation_brings_the_student_to_the_teacher(tmp_path):
    from dataclasses import replace

    import numpy as np

    from imbik.testing.tiny import logits_of

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
