"""Pairs of a student's state and a teacher's state, each with its loss.

That is what a student is trained on besides the logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from imbik.distillation.teacher_states import Call, run_model
from imbik.errors import UserError
from imbik.models.anatomy import StateReader, listen
from imbik.models.hooks import Tap, evaluating, module_at

_CALLED = "a module called as loss(student, teacher, mask) that gives a scalar"


@dataclass(frozen=True)
class Pair:
    """Term of the sum: ``weight`` · loss(student's state, teacher's state, mask).

    Attributes:
        student, teacher: names of states, see :class:`imbik.models.anatomy.Anatomy`; module paths
            where the reader is :class:`Modules`.
        loss: of :mod:`imbik.distillation.feature_losses`, or any module called the same way.
        weight: its factor.
    """

    student: str
    teacher: str
    loss: nn.Module
    weight: float = 1.0

    @property
    def where(self) -> str:
        """Name of both places, for messages."""
        return f"{self.student or 'the network'} ↔ {self.teacher or 'the network'}"


class TeacherStates(Protocol):
    """Source of a teacher's states.

    :class:`imbik.distillation.teacher_states.LiveTeacher` or
    :class:`imbik.distillation.teacher_states.StoredTeacher`.
    """

    def states(self, batch: object) -> Mapping[str, Tensor]:
        """Return the teacher's states of a batch, by name."""


class Modules:
    """Reader of any network by module path.

    A state is what the module at that path gives (its last call; ``""`` is the network itself).
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def taps(self, name: str) -> tuple[Tap, ...]:
        """Return where the state is read.

        Raises:
            UserError: no such module; the message lists what exists.
        """
        # Looked up for its error alone: the path is used when the network runs.
        module_at(self.model, name)
        # copied: networks such as ResNets go on with in-place operations on what the module gave
        return (Tap(name, copied=True),)

    def read(self, name: str, captured: Mapping[Tap, Tensor]) -> Tensor:
        """Return the state, from what its tap gave.

        Raises:
            UserError: the module did not run, or gave no tensor.
        """
        tap = Tap(name, copied=True)
        if tap not in captured:
            raise UserError(
                "the module gives no tensor when the network runs",
                where=type(self.model).__name__,
                found=repr(name),
                expected="a module that is called in the forward pass",
            )
        return captured[tap]


class Transfer(nn.Module):
    """Weighted sum over pairs, called as ``transfer(model, batch)`` by the training loop.

    That is :func:`imbik.training.loop.fit`.

    Args:
        pairs: at least one.
        reader: of the student's states: its :class:`imbik.models.anatomy.Anatomy` or
            :class:`Modules`.
        teacher: gives the teacher's states of a batch.
        call: runs the student on a batch; default: a transformers model on its inputs.
    """

    def __init__(self, pairs: Sequence[Pair], reader: StateReader, teacher: TeacherStates, call: Call | None = None) -> None:
        super().__init__()
        self.pairs = weighted(pairs)
        self.reader = reader
        self.call: Call = call or run_model
        self.losses = nn.ModuleList(pair.loss for pair in self.pairs)
        self.teacher = teacher
        self.dimensions: dict[str, int] = {}
        """Of every state of the student when it was bound."""
        self.last: dict[str, float] = {}
        """Value of every term in the latest step, before its weight."""

    def bind(self, model: nn.Module, batch: object) -> None:
        """Run both once and let every loss see its shapes.

        Projections are made, what cannot be matched is refused.

        Raises:
            UserError: a state that does not exist or did not run, shapes that cannot be compared, a
                loss that cannot be computed or is no finite scalar, a state of the student that no
                gradient reaches.
        """
        teacher_states = self.teacher.states(batch)
        with evaluating(model), listen(model, self.reader, [pair.student for pair in self.pairs]) as student_states:
            self.call(model, batch)
        for pair in self.pairs:
            self._bind(pair, student_states[pair.student], teacher_states[pair.teacher], mask_of(batch))
            self.dimensions[pair.student] = student_states[pair.student].ndim

    def _bind(self, pair: Pair, student: Tensor, teacher: Tensor, mask: Tensor | None) -> None:
        """Let one loss see its shapes, and refuse it where it cannot train the student."""
        try:
            if hasattr(pair.loss, "bind"):
                pair.loss.bind(student.detach(), teacher, mask)
            value = pair.loss(student, teacher, mask)
        except UserError as error:
            error.where = pair.where if error.where is None else f"{pair.where}, {error.where}"
            raise
        except Exception as error:  # a loss of the user's own
            shapes = f"{error} (student {tuple(student.shape)}, teacher {tuple(teacher.shape)})"
            raise UserError("the loss cannot be computed", where=pair.where, found=shapes, expected=_CALLED) from error
        if not isinstance(value, Tensor) or value.ndim:
            kind = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UserError("the loss gives no scalar", where=pair.where, found=kind, expected=_CALLED)
        if not torch.isfinite(value):
            raise UserError("the loss is not a finite number", where=pair.where, found=float(value.detach()))
        # A frozen or detached state would train nothing, in silence.
        if not (student.requires_grad and value.requires_grad):
            expected = "a module with weights that train before it, and a loss that does not detach it"
            raise UserError("no gradient reaches the student here", where=pair.where, expected=expected)

    def forward(self, model: nn.Module, batch: object) -> Tensor:
        teacher_states = self.teacher.states(batch)
        with listen(model, self.reader, [pair.student for pair in self.pairs]) as student_states:
            self.call(model, batch)
        # Evaluation mode has shown the shapes; now the network is in training mode.
        self._check(student_states)
        mask, device = mask_of(batch), next(model.parameters()).device
        # Small sums of squares and exponentials: bf16 would round them away.
        with torch.autocast(device.type, enabled=False):
            values = [pair.loss(student_states[pair.student], teacher_states[pair.teacher], mask) for pair in self.pairs]
        self.last = {f"{p.student} ↔ {p.teacher}": float(v.detach()) for p, v in zip(self.pairs, values, strict=True)}
        total: Tensor = torch.stack([pair.weight * value for pair, value in zip(self.pairs, values, strict=True)]).sum()
        return total

    def _check(self, states: Mapping[str, Tensor]) -> None:
        """Refuse states of another kind than those that the losses were bound to.

        Some networks give something else while they train (a detector: its own losses), which no
        comparison fits.
        """
        for name, dimensions in self.dimensions.items():
            if states[name].ndim != dimensions:
                raise UserError(
                    "the module gives something else in training mode than in evaluation mode",
                    where=name or "the network",
                    found=f"{states[name].ndim} dimensions and {dimensions}",
                    expected="the same kind of tensor in both",
                    fix="name a module inside whose output is the same in both",
                )


def weighted(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs whose weight is above zero.

    Raises:
        UserError: there is none.
    """
    kept = [pair for pair in pairs if pair.weight > 0]
    if not kept:
        raise UserError("there is nothing to learn", where="losses", expected="at least one pair with a weight above 0")
    return kept


def mask_of(batch: object) -> Tensor | None:
    """Return the mask ``(B, T)``, true on real tokens; None for data without padding."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    return mask.bool() if mask is not None else None
