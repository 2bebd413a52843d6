"""Offsets on whatever texts hold: emoji, marks, right-to-left letters, CRLF, NUL. What an answer says is what stands there."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hard_texts import LABELS, TOKENIZERS, Guesses, predictor_of, texts_of

from imbik.tasks.registry import task_of
from imbik.tasks.spans.places import begins_word


@pytest.mark.parametrize("name", TOKENIZERS)
def test_what_a_tagger_answers_stands_in_the_text(name: str) -> None:
    predictor, task, told = predictor_of(TOKENIZERS[name](), 16), task_of("token-classification"), 0
    texts = texts_of(3400, seed=len(name))
    answers = task.answers(predictor.predict(texts), LABELS, texts, None, 1)
    for text, answer in zip(texts, answers, strict=True):
        before = 0
        for one in answer["entities"]:
            start, end, said = one["start"], one["end"], one["entity"]
            assert before <= start < end <= len(text) and text[start:end] == said
            assert said == said.strip() and not unicodedata.combining(said[0])
            assert end == len(text) or unicodedata.category(text[end]) not in ("Mn", "Me") or text[end - 1].isspace()
            before, told = end, told + 1
    assert told > 1000


@pytest.mark.parametrize("name", TOKENIZERS)
def test_windows_say_of_a_long_text_what_one_large_window_says(name: str) -> None:
    class ByToken(Guesses):
        """Labels by the token alone: what stands around it in the window makes no difference."""

        def compute(self, feed):
            return np.random.default_rng(1).normal(size=(997, len(LABELS))).astype(np.float32)[feed["input_ids"] % 997]

    texts = [" ".join(texts_of(12, seed)) for seed in range(20)]
    small, large = (predictor_of(TOKENIZERS[name](), length, session=ByToken()) for length in (40, 4000))
    assert max(len(small.encode([text])) for text in texts) > 5
    found, wanted = small.predict(texts), large.predict(texts)
    for ours, theirs in zip(found["entities"], wanted["entities"], strict=True):
        assert ours.tolist() == theirs.tolist()
    assert sum(map(len, found["entities"])) > 100


def test_words_are_the_same_for_every_tokenizer() -> None:
    def words(text: str) -> list[int]:
        return [place for place in range(len(text)) if not text[place].isspace() and begins_word(text, place)]

    assert words("Ankara'ya 25.5") == [0, 6, 7, 10, 12, 13]
    assert words("e\u0301te 👍🏽👍 क्षि") == [0, 5, 7, 9]
    assert words("👨\u200d👩 x") == [0, 4]
    assert words("\u200fabc \u200fd") == [0, 5]
    assert words("a\r\nb^c`") == [0, 3, 4, 5, 6]
