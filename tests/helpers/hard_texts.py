"""Texts that are hard to count in (emoji, marks, right-to-left letters, CRLF, NUL), tokenizers of three kinds, and models that guess."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from imbik.runtime.engines.engine import Session
from imbik.runtime.predictor import Predictor
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
