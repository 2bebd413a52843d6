"""The lesson that the notebooks share: one teacher for all, students by recipe, trainings cut short where asked."""

from __future__ import annotations

import numpy as np
import pytest

from imbik.demo import lesson as module
from imbik.demo.lesson import open_lesson
from imbik.models.checkpoint import save_checkpoint
from imbik.testing.tiny import tiny_bert, tiny_splits

RECIPE = "name: one\nstudent: layers-1\nsteps: [{distill: {epochs: 1, batch_tokens: 32}}]"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The lesson on a random model and random texts."""
    asked = []

    def finetune(_base, splits, directory, *, changes, progress, say):
        asked.append(changes)
        if not (directory / "config.json").exists():
            save_checkpoint(tiny_bert(), directory)

    monkeypatch.setattr(module, "finetune", finetune)
    monkeypatch.setattr(module, "bundled_base", lambda: "base")
    monkeypatch.setattr(module, "load_data", lambda *_a, **_k: tiny_splits())
    monkeypatch.delenv(module.FAST, raising=False)
    monkeypatch.setenv(module.WORK, str(tmp_path))
    return asked


def test_the_environment_says_where_and_how_long(tiny, monkeypatch, tmp_path):
    full = open_lesson()
    assert (full.fast, full.directory, tiny[-1]) == (False, tmp_path / "full", {"epochs": 6, "batch_tokens": 512})
    monkeypatch.setenv(module.FAST, "1")
    fast = open_lesson()
    assert (fast.fast, fast.directory, tiny[-1]) == (True, tmp_path / "fast", {"max_steps": 3})


def test_accuracy_is_that_of_the_logits(tiny):
    lesson = open_lesson()
    logits, targets = lesson.logits(lesson.teacher), lesson.splits.test.targets
    assert logits.shape == (len(targets), len(lesson.splits.labels))
    by_hand = sum(int(np.argmax(row) == target) for row, target in zip(logits, targets, strict=True)) / len(targets)
    assert lesson.accuracy(lesson.teacher) == pytest.approx(by_hand)


def test_a_student_is_trained_and_kept_and_short_where_asked(tiny, monkeypatch):
    steps = []
    apply = module.apply_recipe
    monkeypatch.setattr(module, "apply_recipe", lambda *given: steps.append(given[2].steps[0].max_steps) or apply(*given))
    before = None
    for fast in (False, True):
        lesson = open_lesson(fast=fast)
        student = lesson.student(RECIPE)
        assert student.model.config.num_hidden_layers == 1 and not student.model.training
        again = lesson.student(RECIPE)
        for name, weight in student.model.state_dict().items():
            assert np.array_equal(weight, again.model.state_dict()[name]), name
        before = lesson.logits(student) if before is None else before
    assert steps == [0, 0, 3, 3]
    assert not np.allclose(before, lesson.logits(student))  # another number of steps, another student
