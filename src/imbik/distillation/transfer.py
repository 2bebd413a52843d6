"""Pairs of a student's state and a teacher's state, each with its loss: what a student is trained on besides the logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from imbik.distillation.teacher_states import run_model
from imbik.errors import UserError
from imbik.models.anatomy import listen
from imbik.models.hooks import Tap, evaluating, module_at

_CALLED = "a module called as loss(student, teacher, mask) that gives a scalar"


@dataclass(frozen=True)
class Pair:
    """One term of the sum: ``weight`` · loss(student's state, teacher's state, mask).

    Attributes:
        student, teacher: names of states, see :class:`imbik.models.anatomy.Anatomy`; module paths where the reader is :class:`Modules`.
        loss: of :mod:`imbik.distillation.feature_losses`, or any module called the same way.
        weight: its factor.
    """

    student: str
    teacher: str
    loss: nn.Module
    weight: float = 1.0

    @property
    def where(self) -> str:
        """Both places, for messages."""
        return f"{self.student or 'the network'} ↔ {self.teacher or 'the network'}"


class TeacherStates(Protocol):
    """:class:`imbik.distillation.teacher_states.LiveTeacher` or :class:`imbik.distillation.teacher_states.StoredTeacher`."""

    def states(self, batch: Any) -> Mapping[str, Tensor]:
        """The teacher's states of a batch, by name."""


class Modules:
    """Reads any network by module path: what the module at that path gives (its last call; ``""`` is the network itself)."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def taps(self, name: str) -> tuple[Tap, ...]:
        """Where the state is read.

        Raises:
            UserError: no such module; the message lists what exists.
        """
        module_at(self.model, name)
        # copied: networks such as ResNets go on with in-place operations on what the module gave
        return (Tap(name, copied=True),)

    def read(self, name: str, captured: Mapping[Tap, Tensor]) -> Tensor:
        """The state from what its tap gave.

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
    """The weighted sum over pairs, called as ``transfer(model, batch)`` by :func:`imbik.training.loop.fit`.

    Args:
        pairs: at least one.
        reader: of the student's states: its :class:`imbik.models.anatomy.Anatomy` or :class:`Modules`.
        teacher: gives the teacher's states of a batch.
        call: runs the student on a batch; default: a transformers model on its inputs.
    """

    def __init__(self, pairs: Sequence[Pair], reader: Any, teacher: TeacherStates, call: Any = None) -> None:
        super().__init__()
        self.pairs, self.reader, self.call = weighted(pairs), reader, call or run_model
        # a module list, so that fit finds and trains the projections that live on the losses
        self.losses = nn.ModuleList(pair.loss for pair in self.pairs)
        self.teacher = teacher
        self.dimensions: dict[str, int] = {}
        """Of every state of the student when it was bound."""
        self.last: dict[str, float] = {}
        """Value of every term in the latest step, before its weight."""

    def bind(self, model: nn.Module, batch: Any) -> None:
        """Run both once and let every loss see its shapes: projections are made, what cannot be matched is refused.

        Raises:
            UserError: a state that does not exist or did not run, shapes that cannot be compared, a loss that cannot be computed or is no
                finite scalar, a state of the student that no gradient reaches.
        """
        theirs = self.teacher.states(batch)
        with evaluating(model), listen(model, self.reader, [pair.student for pair in self.pairs]) as ours:
            self.call(model, batch)
        for pair in self.pairs:
            self._bind(pair, ours[pair.student], theirs[pair.teacher], mask_of(batch))
            self.dimensions[pair.student] = ours[pair.student].ndim

    def _bind(self, pair: Pair, ours: Tensor, theirs: Tensor, mask: Tensor | None) -> None:
        try:
            if hasattr(pair.loss, "bind"):
                # no gradient: a projection starts at a fit to numbers
                pair.loss.bind(ours.detach(), theirs, mask)
            value = pair.loss(ours, theirs, mask)
        except UserError as error:
            error.where = pair.where if error.where is None else f"{pair.where}, {error.where}"
            raise
        except Exception as error:  # a loss of the user's own
            shapes = f"{error} (student {tuple(ours.shape)}, teacher {tuple(theirs.shape)})"
            raise UserError("the loss cannot be computed", where=pair.where, found=shapes, expected=_CALLED) from error
        if not isinstance(value, Tensor) or value.ndim:
            found = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UserError("the loss gives no scalar", where=pair.where, found=found, expected=_CALLED)
        if not torch.isfinite(value):
            raise UserError("the loss is not a finite number", where=pair.where, found=float(value.detach()))
        if not (ours.requires_grad and value.requires_grad):
            expected = "a module with weights that train before it, and a loss that does not detach it"
            raise UserError("no gradient reaches the student here", where=pair.where, expected=expected)

    def forward(self, model: nn.Module, batch: Any) -> Tensor:
        theirs = self.teacher.states(batch)
        with listen(model, self.reader, [pair.student for pair in self.pairs]) as ours:
            self.call(model, batch)
        self._check(ours)
        mask, device = mask_of(batch), next(model.parameters()).device
        with torch.autocast(device.type, enabled=False):  # small sums of squares and exponentials: bf16 would round them away
            values = [pair.loss(ours[pair.student], theirs[pair.teacher], mask) for pair in self.pairs]
        self.last = {f"{p.student} ↔ {p.teacher}": float(v.detach()) for p, v in zip(self.pairs, values, strict=True)}
        total: Tensor = torch.stack([pair.weight * value for pair, value in zip(self.pairs, values, strict=True)]).sum()
        return total

    def _check(self, states: Mapping[str, Tensor]) -> None:
        """Some networks give something else while they train (a detector: its own losses), which no comparison fits."""
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
    """The pairs whose weight is above zero.

    Raises:
        UserError: there is none.
    """
    kept = [pair for pair in pairs if pair.weight > 0]
    if not kept:
        raise UserError("there is nothing to learn", where="losses", expected="at least one pair with a weight above 0")
    return kept


def mask_of(batch: Any) -> Tensor | None:
    """``(B, T)``, true on real tokens; None for data without padding."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    return mask.bool() if mask is not None else None
