"""Sentence encoders as artefacts: pooling and normalization inside, vectors equal to PyTorch's on every engine."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from imbik.export.artefact import export
from imbik.models.sentences.pooling import Pooling, pool_as
from imbik.models.teacher import Teacher
from imbik.runtime.predictor import load_artefact
from imbik.students.catalogue import make_student
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.training.encoding import encode_for
from imbik.training.precision import full_precision
from imbik.training.prediction import predict

TASK = "embedding"
TEXTS = ["the card", "", "my account is not open today", "pay"]


def made(student, *, normalize=True, mode="mean"):
    splits = tiny_splits(TASK, rows=24, pairs=True)
    teacher = tiny_bert(splits.labels, TASK, layers=2)
    pool_as(teacher.model.config, Pooling(mode, normalize, dense="identity"))
    checkpoint = make_student(student, Teacher.of(teacher), splits.train, 0)
    return replace(checkpoint, pairs=False), splits


def seen(checkpoint, splits):
    with full_precision():
        return predict(checkpoint.model, encode_for(TASK, splits.test, checkpoint.tokenizer), TASK)


CASES = [("layers-1", engine, mode, normalize) for engine in ("onnx", "openvino") for mode, normalize in (("mean", True), ("max", False))]
CASES += [("layers-1", "onnx", "cls", True), ("bag-16", "numpy", "mean", True), ("bag-16", "numpy", "mean", False)]
CASES += [("conv-16", "numpy", "mean", True), ("bag-16", "onnx", "mean", True), ("lstm-16", "onnx", "mean", True)]


@pytest.mark.parametrize(("student", "engine", "mode", "normalize"), CASES)
def test_an_artefact_gives_the_vectors_of_the_checkpoint(student, engine, mode, normalize, tmp_path):
    if engine == "openvino":
        pytest.importorskip("openvino")
    checkpoint, splits = made(student, normalize=normalize, mode=mode)
    wanted = seen(checkpoint, splits)
    export(checkpoint, engine, tmp_path / "artefact", texts=splits.dev)
    artefact = load_artefact(tmp_path / "artefact")
    found = artefact.predict(list(splits.test.texts), list(splits.test.pairs))
    assert found.shape == (len(splits.test), 2, len(splits.labels))
    # bfloat16, where the engine computes in it, has eight significant bits
    low = artefact.manifest["precision"] == "bf16"
    np.testing.assert_allclose(found, wanted, atol=(5e-2 if low else 1e-4) * np.abs(wanted).max())
    alone = np.stack([artefact.predict([text])[0] for text in splits.test.texts])
    np.testing.assert_allclose(alone, found[:, 0], atol=(5e-2 if low else 1e-4) * np.abs(wanted).max())
    lengths = np.linalg.norm(artefact.predict([text for text in TEXTS if text]), axis=1)
    assert np.allclose(lengths, 1, rtol=1e-2 if low else 1e-5) == normalize


def test_pairs_are_read_apart_and_their_cosine_is_scikit_learns(tmp_path):
    checkpoint, splits = made("layers-1")
    export(checkpoint, "onnx", tmp_path / "artefact", texts=splits.dev)
    artefact = load_artefact(tmp_path / "artefact")
    first, second = TEXTS[:2], TEXTS[2:]
    both = artefact.predict(first, second)
    np.testing.assert_allclose(both[:, 0], artefact.predict(first), atol=1e-6)
    np.testing.assert_allclose(both[:, 1], artefact.predict(second), atol=1e-6)
    from imbik.tasks.registry import task_of

    answers = task_of(TASK).answers(both, splits.labels, first, second, 3)
    wanted = np.diag(cosine_similarity(both[:, 0].astype(np.float64), both[:, 1].astype(np.float64)))
    np.testing.assert_allclose([answer["similarity"] for answer in answers], wanted, atol=1e-7)


@pytest.mark.parametrize(("student", "engine"), [("layers-1", "onnx"), ("bag-16", "numpy")])
def test_the_page_beside_an_artefact_gives_its_vectors_without_imbik(student, engine, tmp_path):
    checkpoint, splits = made(student)
    export(checkpoint, engine, tmp_path / "artefact", texts=splits.dev)
    code = (tmp_path / "artefact" / "README.md").read_text(encoding="utf-8").split("```python")[1].split("```")[0]
    code = code.replace("print(row)", "print(*row)")
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "artefact", capture_output=True, text=True, check=True).stdout
    found = np.array([line.split() for line in told.splitlines()], np.float64)
    np.testing.assert_allclose(found, load_artefact(tmp_path / "artefact").predict(["a text", "another text"]), atol=1e-5)
