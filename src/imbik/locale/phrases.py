"""Sentences and numbers in the reader's language: texts from ``locale/*.yaml``, decimal marks and percent
signs as that language writes them."""

from __future__ import annotations

from collections.abc import Mapping

from imbik.locale.catalogue import texts, with_marks
from imbik.locale.language import check_language
from imbik.locale.notes import read, sentence
from imbik.types import Note

GLYPHS = {"fit": "✓", "caution": "≈", "open": "?", "unfit": "✗",
          "margin": "✓✓", "met": "✓", "borderline": "≈", "not_met": "✗", "missed": "✗≈", "not_measured": "?"}  # fmt: skip
_SHARES = ("accuracy", "macro-f1", "micro-f1")


class Phrases:
    """Texts of one language.

    >>> Phrases("tr").number(1234.5, 1), Phrases("en").number(1234.5, 1)
    ('1.234,5', '1,234.5')
    >>> Phrases("tr").percent(0.9731), Phrases("en").percent(0.9731)
    ('%97,3', '97.3%')

    Args:
        lang: en or tr.
        images: whether the rows that are spoken of are images: texts under ``of_images`` stand in the place of those that say "texts".
    """

    def __init__(self, lang: str = "en", *, images: bool = False) -> None:
        self.lang, self.images = check_language(lang), images
        self.texts = texts(lang)
        if images:
            prefix = "of_images."
            own = {key.removeprefix(prefix): text for key, text in self.texts.items() if key.startswith(prefix)}
            self.texts = {**self.texts, **own}

    def __call__(self, key: str, **values: object) -> str:
        """Return the text at the dotted ``key`` with ``values`` put in.

        Raises:
            KeyError: no such text (a defect of ours: a test compares the languages).
        """
        return self.texts[key].format(**values) if values else self.texts[key]

    def maybe(self, key: str, otherwise: str) -> str:
        """Return the text at ``key``, or ``otherwise`` where there is none (a task or metric that came later)."""
        return self.texts.get(key, otherwise)

    def note(self, note: Note | str) -> str:
        """Return a note's sentence in this language; English text is a note of an older version (:func:`imbik.locale.notes.read`).

        >>> Phrases("tr").note("25 of 3,080 test texts also stand in train")
        '3.080 test metninden 25 tanesi eğitim kümesinde de var'
        """
        return sentence(read(note) if isinstance(note, str) else note, self.lang)

    def number(self, value: float, digits: int = 0) -> str:
        """Return ``value`` with ``digits`` decimals, thousands grouped."""
        text = f"{value:,.{digits}f}"
        text = text.replace("-", "\N{MINUS SIGN}")
        return with_marks(text, self.lang)

    def percent(self, value: float, digits: int = 1) -> str:
        """Return a share as a percentage; Turkish puts the sign first."""
        text = self.number(value * 100, digits)
        if self.lang != "tr":
            return f"{text}%"
        return f"\N{MINUS SIGN}%{text[1:]}" if text.startswith("\N{MINUS SIGN}") else f"%{text}"

    def unit(self, value: float, unit: str) -> str:
        """Return ``value`` with its unit and as many decimals as its size deserves."""
        if unit == "share":
            return self.percent(value)
        if unit == "flag":
            return self("unit.yes" if value else "unit.no")
        if unit == "hours" and 0 < value < 1:
            return self.unit(value * 60, "min") if value * 60 >= 1 else self.unit(value * 3600, "s")
        if unit == "number":
            return self.number(value, 0 if float(value).is_integer() else 3)
        return self(f"unit.{unit}", value=self.number(value, decimals(value)))

    def limit(self, value: float, unit: str) -> str:
        """Return a limit as it was given: no decimals that say nothing (``20 ms``, not ``20.0 ms``)."""
        shown = round(value * 100, 6) if unit == "share" else value
        if not float(shown).is_integer() or unit in ("number", "flag"):
            return self.unit(value, unit)
        if unit == "share":
            return self.percent(value, 0)
        return self(f"unit.{unit}", value=self.number(value))

    def capital(self, text: str) -> str:
        """Return ``text`` with its first letter as a capital, as the language writes it.

        >>> Phrases("tr").capital("istek"), Phrases("en").capital("istek")
        ('İstek', 'Istek')
        """
        first = {"i": "İ", "ı": "I"}.get(text[:1], text[:1].upper()) if self.lang == "tr" else text[:1].upper()
        return first + text[1:]

    def quality(self, metric: str | None, value: float) -> str:
        """Return a quality: a percentage for accuracy and F1, a plain number for correlations."""
        return self.percent(value) if metric in _SHARES else self.number(value, 3)

    def money(self, value: float, currency: str) -> str:
        """Return an amount; cents only below 100, more decimals below a cent's tenth."""
        digits = 0 if abs(value) >= 100 else 4 if 0 < abs(value) < 0.1 else 2
        return self("unit.money", value=self.number(value, digits), currency=currency)

    def source(self, path: str | None) -> str:
        """Return a price list's file, or that it is the shipped example."""
        return path or self("roi.shipped")

    def among(self, texts: Mapping[str, str], otherwise: str) -> str:
        """Return the text of this language out of a mapping by language; English, then ``otherwise``, where there is
        none."""
        return texts.get(self.lang) or texts.get("en") or otherwise


def decimals(value: float) -> int:
    """Return decimals that leave about three figures: 2 below 10, 1 below 100, else 0; more for what is very small.

    >>> [decimals(v) for v in (0.004, 0.71, 12.3, 410.0)]
    [4, 2, 1, 0]
    """
    size = abs(value)
    if 0 < size < 0.1:
        return 4
    return 2 if size < 10 else 1 if size < 100 else 0
