"""Scores of pairs beside the teacher's vectors: the formula beside NumPy, what it changes, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from imbik.data.carving.apart import learned_apart
from imbik.distillation.nested import NestedHead
from imbik.distillation.scored import Partners, ScoredLabels
from imbik.distillation.soft_labels import SoftLabels
from imbik.errors import UserError
from imbik.methods.registry import make_method
from imbik.students.catalogue import make_student
from imbik.tasks.embedding import cosines
from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits
from imbik.training.encoding import encode_for
from imbik.training.prediction import predict
from imbik.types import Examples

TASK = "embedding"


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_partners_are_texts_of_train_with_scores_from_0_to_1():
    scored = Examples(["a", "c", "b"], ["b", "a", "b"], np.float32([1, 5, 3]), "")
    assert Partners.read(["c", "b", "a"], scored).of == {2: [(1, 0.0), (0, 1.0)], 1: [(2, 0.0)], 0: [(2, 1.0)]}


def test_the_loss_is_the_formula():
    random = np.random.default_rng(0)
    student, teacher = random.standard_normal((3, 8)), random.standard_normal((6, 8))
    given = SimpleNamespace(tensors=lambda rows, width, device: torch.from_numpy(teacher[rows]))
    plain = SoftLabels(TASK, given, None, 2.0, 0.0)
    loss = ScoredLabels(plain, Partners({1: [(5, 0.2), (0, 1.0)], 4: [(2, 0.6)]}), 0.3)
    rows = torch.tensor([1, 3, 4])
    soft, labels = loss.terms(torch.from_numpy(student), rows)
    assert float(soft) == pytest.approx(float(plain.terms(torch.from_numpy(student), rows)[0]))
    found = [unit(student[0]) @ unit(teacher[5]), unit(student[0]) @ unit(teacher[0]), unit(student[2]) @ unit(teacher[2])]
    assert float(labels) == pytest.approx(10 * ((np.array(found) - [0.2, 1.0, 0.6]) ** 2).mean(), rel=1e-6)
    assert loss.terms(torch.from_numpy(student), torch.tensor([0, 2, 3]))[1] is None
    turn = np.linalg.qr(random.standard_normal((8, 8)))[0]
    loss.head = NestedHead(torch.from_numpy(turn), (3,))
    turned = loss.terms(torch.from_numpy(student @ turn.T), rows)[1]
    assert float(turned) == pytest.approx(float(labels)), "nested vectors are compared with turned ones"


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    splits = learned_apart(tiny_splits(TASK, rows=60, pairs=True))
    # what dev asks is what the scores of train say, so that it keeps what is learned
    splits = replace(splits, dev=splits.scored)
    teacher = tiny_bert(splits.labels, TASK, layers=2)
    return splits, lambda: tiny_context(teacher, splits, tmp_path_factory.mktemp("scored"))


def reached(lesson, **more):
    splits, context = lesson[0], lesson[1]()
    step = {"distill": {"epochs": 8, "learning_rate": 3e-3, "batch_tokens": 256} | more}
    made = make_method(step, "r").apply(make_student("layers-1", context.teacher, splits.train, 0), context)
    vectors = predict(made.model, encode_for(TASK, splits.scored, made.tokenizer), TASK)
    scores = splits.scored.targets / splits.scored.targets.max()
    return float(((cosines(vectors) - scores) ** 2).mean())


def test_a_student_that_is_told_the_scores_is_nearer_to_them(lesson):
    assert reached(lesson, scores=0.5) < 0.8 * reached(lesson)


def test_what_has_no_scores_is_refused(lesson):
    splits, context = lesson[0], lesson[1]()
    context = replace(context, splits=replace(splits, scored=None))
    with pytest.raises(UserError, match=r"distill.scores: no pairs with scores to learn from.*two texts and a score a row"):
        make_method({"distill": {"scores": 0.5}}, "r").apply(make_student("layers-1", context.teacher, splits.train, 0), context)
    assert "scores: 0" in make_method({"distill": {"scores": 0.5}}, "r").refuse_task("classification")
    assert learned_apart(tiny_splits("classification", rows=20)).scored is None
