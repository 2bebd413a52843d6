"""The model that is learned from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

from imbik.models.anatomy import Anatomy, anatomy
from imbik.models.checkpoint import fingerprint
from imbik.types import Checkpoint


@dataclass(frozen=True)
class Teacher(Checkpoint):
    """A checkpoint that others learn from, with what is asked of it again and again; each is found out once.

    It is a :class:`Checkpoint`, so that whatever reads a model reads a teacher too. Nobody changes it.

    Attributes:
        source: what to call it: its folder or hub name.
    """

    source: str = "teacher"

    @classmethod
    def of(cls, checkpoint: Checkpoint, source: str | None = None) -> Teacher:
        """Return the checkpoint as a teacher.

        One that is a teacher already keeps its name where none is given.

        >>> from imbik.testing.tiny import tiny_bert
        >>> Teacher.of(tiny_bert(layers=3), "models/bank").depth
        3
        """
        if isinstance(checkpoint, Teacher) and source in (None, checkpoint.source):
            return checkpoint
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
        """Return the key of all that is kept for it.

        See :func:`imbik.models.checkpoint.fingerprint`.
        """
        return fingerprint(self)
