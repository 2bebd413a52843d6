"""Offsets on whatever texts hold: emoji, marks, right-to-left letters, CRLF, NUL. What an answer says is what stands there."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from imbik.runtime.engines.engine import Session
from imbik.runtime.predictor import Predictor
from imbik.tasks.registry import task_of
from imbik.tasks.spans.places import begins_word
from imbik.testing.tiny import tiny_tokenizer

PIECES = [
    "İstanbul'da",
    "IŞIK",
    "ı",
    "e\u0301",
    "क्षि",
    "שָׁלוֹם",
    "\u200fمرحبا",
    "👨‍👩‍👧",
    "👍🏽",
    "🇹🇷",
    "\r\n",
    "\x00",
    " ",
    "  ",
    "\u00a0",
    "\t",
    "25",
    ".5",
    "bank",
    "card",
    "U.S.",
    "(a)",
    "^",
    "한국",
    "中文",
    "ﬁ",
    "\ufeff",
    "\u00ad",
    "—",
    "x_y",
    "don't",
    "\ud800",
]
LABELS = ("O", "B-a", "I-a", "B-b", "I-b")


def bytes_tokenizer() -> Tokenizer:
    """Byte-level BPE without merges: every byte is a token, and those of one sign share its place."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({"<s>": 0, "</s>": 1} | {letter: 2 + i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = [("<s>", 0), ("</s>", 1)]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", special)
    return tokenizer


def sentence_pieces() -> Tokenizer:
    """Unigram over single signs and a few words, with the space as a mark, after compatibility normalization."""
    letters = sorted({letter for piece in PIECES for letter in unicodedata.normalize("NFKC", piece) if letter.isprintable()} - {" "})
    scores = [("<s>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0), ("▁bank", -1.0), ("▁car", -1.5)]
    tokenizer = Tokenizer(models.Unigram([*scores, *((letter, -4.0) for letter in letters if letter != "▁")], 2, False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = [("<s>", 0), ("</s>", 1)]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", special)
    return tokenizer


TOKENIZERS = {"bytes": bytes_tokenizer, "pieces": sentence_pieces, "words": lambda: tiny_tokenizer(24).backend_tokenizer}


class Guesses(Session):
    """Labels drawn by token id and its neighbors', so that windows of one text agree as much as models do."""

    names = ("input_ids", "attention_mask")

    def compute(self, feed):
        ids = feed["input_ids"]
        around = ids * 7 + np.roll(ids, 1, 1) * 3
        return np.random.default_rng(0).normal(size=(997, len(LABELS))).astype(np.float32)[around % 997]


def predictor_of(tokenizer: Tokenizer, length: int, task: str = "token-classification", session: Session | None = None) -> Predictor:
    manifest = {
        "labels": LABELS,
        "task": task,
        "pairs": None,
        "engine": "test",
        "max_length": length,
        "padding": {"id": 0},
        "inputs": ["input_ids", "attention_mask"],
    }
    return Predictor(manifest, tokenizer, session or Guesses())


def texts_of(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choice(PIECES) + draw.choice(["", " "]) for _ in range(draw.randrange(14))) for _ in range(count)]


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
