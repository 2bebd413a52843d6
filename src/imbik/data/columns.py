"""Which column is the text and which the label: named by the user, or guessed by name; a guess is always said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imbik.data.formats.table import Say
from imbik.errors import UserError

_PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "context"),
    ("query", "passage"),
)
# Tiers: a name of an earlier tier wins; two of the same tier are ambiguous.
_TEXTS = (
    ("text", "sentence"),
    ("question", "utterance", "review", "message", "comment", "query", "content", "tweet", "body", "input"),
    ("title", "description", "headline", "document", "metin", "cümle", "yorum", "soru", "mesaj"),
)
_LABELS = (
    ("label", "labels"),
    ("category", "intent", "class", "score", "target", "sentiment", "similarity", "etiket", "kategori", "puan"),
    ("rating", "stars", "topic", "emotion", "output", "gold_label", "similarity_score", "relatedness_score", "duygu"),
)


@dataclass(frozen=True)
class Columns:
    """The columns that are read. ``labels`` is empty where none is wanted or there is none."""

    text: str
    pair: str | None
    labels: tuple[str, ...]

    def wanted(self) -> tuple[str, ...]:
        """Every column that must be read, texts first."""
        return (self.text, *((self.pair,) if self.pair else ()), *self.labels)


def choose(
    where: str,
    columns: Sequence[str],
    say: Say,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labelled: bool = True,
) -> Columns:
    """The columns to read.

    Args:
        label: one column, or several behind commas.
        labelled: whether a label column must be found.

    Raises:
        UserError: a named column is not there, or none or several could be meant.
    """
    labels = _named_labels(where, columns, label)
    for option, name in (("--text", text), ("--text-pair", text_pair)):
        if name is not None:
            _must_have(where, columns, name, option)
    free = [name for name in columns if name not in (text, text_pair, *labels)]
    guesses = []
    if labelled and not labels:
        labels = (_guess(where, columns, free if len(columns) > 1 else [], _LABELS, "label", text),)
        free.remove(labels[0])
        guesses.append(f"label = {labels[0]}")
    if text is None:
        text, found = _guess_text(where, columns, free, text_pair)
        text_pair = text_pair or found
        guesses.insert(0, f"text = {text}" + (f", text-pair = {found}" if found else ""))
    if guesses:
        say(f"{where}: columns guessed: {', '.join(guesses)} (of {', '.join(columns)})")
    chosen = (text, text_pair, *labels)
    twice = [name for i, name in enumerate(chosen) if name is not None and name in chosen[:i]]
    if twice:
        raise UserError("one column in two roles", where=where, found=twice[0], fix="name different columns")
    return Columns(text, text_pair, labels)


def _named_labels(where: str, columns: Sequence[str], label: str | None) -> tuple[str, ...]:
    if label is None:
        return ()
    if label in columns:
        return (label,)
    names = tuple(name.strip() for name in label.split(",") if name.strip())
    for name in names or (label,):
        _must_have(where, columns, name, "--label")
    return names


def _must_have(where: str, columns: Sequence[str], name: str, option: str) -> None:
    if name not in columns:
        raise UserError(
            f"no column {name!r}",
            where=where,
            found=f"columns {', '.join(columns)}",
            expected=f"the column that {option} names",
            fix=f"name one of them with {option}",
        )


def _by_lower_name(columns: Sequence[str]) -> dict[str, str]:
    return {name.lower(): name for name in reversed(columns)}


def _guess_text(where: str, columns: Sequence[str], free: Sequence[str], text_pair: str | None) -> tuple[str, str | None]:
    names = _by_lower_name(free)
    if text_pair is None and "text" not in names:
        for first, second in _PAIRS:
            if first in names and second in names:
                return names[first], names[second]
    return _guess(where, columns, free, _TEXTS, "text", None), None


def _guess(
    where: str,
    columns: Sequence[str],
    free: Sequence[str],
    tiers: Sequence[Sequence[str]],
    role: str,
    text: str | None,
) -> str:
    names = _by_lower_name(free)
    for tier in tiers:
        hits = [names[name] for name in tier if name in names]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise _unclear(where, columns, role, f"{' and '.join(hits)} could both be the {role}")
    others = [name for name in free if name.lower() not in _TEXTS[0]] if role == "label" else list(free)
    if len(others) == 1:
        return others[0]
    raise _unclear(where, columns, role, f"columns {', '.join(columns)}")


def _unclear(where: str, columns: Sequence[str], role: str, found: str) -> UserError:
    listed = found if found.startswith("columns") else f"{found} (columns {', '.join(columns)})"
    return UserError(
        f"which column is the {role}?",
        where=where,
        found=listed,
        expected="a header in the first row with a text column, and a label column where labels are needed",
        fix=f"name it with --{role} COLUMN",
    )
