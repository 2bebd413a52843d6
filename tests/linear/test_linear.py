"""Linear models against scikit-learn, their gradient against differences, and what dev decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imbik.linear.features import Vocabulary
from imbik.linear.model import LinearModel
from imbik.linear.select import Judge
from imbik.linear.students import SHARES, Lesson, linear_student
from imbik.linear.support import smaller, tfidf_svm
from imbik.runtime.ngrams import Cut, NgramTokenizer
from imbik.tasks.registry import task_of
from imbik.testing.tiny import tiny_splits
from imbik.types import Examples, Splits

TEXTS = ["Where is my card?", "my card, my CARD!", "the fee is İyi", "", "a-b c"]


def test_the_simplest_is_taken_unless_dev_sees_a_difference() -> None:
    """Of 400 rows at 0.9 half a standard error is 0.5 · sqrt(0.9 · 0.1 / 400) = 0.0075."""
    texts = Examples(["x"] * 400, None, np.zeros(400, np.int64), "")
    judge = Judge(task_of("classification"), task_of("classification").metrics[0], texts)
    assert judge.unseen(0.9) == pytest.approx(0.0075)
    models = [object(), object(), object()]
    assert judge.simplest(list(zip([0.893, 0.895, 0.9], models, strict=True))) is models[0]  # type: ignore[arg-type]
    assert judge.simplest(list(zip([0.892, 0.895, 0.9], models, strict=True))) is models[1]  # type: ignore[arg-type]
    assert judge.simplest(list(zip([0.88, 0.89, 0.9], models, strict=True))) is models[2]  # type: ignore[arg-type]


@pytest.mark.parametrize("words", [1, 2, 3])
def test_rows_are_those_of_scikit_learn(words: int) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    sklearn = TfidfVectorizer(binary=True, ngram_range=(1, words), token_pattern=r"\w+|[^\w\s]", strip_accents="unicode", lowercase=True)
    expected = sklearn.fit_transform(TEXTS)
    vocabulary = Vocabulary.of(TEXTS, Cut(words))
    assert set(vocabulary.ngrams) == set(sklearn.get_feature_names_out())
    order = [sklearn.vocabulary_[ngram] for ngram in vocabulary.ngrams]
    # weights are stored in 16 bits
    np.testing.assert_allclose(vocabulary.matrix(TEXTS).toarray(), expected[:, order].toarray(), atol=1e-3)


def test_characters_are_those_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    sklearn = CountVectorizer(analyzer="char_wb", ngram_range=(2, 4), binary=True).fit(["my card fee"])
    inside = {ngram[1:] for ngram in Cut(1, (2, 4)).ngrams("my card fee") if ngram.startswith("\t")}
    assert inside == set(sklearn.get_feature_names_out())


def test_turkish_capitals_are_the_same_words() -> None:
    assert Cut(1).ngrams("IŞIK İLK ĞÜÖÇ") == Cut(1).ngrams("ışık ilk ğüöç")


def test_the_tokenizer_knows_what_the_cut_finds() -> None:
    cut = Cut(2, (3, 4))
    ngrams = sorted(set().union(*(cut.ngrams(text) for text in TEXTS)))
    tokenizer = NgramTokenizer(cut, ngrams)
    for _ in range(2):  # the second time from the memory of words
        for text, ids in zip(TEXTS, tokenizer.ids(TEXTS), strict=True):
            assert {ngrams[number - 1] for number in ids if number} == cut.ngrams(text)
    assert tokenizer.ids(["never seen"]) == [[0]]


def test_the_machine_is_scikit_learns() -> None:
    from sklearn.svm import LinearSVC

    splits = tiny_splits(rows=150)
    model = tfidf_svm(splits, (Cut(1),))
    cost = float(model.settings["c"])
    train, test = (model.vocabulary.matrix(part.texts) for part in (splits.train, splits.test))
    expected = LinearSVC(C=cost, random_state=0).fit(train, splits.train.targets).decision_function(test)
    found = model.scores(splits.test.texts)
    # eight bits, and a factor that makes probabilities fit
    factor = float((found * expected).sum() / (expected**2).sum())
    np.testing.assert_allclose(found, factor * expected, atol=0.02 * factor * np.abs(expected).max())


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_other_tasks_learn_what_words_tell(task: str) -> None:
    splits = tiny_splits(task, rows=400)
    model = tfidf_svm(splits, (Cut(1),))
    assert model.weights.shape[1] == len(splits.labels)
    constant = replace(model, weights=np.zeros_like(model.weights), bias=model.bias)
    judge = Judge.of(splits)
    assert judge.merit(model) > judge.merit(constant)


def test_two_labels_have_two_columns_that_add_up_to_nothing() -> None:
    splits = _easy(2)
    model = tfidf_svm(splits, (Cut(1),))
    np.testing.assert_allclose(model.weights.sum(axis=1), 0, atol=0.02 * np.abs(model.weights).max())
    assert Judge.of(splits).merit(model) == 1.0


def _easy(labels: int, rows: int = 240) -> Splits:
    """Texts of one telling word and some that tell nothing."""
    generator = np.random.default_rng(0)
    base = tiny_splits(rows=rows)
    told = generator.integers(0, labels, rows)
    texts = [f"{' '.join(generator.choice(['the', 'a', 'my'], 4))} word{label}" for label in told]
    one = {
        name: Examples(texts[start : start + rows // 3], None, told[start : start + rows // 3], name)
        for name, start in (("train", 0), ("dev", rows // 3), ("test", 2 * rows // 3))
    }
    return replace(base, labels=tuple(f"l{number}" for number in range(labels)), **one)


def test_pruning_keeps_the_words_that_tell() -> None:
    splits = _easy(4)
    model = tfidf_svm(splits, (Cut(2),))
    small = smaller(model, splits)
    assert len(small.vocabulary.ngrams) < len(model.vocabulary.ngrams) / 2
    # the fourth label may be what is answered where none of the others' words stands
    assert len({f"word{number}" for number in range(4)} & set(small.vocabulary.ngrams)) >= 3
    assert Judge.of(splits).merit(small) == 1.0


def test_a_number_on_all_labels_may_be_taken_off_and_probabilities_stay() -> None:
    splits = _easy(4)
    model = tfidf_svm(splits, (Cut(1),))
    task = Judge.of(splits).task
    whole = model.pruned(1.0)
    np.testing.assert_allclose(task.decode(whole.scores(splits.dev.texts)), task.decode(model.scores(splits.dev.texts)), atol=1e-4)


def test_stored_integers_give_the_weights_back_within_half_a_step() -> None:
    model = tfidf_svm(tiny_splits(rows=90), (Cut(1),))
    model = replace(model, weights=np.random.default_rng(0).normal(size=model.weights.shape).astype(np.float32))
    rows, scale = model.rows()
    assert rows.dtype == np.int8 and np.abs(rows).max() == 127
    gaps = np.abs(rows * scale[:, None] - model.weights * model.vocabulary.idf[:, None])
    assert (gaps <= scale[:, None] * 0.5001).all()


def test_probabilities_are_made_to_fit_dev() -> None:
    splits = tiny_splits(rows=150)
    model = tfidf_svm(splits, (Cut(1),))
    judge = Judge.of(splits)
    unsure = model.scaled(0.05)
    fitted = judge.calibrated(unsure)

    def surprise(one: LinearModel) -> float:
        probabilities = np.asarray(judge.task.decode(one.scores(splits.dev.texts)))
        return float(-np.log(np.maximum(probabilities[np.arange(len(probabilities)), splits.dev.targets], 1e-12)).mean())

    assert surprise(fitted) < surprise(unsure)
    assert (fitted.scores(splits.dev.texts).argmax(1) == model.scores(splits.dev.texts).argmax(1)).all()


def test_a_student_learns_what_the_teacher_says() -> None:
    splits = _easy(3)
    # the teacher turns the labels round: what it says is learned, not what the labels say
    logits = 8.0 * np.eye(3, dtype=np.float32)[(np.asarray(splits.train.targets) + 1) % 3]
    turned = replace(splits, dev=replace(splits.dev, targets=(np.asarray(splits.dev.targets) + 1) % 3))
    model = linear_student(turned, Lesson(splits.train.texts, logits, np.zeros(0, np.int64)), (Cut(1),))
    assert (model.scores(splits.test.texts).argmax(1) == (np.asarray(splits.test.targets) + 1) % 3).all()


def test_the_mean_of_two_models_has_the_mean_of_their_logits() -> None:
    model = tfidf_svm(tiny_splits(rows=90), (Cut(1),))
    generator = np.random.default_rng(0)
    weights, bias = (generator.normal(size=part.shape).astype(np.float32) for part in (model.weights, model.bias))
    other = replace(model, weights=weights, bias=bias)
    expected = 0.7 * model.scores(TEXTS) + 0.3 * other.scores(TEXTS)
    np.testing.assert_allclose(model.mixed(weights, bias, 0.3).scores(TEXTS), expected, atol=1e-5)


def test_a_machine_is_mixed_in_where_the_teacher_errs_and_left_out_where_it_does_not() -> None:
    splits = _easy(3)
    labels = np.asarray(splits.train.targets)
    right = 8.0 * np.eye(3, dtype=np.float32)[labels]
    taught = linear_student(splits, Lesson(splits.train.texts, right, labels), (Cut(1),))
    assert "machine" not in taught.settings, "no mean is better than a student that is never wrong"
    # a teacher that takes every text of one label for another's: half of the aim is the label, so the student cannot tell them apart
    lesson = Lesson(splits.train.texts, 30.0 * np.eye(3, dtype=np.float32)[np.where(labels == 0, 1, labels)], labels)
    mixed = linear_student(splits, lesson, (Cut(1),))
    assert mixed.settings["machine"] in SHARES
    assert Judge.of(splits).merit(mixed) == 1.0


def test_pruning_never_costs_a_text_of_dev() -> None:
    splits = tiny_splits(rows=300)
    model = tfidf_svm(splits, (Cut(2),))
    judge = Judge.of(splits)
    assert judge.merit(smaller(model, splits)) >= judge.merit(model)


def test_targets_mix_the_teacher_with_the_labels_that_there_are() -> None:
    lesson = Lesson(["a", "b"], np.array([[0.0, 0.0], [0.0, 0.0]], np.float32), np.array([1]))
    np.testing.assert_allclose(lesson.targets(0.5), [[0.25, 0.75], [0.5, 0.5]])
