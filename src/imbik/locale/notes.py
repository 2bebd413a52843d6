"""Notes in words, on disk, and out of the English sentences that versions before results schema 2 stored.

A sentence of the catalogue says how each of its values is shown: ``{count:,} of {total:,} {split} texts also stand in train``. The
same format specifications read a number back out of an old sentence.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from string import Formatter
from typing import Any

import yaml

from imbik.locale.catalogue import read_locale_file, texts, with_marks
from imbik.types import Note, Scalar

_FIELD = re.compile(r"{(\w+)(?::([^}]*))?}")
_SPELLING = (("factorised", "factorized"), ("quantised", "quantized"), ("quantising", "quantizing"), ("tokenised", "tokenized"))

_NEVER_STORED = ("note.text", "note.choice")  # schema 1 stored no such sentences: a note that reads like one is not ours


def sentence(note: Note, lang: str = "en") -> str:
    """Return a note's sentence.

    >>> sentence(Note.of("in_train", count=25, total=3080, split="test"), "tr")
    '3.080 test metninden 25 tanesi eğitim kümesinde de var'
    """
    catalogue = texts(lang)
    if "text" in note.values:  # not ours, or written by a later version, whose sentences this one does not have
        return str(note.values["text"])
    template = catalogue[f"note.{note.kind}"]
    return _Renderer(lang).vformat(template, (), _shown(note.values, catalogue))


def document(note: Note) -> dict[str, Any]:
    """Return a note as JSON: its value, and its English sentence for readers of the file."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in note.values.items()}
    return {"kind": note.kind, "values": values, "text": sentence(note)}


def read(item: str | Mapping[str, Any]) -> Note:
    """Return the note that :func:`document` wrote, or that an older version stored as an English sentence.

    >>> read("25 of 3,080 test texts also stand in train")
    Note(kind='in_train', values={'count': 25, 'total': 3080, 'split': 'test'})
    """
    if isinstance(item, str):
        return _recognized(item)
    kind = str(item["kind"])
    values = {str(name): tuple(value) if isinstance(value, list) else value for name, value in item["values"].items()}
    needed = {name for name, _ in _FIELD.findall(texts("en").get(f"note.{kind}", "{text}"))}
    return Note(kind, values if needed <= set(values) else {**values, "text": str(item.get("text", kind))})


class _Renderer(Formatter):
    """Puts values into a sentence, numbers with the marks of the language."""

    def __init__(self, lang: str) -> None:
        self.lang = lang

    def format_field(self, value: object, format_spec: str) -> str:
        """Format one value; a list of names with commas."""
        if isinstance(value, tuple):
            return ", ".join(value)
        if isinstance(value, str):
            return value
        return with_marks(format(value, format_spec), self.lang)


def _shown(values: Mapping[str, Scalar], catalogue: Mapping[str, str]) -> dict[str, Scalar]:
    """Return the values with a split's name in the reader's language."""
    split = values.get("split")
    return dict(values) if split is None else {**values, "split": catalogue.get(f"method.{split}", split)}


# ---- notes of schema 1: English sentences ----------------------------------------------------------------------------------------


def _recognized(text: str) -> Note:
    """Return the note behind an English sentence; one that matches no sentence of ours says the same in every language."""
    american = functools.reduce(lambda said, pair: said.replace(*pair), _SPELLING, text)
    for kind, pattern, formats in _patterns():
        match = pattern.fullmatch(american)
        if match:
            return Note(kind, {name: _value(found, formats[name]) for name, found in match.groupdict().items()})
    return Note.text(text)


@functools.cache
def _patterns() -> tuple[tuple[str, re.Pattern[str], Mapping[str, str]], ...]:
    """Return (kind, pattern, format of each value) of every sentence: today's, then those of ``old_notes.yaml``."""
    old: Mapping[str, list[str]] = yaml.safe_load(read_locale_file("old_notes"))
    today = [
        (key.removeprefix("note."), text)
        for key, text in texts("en").items()
        if key.startswith("note.") and not key.startswith(_NEVER_STORED)
    ]
    return tuple((kind, *_pattern(text)) for kind, text in [*today, *((kind, text) for kind in old for text in old[kind])])


def _pattern(template: str) -> tuple[re.Pattern[str], Mapping[str, str]]:
    first, *rest = _FIELD.split(template)  # fixed text, then name, format and fixed text again and again
    expression = re.escape(first)
    formats: dict[str, str] = {}
    for name, spec, fixed in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        expression += f"(?P={name})" if name in formats else f"(?P<{name}>.+?)"
        expression += re.escape(fixed)
        formats[name] = spec or ""
    return re.compile(expression), formats


def _value(text: str, spec: str) -> Scalar:
    """Return a number where the sentence shows one, else the text.

    >>> _value("3,080", ","), _value("96.2%", ".1%"), _value("a, b", "")
    (3080, 0.962, 'a, b')
    """
    plain = text.replace(",", "")
    try:
        if spec.endswith("%"):
            return round(float(plain.removesuffix("%")) / 100, 6)
        if spec:
            return float(plain) if spec.endswith(("f", "g")) else int(plain)
        return int(text) if text == str(int(text)) else text
    except ValueError:
        return text
