"""Answers to questions: how texts are compared (SQuAD's official script, English and Turkish), and the metrics."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.metrics import ItemMean
from imbik.tasks.outputs import Array

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = frozenset(string.punctuation)

Normalize = Callable[[str], str]


def english(text: str) -> str:
    """Return an answer as SQuAD's script compares it: lower case, without ASCII punctuation, without articles, single spaces.

    >>> english("The  U.S. Army!")
    'us army'
    """
    bare = "".join(letter for letter in text.lower() if letter not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def turkish(text: str) -> str:
    """Return an answer in Turkish lower case (``I`` is ``ı``, ``İ`` is ``i``), without any punctuation or symbols of ASCII; no articles.

    >>> turkish("IŞIK’ın  İstanbul'da")
    'ışıkın istanbulda'
    """
    lower = text.replace("I", "ı").replace("İ", "i").lower()
    kept = (letter for letter in lower if letter not in _PUNCTUATION and unicodedata.category(letter)[0] != "P")
    return " ".join("".join(kept).split())


def exact_match(answer: str, gold: str, normalize: Normalize = english) -> float:
    """Return 1 where two answers are the same after normalization, else 0."""
    return float(normalize(answer) == normalize(gold))


def f1(answer: str, gold: str, normalize: Normalize = english) -> float:
    """Compute the F1 of the words that two answers share; where one of them has none, whether both have none.

    >>> f1("in the old town", "the town")
    0.5
    """
    left, right = normalize(answer).split(), normalize(gold).split()
    if not left or not right:
        return float(left == right)
    same = sum((Counter(left) & Counter(right)).values())
    # 2 p r / (p + r) in the script's own order of operations, to the last digit
    if same == 0:
        return 0.0
    precision, recall = 1.0 * same / len(left), 1.0 * same / len(right)
    return (2 * precision * recall) / (precision + recall)


def answer_row(answers: Sequence[tuple[int, str]]) -> NDArray[np.str_]:
    """Return the answers of one question as a target: ``(G, 2)`` of first character and text; ``(0, 2)`` where there is none.

    >>> answer_row([(4, "Van")]).tolist()
    [['4', 'Van']]
    """
    return np.array([[str(start), text] for start, text in answers], dtype=np.str_).reshape(-1, 2)


def texts_of(row: NDArray[np.str_], normalize: Normalize) -> list[str]:
    """Return the texts that an answer may be; as in SQuAD 2.0's script, those that normalize to nothing do not count; none is ``""``."""
    return [str(text) for text in row[:, 1] if normalize(str(text))] or [""]


def _best(compare: Callable[[str, str, Normalize], float], normalize: Normalize) -> Callable[[Array, Array], Array]:
    """Return what each answer reaches with the gold answer that fits it best, (N,)."""

    def per_item(predictions: Array, targets: Array) -> Array:
        said = (str(row[0, 1]) if len(row) else "" for row in predictions)
        return np.array(
            [max(compare(answer, gold, normalize) for gold in texts_of(row, normalize)) for answer, row in zip(said, targets, strict=True)]
        )

    return per_item


SQUAD_F1 = ItemMean("squad-f1", _best(f1, english), share=True)
SQUAD_EM = ItemMean("squad-em", _best(exact_match, english), share=True)
SQUAD_F1_TR = ItemMean("squad-f1-tr", _best(f1, turkish), share=True)
SQUAD_EM_TR = ItemMean("squad-em-tr", _best(exact_match, turkish), share=True)
