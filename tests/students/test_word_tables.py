"""Vectors without training, beside NumPy and scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from imbik.data.carving.apart import learned_apart
from imbik.models.teacher import Teacher
from imbik.students.pieces import piece_counts
from imbik.students.word_tables import SMOOTHING, latent_vectors, word_vectors
from imbik.testing.contract import check_reload
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.training.encoding import encode
from imbik.training.prediction import predict

TASK = "embedding"


@pytest.fixture(scope="module")
def lesson():
    splits = learned_apart(tiny_splits(TASK, rows=40, pairs=True))
    return Teacher.of(tiny_bert(splits.labels, TASK, layers=1)), splits.train


def vectors_of(checkpoint, texts):
    return predict(checkpoint.model, encode(texts, checkpoint.tokenizer), TASK)


def pieces_of(teacher, texts):
    return [teacher.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts.texts]


def test_word_vectors_are_smooth_inverse_frequency(lesson, tmp_path):
    teacher, texts = lesson
    table = teacher.model.get_input_embeddings().weight.detach().numpy().astype(np.float64)
    counts = piece_counts(teacher.tokenizer, texts, len(table))
    weights = SMOOTHING / (SMOOTHING + counts / counts.sum())
    means = np.stack([weights[ids] @ table[ids] / weights[ids].sum() for ids in pieces_of(teacher, texts)])
    common = np.linalg.svd(means)[2][0]
    wanted = means - np.outer(means @ common, common)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    made = word_vectors(teacher, texts)
    np.testing.assert_allclose(vectors_of(made, texts), wanted, atol=2e-2)  # bf16 where the processor has it
    check_reload(made, tmp_path / "saved", texts)


def test_latent_vectors_of_all_directions_have_the_cosines_of_tfidf(lesson):
    teacher, texts = lesson
    few = replace(texts, texts=list(texts.texts)[:12])
    ids = pieces_of(teacher, few)
    rows = TfidfVectorizer(analyzer=lambda place: ids[place]).fit_transform(range(len(ids)))
    made = latent_vectors(teacher, few)
    # one direction fewer than texts: what the solver can give
    exact = latent_vectors(teacher, replace(few, texts=[*few.texts, few.texts[0]]))
    assert made.model.config.hidden_size == 11 and exact.model.config.hidden_size == 12
    rows = TfidfVectorizer(analyzer=lambda place: (ids * 2)[place]).fit_transform(range(len(ids) + 1))
    found = vectors_of(exact, few)
    np.testing.assert_allclose(found @ found.T, cosine_similarity(rows)[:12, :12], atol=2e-2)


def test_leading_directions_are_kept(lesson):
    teacher, texts = lesson
    made = latent_vectors(teacher, texts, width=3)
    assert vectors_of(made, texts).shape == (len(texts), 3)
