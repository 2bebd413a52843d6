"""Answers against SQuAD's official rules, by hand and by the script's own words; places of answers on whatever texts hold."""

from __future__ import annotations

import collections
import re
import string

import numpy as np
import pytest
from hard_texts import TOKENIZERS, Guesses, predictor_of, texts_of

from imbik.errors import UserError
from imbik.tasks.outputs import DECISION, ragged
from imbik.tasks.registry import task_of
from imbik.tasks.spans.answers import SQUAD_EM, SQUAD_F1, SQUAD_F1_TR, answer_row, english, turkish
from imbik.tasks.task import Asked

TASK = task_of("question-answering")


def official_tokens(text: str) -> list[str]:
    """Normalization as the evaluation script of SQuAD 2.0 describes it: lower, punctuation, articles, white space."""
    text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text).split()


def official(answer: str, golds: list[str]) -> tuple[float, float]:
    """Exact match and F1 of one answer, the best over the gold ones."""
    golds = [gold for gold in golds if official_tokens(gold)] or [""]
    scores = []
    for gold in golds:
        said, wanted = official_tokens(answer), official_tokens(gold)
        common = sum((collections.Counter(said) & collections.Counter(wanted)).values())
        if not said or not wanted:
            scores.append(float(said == wanted))
        elif not common:
            scores.append(0.0)
        else:
            precision, recall = 1.0 * common / len(said), 1.0 * common / len(wanted)
            scores.append(2 * precision * recall / (precision + recall))
    return max(float(official_tokens(answer) == official_tokens(gold)) for gold in golds), max(scores)


def test_metrics_equal_the_official_rules_to_the_last_digit() -> None:
    rng = np.random.default_rng(0)
    words = ["the", "a", "An", "Town", "town,", "of", "U.S.", "42%", "x-y", "İzmir", "ok!", "-"]

    def phrase() -> str:
        return " ".join(rng.choice(words, rng.integers(1, 7)))

    golds = [[phrase() for _ in range(rng.integers(0, 4))] for _ in range(400)]
    said = [phrase() if rng.random() < 0.8 else "" for _ in golds]
    targets = ragged(answer_row([(0, text) for text in row]) for row in golds)
    predictions = ragged(answer_row([(0, text)] if text else []) for text in said)
    expected = np.array([official(answer, row) for answer, row in zip(said, golds, strict=True)])
    assert SQUAD_EM.score(predictions, targets) == expected[:, 0].mean()
    assert SQUAD_F1.score(predictions, targets) == expected[:, 1].mean()
    np.testing.assert_array_equal(SQUAD_F1.per_item(predictions, targets), expected[:, 1])


def test_metrics_by_hand() -> None:
    def f1(said: str, gold: str, metric=SQUAD_F1) -> float:
        return metric.score(ragged([answer_row([(0, said)])]), ragged([answer_row([(0, gold)])]))

    assert f1("the big town", "a town") == pytest.approx(2 / 3)
    assert f1("IŞIK", "ışık") == 0.0 and f1("IŞIK", "ışık", SQUAD_F1_TR) == 1.0
    assert f1("İstanbul’da", "istanbul'da") == 0.0 and f1("İstanbul’da", "istanbul'da", SQUAD_F1_TR) == 1.0
    assert english("The  cat's  PAW.") == "cats paw" and turkish("Bir  kedinin PATİSİ.") == "bir kedinin patisi"


class Random(Guesses):
    """Start and end logits by token and neighbor."""

    def compute(self, feed):
        logits = super().compute(feed)
        return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}


def answers_of(predictor, questions: list[str], contexts: list[str]) -> list[dict]:
    decoded = predictor.predict(questions, contexts)
    return TASK.answers(decoded, ("start", "end"), questions, contexts, 1)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_what_is_answered_stands_in_the_context(name: str) -> None:
    predictor = predictor_of(TOKENIZERS[name](), 48, "question-answering", Random())
    questions, contexts = texts_of(1200, 1), [a + " " + b for a, b in zip(texts_of(1200, 2), texts_of(1200, 3), strict=True)]
    questions[::50] = ["bank card " * 60] * len(questions[::50])  # longer than any window
    told = 0
    for context, one in zip(contexts, answers_of(predictor, questions, contexts), strict=True):
        if one["start"] >= 0:
            told += 1
            assert context[one["start"] : one["end"]] == one["answer"] == one["answer"].strip() != ""
            assert 0 < one["score"] <= 1
        else:
            assert one["answer"] == "" and not any(map(str.isalnum, context))
    assert told > 1100


def test_a_long_context_is_read_to_its_end() -> None:
    class Wants(Guesses):
        """Marks the token of one word, wherever it stands; else the first token."""

        def compute(self, feed):
            logits = np.zeros(feed["input_ids"].shape, np.float32)
            logits[:, 0] = 1
            logits[feed["input_ids"] == wanted] = 9
            return {"start_logits": logits, "end_logits": logits}

    tokenizer = TOKENIZERS["words"]()
    wanted = tokenizer.token_to_id("loan")
    predictor = predictor_of(tokenizer, 24, "question-answering", Wants())
    context = "the bank " * 100 + "loan  rate " + "my card " * 30
    (one,) = answers_of(predictor, ["where"], [context])
    assert (one["answer"], one["start"]) == ("loan", context.index("loan"))
    assert len(predictor.encode(["where"], [context])) > 20


def test_whether_there_is_an_answer_is_decided_on_dev() -> None:
    # margins of six questions, of which those below 1 have no answer
    margins, gold = np.array([3.0, 2.0, 0.5, -1.0, 1.5, 0.0], np.float32), [1, 1, 0, 0, 1, 0]
    targets = ragged(answer_row([(0, "x")] if has else []) for has in gold)
    decoded = {"margin": margins, "text": np.array(["x"] * 6, object), "start": np.zeros(6, np.int64)}
    assert TASK.settle(decoded, targets, SQUAD_F1) == pytest.approx((0.5 + 1.5) / 2)
    assert TASK.settle(decoded, ragged([answer_row([(0, "x")])] * 6), SQUAD_F1) is None
    none = TASK.settle(decoded, ragged([answer_row([])] * 6), SQUAD_F1)
    assert none > 3.0
    places = np.array([[-1, 0, 0, 0, 0], [0, 0, 2, 1, 0], [-1, 0, 0, 0, 0], [1, 0, 3, 1, 0], [1, 4, 8, 1, 0]], np.int32)
    logits = np.array([2.0, 9.0, 9.0, 0.0, 1.0], np.float32)
    asked = Asked(("start", "end"), ["q?"], ["the bank"])
    outputs = {"start_logits": ragged([logits]), "end_logits": ragged([logits]), "places": ragged([places])}
    said = TASK.decode(outputs, asked)
    assert (said["text"].tolist(), said["margin"].tolist()) == (["bank"], [-2.0])
    for decision, text in ((-3.0, "bank"), (-1.0, "")):
        assert TASK.decode(outputs | {DECISION: np.array([decision])}, asked)["text"].tolist() == [text]


def test_a_program_is_told_what_a_question_is_asked_with() -> None:
    predictor = predictor_of(TOKENIZERS["words"](), 24, "question-answering", Random())
    with pytest.raises(UserError, match="one string"):
        predictor.predict("where", ["the bank"])
