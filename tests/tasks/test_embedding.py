"""The task of sentence encoders, beside SciPy, scikit-learn and the evaluator of sentence-transformers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics.pairwise import cosine_similarity

from imbik.data.carving.apart import each_text, learned_apart
from imbik.data.load import load_data
from imbik.errors import UserError
from imbik.tasks.embedding import cosines
from imbik.tasks.registry import task_of
from imbik.testing.tiny import tiny_splits

TASK = task_of("embedding")


@pytest.fixture
def drawn():
    random = np.random.default_rng(0)
    first = random.standard_normal((200, 16)).astype(np.float32)
    second = (first + random.standard_normal((200, 16)) * random.uniform(0, 3, (200, 1))).astype(np.float32)
    scores = (np.round(4 * (cosine_similarity(first, second).diagonal() + random.normal(0, 0.2, 200))) / 4).astype(np.float32)
    return np.stack([first, second], axis=1), scores


def test_cosines_are_scikit_learns(drawn):
    vectors, _ = drawn
    np.testing.assert_allclose(cosines(vectors), cosine_similarity(*np.moveaxis(vectors.astype(np.float64), 1, 0)).diagonal(), atol=1e-12)


def test_metrics_are_scipys_on_cosines(drawn):
    vectors, scores = drawn
    wanted = cosine_similarity(*np.moveaxis(vectors, 1, 0)).diagonal()
    decoded = TASK.decode(vectors)
    assert TASK.score(None, decoded, scores) == pytest.approx(spearmanr(wanted, scores).statistic, abs=1e-9)
    assert TASK.score("pearson", decoded, scores) == pytest.approx(pearsonr(wanted, scores).statistic, abs=1e-6)


def test_spearman_is_that_of_the_evaluator_of_sentence_transformers(drawn):
    evaluation = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
    vectors, scores = drawn

    class Given:
        """Gives the drawn vectors for the number that stands in a text."""

        similarity_fn_name = "cosine"
        model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *_args, **_settings: None)

        def encode(self, texts, **_settings):
            return np.stack([vectors[int(text[1:]), int(text[0])] for text in texts])

    rows = range(len(scores))
    evaluator = evaluation.EmbeddingSimilarityEvaluator(
        [f"0{row}" for row in rows], [f"1{row}" for row in rows], scores.tolist(), main_similarity="cosine"
    )
    found = evaluator(Given())
    value = next(value for name, value in found.items() if name.endswith("spearman_cosine"))
    assert TASK.score("spearman", TASK.decode(vectors), scores) == pytest.approx(value, abs=1e-12)


def test_answers_are_vectors_of_texts_and_cosines_of_pairs(drawn):
    vectors, _ = drawn
    single = TASK.answers(TASK.decode(vectors[:2, 0]), (), ["a", "b"], None, 1)
    np.testing.assert_allclose([answer["vector"] for answer in single], vectors[:2, 0], atol=1e-7)
    assert TASK.lines(single[0])[0] == ("dimensions", 16) and TASK.records(single[0]) == single[:1]
    paired = TASK.answers(TASK.decode(vectors[:2]), (), ["a", "b"], ["c", "d"], 1)
    np.testing.assert_allclose([answer["similarity"] for answer in paired], cosines(vectors[:2]), atol=1e-8)


def test_a_student_learns_each_text_once_and_is_judged_by_pairs():
    splits = tiny_splits("embedding", rows=20, pairs=True)
    lesson = learned_apart(splits)
    told = {*splits.train.texts, *splits.train.pairs}
    assert set(lesson.train.texts) == told and len(lesson.train) == len(told)
    assert lesson.train.pairs is None and lesson.train.targets is None
    assert lesson.dev is splits.dev and lesson.test is splits.test
    assert list(each_text(splits.train).texts)[:4] == [
        splits.train.texts[0],
        splits.train.pairs[0],
        splits.train.texts[1],
        splits.train.pairs[1],
    ]
    other = tiny_splits("classification", rows=20)
    assert learned_apart(other) is other


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_data_are_pairs_with_scores(tmp_path):
    rows = [{"a": f"text {row}", "b": f"other {row}", "score": row / 4} for row in range(40)]
    labels = tuple("012")
    splits = load_data(write(tmp_path / "data.jsonl", rows), task="embedding", text="a", text_pair="b", label="score", labels=labels)
    assert splits.labels == labels and splits.metric == "spearman"
    assert len(splits.train) + len(splits.dev) + len(splits.test) == 40
    single = write(tmp_path / "single.jsonl", [{"a": f"text {row}", "score": row / 4} for row in range(40)])
    with pytest.raises(UserError, match="embedding needs two texts a row"):
        load_data(single, task="embedding", text="a", label="score", labels=labels)
    wrong = write(tmp_path / "wrong.jsonl", [*rows[:5], {"a": "x", "b": "y", "score": "good"}, *rows[6:]])
    with pytest.raises(UserError, match=r"wrong.jsonl, row 6, column 'score'.*good|not a finite number"):
        load_data(wrong, task="embedding", text="a", text_pair="b", label="score", labels=labels)


def test_further_texts_may_be_single_or_pairs(tmp_path):
    rows = [{"a": f"text {row}", "b": f"other {row}", "score": row / 4} for row in range(40)]
    data = write(tmp_path / "data.jsonl", rows)
    more = tmp_path / "more.txt"
    more.write_text("one more\nand one\n")
    splits = load_data(data, task="embedding", text="a", text_pair="b", label="score", labels=tuple("012"), unlabelled=more)
    assert list(learned_apart(splits).unlabelled.texts) == ["one more", "and one"]
