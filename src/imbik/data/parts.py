"""Splits on their way: notes on them, dev and test split off where the data has none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from imbik.data.carving.near import MOST_ROWS, near_groups
from imbik.data.rows import Rows, take
from imbik.data.splitting import MOST, SHARE, contradicting, shared, split_groups, split_near, split_off
from imbik.errors import UserError
from imbik.locale.notes import sentence
from imbik.tasks.outputs import IMAGES
from imbik.tasks.task import Task
from imbik.types import Examples, Note, Say

_FEWEST = 4  # rows: one each for dev and test, and two classes to learn from


@dataclass
class Reading:
    """One reading of a data source.

    Attributes:
        say: takes one line for the user.
        notes: what a reader of results must know, in the order found.
    """

    say: Say
    notes: list[Note] = field(default_factory=list)

    def note(self, note: Note) -> None:
        """Keep a note; the user is told when the reading is done."""
        self.notes.append(note)

    def finish(self) -> tuple[Note, ...]:
        """Tell the user every note, and return them."""
        for note in self.notes:
            self.say(sentence(note))
        return tuple(self.notes)


@dataclass
class Part:
    """A split with the keys of its rows (:func:`imbik.data.splitting.keys_of`).

    Attributes:
        examples: its rows.
        keys: of each row.
        groups: a number for each row, equal for rows that no cut may part, as the task says; None: it does not.
        near: the same, of rows that nearly repeat one another; None: none do, or it was not looked for.
    """

    examples: Examples
    keys: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    near: NDArray[np.int64] | None = None

    def split(self, task: Task, seed: int, name: str) -> tuple[Part, Part]:
        """Return what stays, and the new split ``name``."""
        assert self.examples.targets is not None
        if self.groups is not None and len(np.unique(self.groups)) > 1:
            rows = split_groups(self.groups, seed, MOST[name])
        elif self.near is not None:
            rows = split_near(task.strata(self.examples.targets), self.near, seed, MOST[name])
        else:
            rows = split_off(task.strata(self.examples.targets), self.keys, seed, MOST[name])
        staying, leaving = (self._take(chosen) for chosen in rows)
        return staying, leaving

    def _take(self, rows: NDArray[np.int64]) -> Part:
        groups, near = (None if of is None else of[rows] for of in (self.groups, self.near))
        return Part(take(self.examples, rows), self.keys[rows], groups, near)


def find_near(part: Part, task: Task, reading: Reading) -> Part:
    """Return a part that knows which of its rows nearly repeat one another, where any do beside plain copies; with a note."""
    total = len(part.keys)
    if part.groups is not None:
        return part
    if task.reads == IMAGES:
        reading.note(Note.of("images_near"))
        return part
    if total > MOST_ROWS:
        reading.note(Note.of("near_not_looked_for", total=total, most=MOST_ROWS))
        return part
    near = near_groups(part.examples.texts, part.examples.pairs)
    _, first, copies = np.unique(part.keys, return_index=True, return_inverse=True)
    # copies of one text are one group, those too whose few words stand in many texts; rows without a word are nobody's copy
    near = np.where(part.keys == 0, near, near[first[copies]])
    words = part.keys != 0
    if len(np.unique(near[words])) == len(np.unique(part.keys[words])):
        return part
    _, sizes = np.unique(near, return_counts=True)
    reading.note(Note.of("near", count=int(sizes[sizes > 1].sum()), total=total))
    return replace(part, near=near)


def leave_out_unlabelled(rows: dict[str, Rows], main: str, reading: Reading) -> None:
    """Drop the splits beside ``main`` that carry no labels; a label that train has is one in every split."""
    known = [set(column.values) for column in rows[main].labels]
    for name in [name for name, split in rows.items() if name != main and split.unlabelled(known)]:
        del rows[name]
        reading.note(Note.of("no_labels", split=name))


def notes_on(split: Rows) -> tuple[Note, ...]:
    """Return what was noted while a split was read: rows that were left out, as they have no text, and what its images are like."""
    count, place = split.missing
    return (*([Note.of("missing", count=count, place=place)] if count else []), *split.notes)


def note_oddities(parts: dict[str, Part], rows: dict[str, Rows], task: Task, reading: Reading) -> None:
    """Note texts that occur twice in the data as given, compared without case and punctuation, and texts that are empty."""
    images = task.reads == IMAGES
    for name in ("test", "dev"):
        both = shared(parts["train"].keys, parts[name].keys) if name in parts else 0
        if both:
            total = len(parts[name].keys)
            found = Note.of("images_in_train", count=both, total=total, split=name)
            reading.note(found if images else Note.of("in_train", count=both, total=total, split=name))
    for name in [name for name in ("dev", "test", "train") if name in parts]:
        targets = parts[name].examples.targets
        codes = None if targets is None else task.codes(targets)
        several = 0 if codes is None else contradicting(parts[name].keys, codes)
        if several:
            found = Note.of("images_contradicting", count=several, split=name)
            reading.note(found if images else Note.of("contradicting", count=several, split=name))
    for split in rows.values():
        if split.empty:
            reading.note(Note.of("empty", count=split.empty, file=str(split.where)))
        reading.notes += notes_on(split)


def _note_one_label(parts: dict[str, Part], task: Task, reading: Reading) -> None:
    """Note a dev or test whose rows all have the same label, where train has several: a model that reads no text is perfect there."""
    found = {name: _labels_in(part, task) for name, part in parts.items()}
    for name in ("dev", "test"):
        if found[name] == 1 < found["train"]:
            reading.note(Note.of("one_label", split=name, total=found["train"]))


def _labels_in(part: Part, task: Task) -> int:
    codes = None if part.examples.targets is None else task.codes(part.examples.targets)
    return 0 if codes is None else len(np.unique(codes))


def _nothing_to_carve(name: str, part: Part, where: str) -> UserError:
    return UserError(
        f"no rows to carve {name} from: a label must stay in train, and a text on one side",
        where=where,
        found=f"{len(part.keys)} rows, {len(np.unique(part.keys))} different texts; no label has two texts to spare",
        expected="labels that stand in several rows, with different texts",
        fix="give more rows, another label column (--label), or a folder with train, dev and test files",
    )


def complete(parts: dict[str, Part], task: Task, seed: int, where: str, reading: Reading, *, single_file: bool) -> None:
    """Fill in ``dev`` and ``test`` by the rules that :func:`imbik.data.load.load_data` states.

    Args:
        parts: ``train``, and ``dev`` and ``test`` where the data has them; changed in place.
        task: knows the strata.
        seed: of the rows that are split off.
        where: the data, for messages.
        reading: takes the notes.
        single_file: whether the data is one file, for the notes.

    Raises:
        UserError: too few rows.
    """
    total = len(parts["train"].keys)
    if ("dev" not in parts or "test" not in parts) and total < _FEWEST:
        raise UserError(
            "too few rows to carve dev and test from",
            where=where,
            found=f"{total} rows",
            expected=f"{_FEWEST} or more",
            fix="give more rows, or a folder with train, dev and test files",
        )
    if "test" not in parts and "dev" in parts:
        # what is reported must not be what was chosen on, so another dev is split off below
        parts["test"] = parts.pop("dev")
        reading.note(Note.of("dev_reported", count=len(parts["test"].keys)))
    if "dev" not in parts or "test" not in parts:
        parts["train"] = find_near(parts["train"], task, reading)
    kind = "carved_file" if single_file else "carved_train"
    # test first: it is what every later figure stands on, so dev comes from what is left
    for name in ("test", "dev"):
        if name not in parts:
            whole = parts["train"]
            parts["train"], parts[name] = whole.split(task, seed, name)
            if whole.near is not None and 2 * len(parts[name].keys) < min(SHARE * len(whole.keys), MOST[name]):
                reading.note(Note.of("near_parted"))
                parts["train"], parts[name] = replace(whole, near=None).split(task, seed, name)
            count = len(parts[name].keys)
            if not count:
                raise _nothing_to_carve(name, whole, where)
            if parts["train"].groups is None:
                reading.note(Note.of(kind, split=name, count=count, seed=seed))
            else:
                reading.note(Note.of("carved_groups", split=name, count=count, origin="the file" if single_file else "train", seed=seed))
    _note_one_label(parts, task, reading)
