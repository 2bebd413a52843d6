"""Nested vectors: the formula beside NumPy, what short vectors gain, how they are cut, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imbik.data.carving.apart import learned_apart
from imbik.distillation.nested import NestedHead
from imbik.errors import UserError
from imbik.methods.registry import make_method, make_methods
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.models.sentences.ordering import is_ordered, leading
from imbik.students.catalogue import make_student
from imbik.tasks.embedding import cosines
from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits
from imbik.training.encoding import encode_for
from imbik.training.precision import full_precision
from imbik.training.prediction import predict

TASK = "embedding"
STEP = {"epochs": 8, "learning_rate": 3e-3, "batch_tokens": 256}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_the_loss_is_the_formula():
    random = np.random.default_rng(0)
    student, teacher = random.standard_normal((2, 6, 8))
    turn = np.linalg.qr(random.standard_normal((8, 8)))[0]
    wanted = teacher @ turn.T
    cosines = unit(wanted) @ unit(wanted).T
    total = np.mean(1 - (unit(student) * unit(wanted)).sum(1)) + ((student - wanted) ** 2).mean() / (wanted**2).mean()
    total += sum(10 * ((unit(student[:, :width]) @ unit(student[:, :width]).T - cosines) ** 2).mean() for width in (2, 5, 8))
    found = NestedHead(torch.from_numpy(turn), (2, 5)).distillation_loss(torch.from_numpy(student), torch.from_numpy(teacher), 2.0)
    assert float(found) == pytest.approx(total, rel=1e-9)
    same = NestedHead(torch.from_numpy(turn), (8,)).distillation_loss(torch.from_numpy(wanted), torch.from_numpy(teacher), 2.0)
    assert float(same) == pytest.approx(0.0, abs=1e-12), "turning changes no cosine"


def vectors_of(checkpoint, rows):
    with full_precision():
        return predict(checkpoint.model, encode_for(TASK, rows, checkpoint.tokenizer), TASK)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    splits = learned_apart(tiny_splits(TASK, rows=60, pairs=True))
    teacher = tiny_bert(tuple(map(str, range(16))), TASK, layers=2)
    # scores of random words are no truth for a random teacher: its own cosines let dev choose well
    splits = replace(splits, dev=replace(splits.dev, targets=cosines(vectors_of(teacher, splits.dev)).astype(np.float32)))
    # each training in a folder of its own: one goes on where another has stopped
    return splits, lambda: tiny_context(teacher, splits, tmp_path_factory.mktemp("nested"))


def taught(lesson, **more):
    splits, context = lesson[0], lesson[1]()
    start = make_student("layers-1", context.teacher, splits.train, 0)
    return make_method({"distill": STEP | more}, "r").apply(start, context)


def test_short_vectors_are_nearer_to_the_teachers_cosines_than_principal_directions(lesson):
    splits, context = lesson[0], lesson[1]()
    wanted = unit(context.cache.logits(splits.train, context.progress).take(np.arange(len(splits.train))))
    turn, _ = leading(wanted, 16)
    plain, nested = vectors_of(taught(lesson), splits.train) @ turn.T, vectors_of(taught(lesson, nested=[3]), splits.train)

    def off(rows):
        return float(((unit(rows) @ unit(rows).T - wanted @ wanted.T) ** 2).mean())

    assert off(nested[:, :3]) < 0.9 * off(plain[:, :3])
    assert off(nested) < 2 * off(plain) + 1e-3, "whole vectors stay vectors"


def test_dimensions_keep_the_first_numbers(lesson, tmp_path):
    splits, context = lesson[0], lesson[1]()
    made = taught(lesson, nested=[4, 8])
    note = next(note for note in made.notes if note.kind == "nested")
    assert [part.split(":")[0] for part in str(note.values["found"]).split(", ")] == ["4", "8", "16"]
    save_checkpoint(made, tmp_path / "saved")
    again = load_checkpoint(tmp_path / "saved")
    assert is_ordered(again.model.config)
    before = vectors_of(again, splits.train)
    short = make_method({"dimensions": {"size": 4}}, "r").apply(again, context)
    np.testing.assert_allclose(vectors_of(short, splits.train), unit(before[:, :4]), atol=1e-5)


def test_what_has_no_meaning_is_refused(lesson):
    with pytest.raises(UserError, match=r"distill.nested: the vectors have no more dimensions. Found: 16. Expected: fewer than 16"):
        taught(lesson, nested=[4, 16])
    assert "nested: []" in make_method({"distill": {"nested": [4]}}, "r").refuse_task("classification")
    for later in ({"distill": {}}, {"distill": {"nested": [4]}}, {"quantize": {"scheme": "qat"}}):
        with pytest.raises(UserError, match="last step that learns from the teacher"):
            make_methods([{"distill": {"nested": [4]}}, later], "r")
    make_methods([{"distill": {"nested": [4]}}, {"dimensions": {"size": 4}}, {"quantize": {}}], "r")
    with pytest.raises(UserError, match="nested"):
        make_method({"distill": {"nested": [0]}}, "r")
    assert "nested" not in make_method({"distill": {}}, "r").record()["distill"]
