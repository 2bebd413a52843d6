"""Fewer dimensions: the directions are those of a singular value decomposition, and vectors are projected on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imbik.data.carving.apart import learned_apart
from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.methods.dimensions import leading
from imbik.methods.registry import make_method, make_methods
from imbik.models.checkpoint import labels_of, save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.models.sentences.pooling import Pooling, pool_as
from imbik.runtime.predictor import load_artefact
from imbik.students.catalogue import make_student
from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits
from imbik.training.encoding import encode_for
from imbik.training.precision import full_precision
from imbik.training.prediction import predict

TASK = "embedding"


def test_directions_are_the_leading_right_singular_vectors():
    vectors = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32) @ np.diag([9, 5, 3, 2, 1, 1, 1, 1]).astype(np.float32)
    rows, kept = leading(vectors, 3)
    _, values, right = np.linalg.svd(vectors.astype(np.float64))
    np.testing.assert_allclose(np.abs(rows @ right[:3].T), np.eye(3), atol=1e-4)
    assert kept == pytest.approx((values[:3] ** 2).sum() / (values**2).sum())


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("labels", "student"), [(8, None), (32, None), (8, "bag-16")])
def test_vectors_are_those_of_before_on_the_directions(labels, student, normalize, tmp_path):
    splits = learned_apart(tiny_splits(TASK, rows=40, pairs=True))
    teacher = tiny_bert(tuple(map(str, range(labels))), TASK, layers=1)
    pool_as(teacher.model.config, Pooling("mean", normalize, None if labels == 32 else "identity"))
    context = tiny_context(teacher, splits, tmp_path)
    start = make_student(student, context.teacher, splits.train, 0)

    def vectors(checkpoint):
        with full_precision():
            return predict(checkpoint.model, encode_for(TASK, splits.dev, checkpoint.tokenizer), TASK)

    before = vectors(start).astype(np.float64)
    made = make_method({"dimensions": {"size": 4}}, "r").apply(start, context)
    rows, _ = leading(context.cache.logits(splits.train, context.progress).take(np.arange(len(splits.train))), 4)
    wanted = before @ rows.T.astype(np.float64)
    if normalize:  # the length of what is projected does not change its direction
        wanted /= np.linalg.norm(wanted, axis=-1, keepdims=True)
    np.testing.assert_allclose(vectors(made), wanted, atol=1e-5)
    assert labels_of(made) == tuple("0123")
    save_checkpoint(made, tmp_path / "saved")
    np.testing.assert_array_equal(vectors(load_checkpoint(tmp_path / "saved")), vectors(made))
    export(replace(made, pairs=False), "onnx", tmp_path / "artefact", texts=splits.dev)
    found = load_artefact(tmp_path / "artefact").predict(list(splits.dev.texts))
    np.testing.assert_allclose(found, vectors(made)[:, 0], atol=1e-5)


def test_what_has_no_meaning_is_refused(tmp_path):
    splits = learned_apart(tiny_splits(TASK, rows=24, pairs=True))
    context = tiny_context(tiny_bert(splits.labels, TASK, layers=1), splits, tmp_path)
    with pytest.raises(UserError, match=r"dimensions.size.*8.*fewer than 8"):
        make_method({"dimensions": {"size": 8}}, "r").apply(make_student(None, context.teacher, splits.train, 0), context)
    for later in ({"distill": {}}, {"quantize": {"scheme": "qat"}}, {"prune": {"budget": 0.5}}):
        with pytest.raises(UserError, match="the teacher's vectors have more of them"):
            make_methods([{"dimensions": {"size": 4}}, later], "r")
    make_methods([{"distill": {}}, {"dimensions": {"size": 4}}, {"quantize": {}}], "r")
    assert "vectors" in make_method({"dimensions": {}}, "r").refuse_task("classification")
