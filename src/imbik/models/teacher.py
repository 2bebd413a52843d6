"""The model that is learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

from imbik.errors import UserError
from imbik.jobs.fingerprints import key_of
from imbik.models.anatomy import Anatomy, anatomy
from imbik.models.checkpoint import fingerprint, labels_of
from imbik.models.pretrained import load_checkpoint
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint

TEACHER = "teacher"
"""What results call the teacher, and several together."""


@dataclass(frozen=True)
class Teacher(Checkpoint):
    """A checkpoint that others learn from, with what is asked of it again and again; each is found out once.

    It is a :class:`Checkpoint`, so that whatever reads a model reads a teacher too. Nobody changes it.

    Attributes:
        source: what to call it: its folder or hub name.
        others: further teachers of the same task, see :func:`averaged`: what is learned from is the mean of all their logits, while
            shape, vocabulary and inner states are this one's.
    """

    source: str = "teacher"
    others: tuple[Teacher, ...] = ()

    @classmethod
    def of(cls, checkpoint: Checkpoint, source: str | None = None) -> Teacher:
        """Return the checkpoint as a teacher.

        One that is a teacher already keeps its name where none is given.

        >>> from imbik.testing.tiny import tiny_bert
        >>> Teacher.of(tiny_bert(layers=3), "models/bank").depth
        3
        """
        if isinstance(checkpoint, Teacher):
            return checkpoint if source in (None, checkpoint.source) else replace(checkpoint, source=source)
        values = {field.name: getattr(checkpoint, field.name) for field in fields(Checkpoint)}
        return cls(**values, source=source if source is not None else cls.source)

    @cached_property
    def anatomy(self) -> Anatomy:
        """Return where its states come out.

        Raises:
            UserError: the model has no stack of like layers.
        """
        return anatomy(self.model)

    @cached_property
    def depth(self) -> int:
        """Count its layers that run, shared ones as often as they do."""
        return len(self.anatomy.layers)

    @cached_property
    def fingerprint(self) -> str:
        """Return the key of all that is kept for it, and for those that answer with it.

        See :func:`imbik.models.checkpoint.fingerprint`.
        """
        own = fingerprint(self)
        return key_of({"teachers": [own, *(other.fingerprint for other in self.others)]}) if self.others else own

    @cached_property
    def members(self) -> Mapping[str, Teacher]:
        """Return each teacher alone, by what results call it.

        ``teacher``, or ``teacher-1``, ``teacher-2``, … of several.
        """
        if not self.others:
            return {TEACHER: self}
        return {f"{TEACHER}-{number}": member for number, member in enumerate((replace(self, others=()), *self.others), 1)}

    @cached_property
    def called(self) -> str:
        """Return what readers are told of where it comes from."""
        return " + ".join(member.source for member in self.members.values())


def averaged(checkpoints: Sequence[Checkpoint], sources: Sequence[str | Path] | None = None) -> Teacher:
    """Return several checkpoints as one teacher, who answers with the mean of their logits.

    The first one gives what cannot be averaged: the shape and the vocabulary that students start from, and inner states.

    Args:
        checkpoints: one or more.
        sources: what to call each: its folder or hub name; None: the name that it has, else ``teacher``.

    Raises:
        UserError: they cannot answer together: other tasks, labels or another order of them, single texts and pairs, the same model
            twice, or a task whose answers lie at tokens, which other tokenizers cut otherwise.
    """
    names = [None] * len(checkpoints) if sources is None else [str(source) for source in sources]
    # the first one's place is what makes it the shape that students start from
    first, *others = (Teacher.of(one, name) for one, name in zip(checkpoints, names, strict=True))
    if not others:
        return first
    # tokens of another tokenizer are other tokens: only rows of logits can be averaged
    if not task_of(first.task).one_row:
        raise UserError(
            "several teachers are averaged where each gives one row of logits a text",
            where="--teacher",
            found=first.task,
            expected="classification, several labels a text, or a value",
            fix="name one teacher",
        )
    for number, other in enumerate(others, 1):
        where = f"--teacher, number {number + 1}"
        _check_alike(first, other, where)
        if other.fingerprint in [one.fingerprint for one in (first, *others[: number - 1])]:
            raise UserError("the same teacher is named twice", where=where, fix="name each teacher once")
    return replace(first, others=tuple(others))


def load_teachers(sources: Sequence[str | Path]) -> Teacher:
    """Return the checkpoints of folders or hub names as one teacher.

    See :func:`averaged`.

    Raises:
        UserError: one cannot be opened, or they cannot answer together.
    """
    return averaged([load_checkpoint(source) for source in sources], sources)


def _check_alike(first: Teacher, other: Teacher, where: str) -> None:
    """Check that the logits of two teachers can be averaged.

    Raises:
        UserError: naming what differs.
    """
    fix = "fine-tune both on the same data, or name one teacher"
    if other.task != first.task:
        raise UserError("the teachers are of different tasks", where=where, found=other.task, expected=first.task, fix=fix)
    own, names = labels_of(other), labels_of(first)
    if own != names:
        pairs = zip(own, names, strict=False)
        place = next((index for index, pair in enumerate(pairs) if pair[0] != pair[1]), min(len(own), len(names)))
        # from the first that differs on
        found, expected = (", ".join(labels[place : place + 8]) or "-" for labels in (own, names))
        problem = "the teachers have different labels, or another order of them"
        raise UserError(problem, where=f"{where}, id2label[{place}]", found=found, expected=expected, fix=fix)
    if None not in (first.pairs, other.pairs) and first.pairs != other.pairs:
        raise UserError("one teacher reads pairs of texts, the other single texts", where=where, fix=fix)
