"""Which column is the text and which the label: named by the user, or guessed by name; a guess is always said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from imbik.errors import UserError
from imbik.tasks.labels.names import folded
from imbik.tasks.outputs import IMAGES
from imbik.tasks.task import Task
from imbik.types import Say

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
_ROW_NAMES = frozenset(("", "id", "idx", "index", "uuid", "guid", "row", "rowid", "no", "nr", "#", "sira", "kimlik"))
# Names are compared folded (names.folded). Tiers: a name of an earlier tier wins; two of the same tier are ambiguous.
_TEXTS = (
    ("text", "sentence"),
    ("question", "utterance", "review", "message", "comment", "query", "content", "tweet", "body", "input"),
    ("title", "description", "headline", "document", "metin", "cümle", "yorum", "görüş", "soru", "mesaj"),
    ("tokens", "words"),
)
_IMAGES = (("image", "img"), ("picture", "photo", "file_name", "filename", "path", "file", "resim", "görsel"))
_LABELS = (
    ("label", "labels"),
    ("category", "intent", "class", "score", "target", "sentiment", "similarity", "etiket", "kategori", "sınıf", "puan"),
    ("rating", "stars", "topic", "emotion", "output", "gold_label", "similarity_score", "relatedness_score"),
    ("duygu", "durum", "konu", "niyet"),
    ("ner_tags", "tags", "slots", "entities"),
)


@dataclass(frozen=True)
class ColumnNames:
    """What a user says of a file's columns; None: to be guessed.

    Attributes:
        text: the text column, or that of the images.
        text_pair: the column of second texts.
        label: one label column, or several behind commas.
        encoding: of the file, where it is neither UTF-8 nor marked UTF-16.
    """

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    encoding: str | None = None


class TextNames(TypedDict, total=False):
    """Fields of :class:`ColumnNames` about texts, as keyword arguments."""

    text: str | None
    text_pair: str | None
    encoding: str | None


class Names(TextNames, total=False):
    """Fields of :class:`ColumnNames`, as keyword arguments."""

    label: str | None


@dataclass(frozen=True)
class Columns:
    """The columns that are read. ``labels`` is empty where none is wanted or there is none."""

    text: str
    pair: str | None
    labels: tuple[str, ...]

    def wanted(self) -> tuple[str, ...]:
        """Return every column that must be read, texts first."""
        return (self.text, *((self.pair,) if self.pair else ()), *self.labels)


_WANTED = {
    "text": "a header in the first row with a text column, and a label column where labels are needed",
    "image": "a header in the first row with a column of images, and a label column where labels are needed",
}


@dataclass(frozen=True)
class _Header:
    """A table's column names, and those that may still be guessed."""

    where: str
    columns: Sequence[str]
    free: Sequence[str] = ()


def choose(
    where: str,
    columns: Sequence[str],
    say: Say,
    names: ColumnNames | None = None,
    *,
    labelled: bool = True,
    task: Task | None = None,
) -> Columns:
    """Return the columns to read.

    Args:
        where: the file, for messages.
        columns: its column names.
        say: takes the guess as one line for the user.
        names: what the user named.
        labelled: whether a label column must be found.
        task: the task, where it is known: it may know its label column by other names, and need pairs of texts.

    Raises:
        UserError: a named column is not there, or none or several could be meant.
    """
    names = names or ColumnNames()
    labels = _named_labels(where, columns, names.label)
    text, pair = names.text, names.text_pair
    for option, name in (("--text", text), ("--text-pair", pair)):
        if name is not None:
            must_have(where, columns, name, option)
    free = [name for name in columns if name not in (text, pair, *labels)]
    guesses = []
    if labelled and not labels:
        tiers = task.label_names if task is not None and task.label_names else _LABELS
        if len(columns) == 1 and task is not None and any(columns[0] in tier for tier in task.label_names):
            raise UserError(
                "labels without texts", where=where, found=f"column {columns[0]}", expected="a column of texts or words beside it"
            )
        # a single column is the text, whatever it is called
        labels = (_guess(_Header(where, columns, free if len(columns) > 1 else []), tiers, "label"),)
        free.remove(labels[0])
        guesses.append(f"label = {labels[0]}")
    if text is None:
        images = task is not None and task.reads == IMAGES
        header = _Header(where, columns, free)
        text, second = (_guess(header, _IMAGES, "image"), None) if images else _guess_text(header, paired=pair is None)
        pair = pair or second
        guesses.insert(0, f"{'image' if images else 'text'} = {text}" + (f", text-pair = {second}" if second else ""))
    if guesses:
        say(f"{where}: columns guessed: {', '.join(guesses)} (of {', '.join(columns)})")
    if task is not None and (task.pairs or task.apart) and pair is None:
        raise UserError(f"{task.name} needs two texts a row", where=where, found=f"columns {', '.join(columns)}", fix="name --text-pair")
    _check_roles(where, [name for name in (text, pair, *labels) if name is not None])
    return Columns(text, pair, labels)


def _check_roles(where: str, chosen: Sequence[str]) -> None:
    repeated = [name for i, name in enumerate(chosen) if name in chosen[:i]]
    if repeated:
        raise UserError("one column in two roles", where=where, found=repeated[0], fix="name different columns")


def _named_labels(where: str, columns: Sequence[str], label: str | None) -> tuple[str, ...]:
    if label is None:
        return ()
    if label in columns:
        return (label,)
    names = tuple(name.strip() for name in label.split(",") if name.strip())
    for name in names or (label,):
        must_have(where, columns, name, "--label")
    return names


def must_have(where: str, columns: Sequence[str], name: str, option: str) -> None:
    """Refuse a column that an option names and a table lacks.

    Raises:
        UserError: naming the columns that there are.
    """
    if name not in columns:
        raise UserError(
            f"no column {name!r}",
            where=where,
            found=f"columns {', '.join(columns)}",
            expected=f"the column that {option} names",
            fix=f"name one of them with {option}",
        )


def _by_folded_name(columns: Sequence[str]) -> dict[str, str]:
    # reversed: of names that differ in case only the first one stays
    return {folded(name): name for name in reversed(columns)}


def named_like_a_label(column: str) -> bool:
    """Return whether a column is called as label columns are."""
    return any(folded(column) in map(folded, tier) for tier in _LABELS)


def _is_number_of_row(column: str) -> bool:
    """Return whether a column's name says that it numbers or names the rows, or says nothing."""
    name = folded(column)
    return name in _ROW_NAMES or name.startswith(("unnamed:", "column ")) or name.endswith(("_id", " id"))


def _guess_text(header: _Header, *, paired: bool) -> tuple[str, str | None]:
    """Return the text column and, where ``paired`` allows it, the column of second texts."""
    names = _by_folded_name(header.free)
    # a column that is called text is meant, even beside two that look like a pair
    if paired and "text" not in names:
        for first, second in _PAIRS:
            if first in names and second in names:
                return names[first], names[second]
    return _guess(header, _TEXTS, "text"), None


def _guess(header: _Header, tiers: Sequence[Sequence[str]], role: str) -> str:
    names = _by_folded_name(header.free)
    for tier in tiers:
        hits = [names[folded(name)] for name in tier if folded(name) in names]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise _unclear(header, role, f"{' and '.join(hits)} could both be the {role}")
    others = [name for name in header.free if not _is_number_of_row(name) and not (role == "label" and folded(name) in _TEXTS[0])]
    if not others and role != "label":
        others = list(header.free)
    if len(others) == 1:
        return others[0]
    raise _unclear(header, role, None)


def _unclear(header: _Header, role: str, why: str | None) -> UserError:
    listed = f"columns {', '.join(header.columns)}"
    return UserError(
        f"which column is the {role}?",
        where=header.where,
        found=listed if why is None else f"{why} ({listed})",
        expected=_WANTED["image" if role == "image" else "text"],
        fix=f"name it with --{'text' if role == 'image' else role} COLUMN",
    )
