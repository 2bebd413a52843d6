"""Whether a column of numbers holds values to predict, or the numbers and codes of classes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imbik.errors import shorten
from imbik.tasks.label_cells import LabelCells, not_finite, number_of
from imbik.tasks.labels.names import folded

Kind = Literal["values", "classes", "either", "names"]

FEW = 20
"""Different whole numbers in a column, at most, that are classes in any column."""

_REPEATS = 2.0  # rows a class, at least, without which whole numbers are hardly classes
_DENSE = 0.9  # share of the whole numbers from the least to the greatest that occur, where they number classes
_MOSTLY = 0.8  # share of numbers among different cells, above which the others are slips of the pen
_UNSIGNED_EXPONENT = re.compile(r"\d+[eE]\d+")
_PADDED = re.compile(r"[-+]?0\d+")
# what people write for a number and no program reads as one: 1,5 - 1.200,50 - 12 % - 3.50 EUR
_WRITTEN = re.compile(
    r"[-+]?\s?[$€£₺%]?\s?(\d{1,3}([.,' \u00a0\u202f\u2019]\d{3})+|\d+)([.,]\d+)?\s?([$€£₺%]|tl|try|usd|eur|gbp|k|m)?", re.IGNORECASE
)


def _words(text: str) -> frozenset[str]:
    """Return the words of a text; they are folded as :func:`imbik.tasks.labels.names.folded` folds the names of columns."""
    return frozenset(text.split())


_CLASS_WORDS = _words(
    "category categories intent intents class classes topic topics type types kind code codes emotion tag group cluster language genre "
    "department kategori niyet sinif konu tur kod duygu grup bolum dil"
)
_LABEL_WORDS = frozenset(("label", "labels", "etiket", "etiketler"))
_VALUE_WORDS = _words(
    "score scores rating ratings star stars similarity relatedness price cost amount value age year count length point points percent "
    "percentage distance temperature salary weight height income time duration minutes hours days valence arousal intensity probability "
    "puan skor fiyat yas tutar benzerlik miktar adet oran sure maas ucret deger"
)


@dataclass(frozen=True)
class Judgment:
    """What a column of label cells holds.

    Attributes:
        kind: ``values`` to predict; ``classes`` whose names are numbers; ``either``: a coin toss; ``names``: no numbers.
        reason: what speaks for it, in a few words.
    """

    kind: Kind
    reason: str


def judge(column: LabelCells) -> Judgment:
    """Judge a label column by how its cells are written, how often each occurs, and what the column is called.

    Leading zeros, underscores and the like are codes. Decimals are values. Whole numbers are classes where there are few of them, or
    where they repeat under a name that speaks of classes; where name and numbers leave it open it is a coin toss.
    """
    if column.numbers is not None:
        return Judgment("values", "very many different numbers")
    present = [code for code, value in enumerate(column.values) if not column.is_missing(value)]
    texts = [column.values[code] for code in present]
    if not texts:
        return Judgment("names", "")
    repeats = float(np.isin(column.codes, present).sum()) / len(texts)
    code = _code(texts)
    words = [place for place in present if number_of(column.values[place]) is None]
    if words:
        return _written(column, texts, words, code)
    if code:
        return Judgment("classes" if repeats >= _REPEATS else "either", code)
    numbers = np.array([number for number in map(float, texts) if math.isfinite(number)])
    if (numbers == np.round(numbers)).all():
        return _whole(column.name, sorted({_exact(text) for text in texts if math.isfinite(float(text))}), repeats)
    return _decimal(column.name, texts, numbers, repeats)


def _written(column: LabelCells, texts: Sequence[str], words: Sequence[int], code: str) -> Judgment:
    """Judge cells of which some, the ``words``, are numbers to no program."""
    first = column.values[words[0]]
    if not code and all(_WRITTEN.fullmatch(text) for text in texts):
        return Judgment("either", f"{first!r} may be a number; regression needs it as a program writes it, like 1.5")
    if len(texts) - len(words) > max(FEW, _MOSTLY * len(texts)):
        return Judgment("either", f"{shorten(first)} in {column.where(words[0])} among {len(texts) - len(words)} different numbers")
    return Judgment("names", "")


def _code(texts: Sequence[str]) -> str:
    """Return what shows that cells are codes, since no program writes a number like that; empty: nothing does."""
    for text in texts:
        if _PADDED.fullmatch(text):
            return f"{text!r} has a leading zero: a code"
    exponent = next((text for text in texts if _UNSIGNED_EXPONENT.fullmatch(text)), None)
    # a program writes 1e+20, and decimals where there are some
    if exponent is not None and not any("." in text for text in texts):
        return f"{exponent!r} is a code"
    return f"{texts[0]!r} has a plus: a code" if all(text.startswith("+") for text in texts) else ""


def _exact(text: str) -> int:
    """Return a whole number: floats hold no more than 16 digits, and take long codes for one another."""
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else int(float(text))


def _whole(name: str, values: Sequence[int], repeats: float) -> Judgment:
    """Judge whole numbers, given the distinct ones in order."""
    words = set(re.split(r"[\W_]+", folded(name)))
    told = f"{len(values)} different whole numbers, {repeats:.1f} rows each"
    if len(values) <= FEW:
        return Judgment("classes" if repeats >= _REPEATS or len(values) <= FEW // 2 else "either", told)
    if words & _VALUE_WORDS:
        return Judgment("values", f"{told}, in a column called {name!r}")
    if repeats < _REPEATS:
        return Judgment("either" if words & _CLASS_WORDS else "values", told)
    least, span = values[0], values[-1] - values[0] + 1
    dense = least in (0, 1) and len(values) >= _DENSE * span
    if words & _CLASS_WORDS or (words & _LABEL_WORDS and dense):
        return Judgment("classes", f"{told}, in a column called {name!r}")
    if least < 0:
        return Judgment("values", f"{told}, from {least} to {values[-1]}")
    often = dense or bool(words & _LABEL_WORDS) or repeats >= 10
    return Judgment("either" if often else "values", f"{told}, from {least} to {values[-1]}")


def _decimal(name: str, texts: Sequence[str], numbers: NDArray[np.float64], repeats: float) -> Judgment:
    """Judge numbers of which at least one has decimals."""
    words = set(re.split(r"[\W_]+", folded(name)))
    if words & _CLASS_WORDS and repeats >= _REPEATS:
        return Judgment("either", f"numbers with decimals, {repeats:.1f} rows each, in a column called {name!r}")
    # a program writes a number in one way; 1.1 beside 1.10 are the names of versions or sections
    if len(np.unique(numbers)) < len(texts) and not words & _VALUE_WORDS:
        return Judgment("either", "numbers with decimals, some of them written in two ways")
    return Judgment("values", "numbers with decimals")


def class_names(columns: Sequence[LabelCells]) -> list[list[str]]:
    """Return the class that each distinct value of each split stands for; ``1.0`` is class ``1`` where all splits hold whole numbers.

    Raises:
        UserError: a row without a label, or a number that is not finite among numbers.
    """
    numbers = []
    for column in columns:
        column.check_present()
        numbers.append([number_of(value) for value in column.values])
    # a nan that counts as present is a name
    if any(number is None or math.isnan(number) for split in numbers for number in split):
        return [list(column.values) for column in columns]
    for column, split in zip(columns, numbers, strict=True):
        for code, number in enumerate(split):
            if number is None or not math.isfinite(number):
                raise not_finite(column, code)
    # judged together: the same text is the same class in every split
    whole = all(number is not None and number.is_integer() for split in numbers for number in split)
    return [[_plain(value) if whole else value for value in column.values] for column in columns]


def _plain(value: str) -> str:
    return str(int(float(value))) if "." in value else value
