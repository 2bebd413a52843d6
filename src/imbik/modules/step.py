"""One step of a module's compression: its settings, what it may see, and what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.jobs.progress import Progress
from imbik.jobs.steps import settings_class, with_settings
from imbik.jobs.validated import field_names
from imbik.modules.arguments import answer
from imbik.modules.recover import Recovery

LabelLoss = Callable[[Tensor, Any], Tensor]
"""``label_loss(the module's output, batch)``: a scalar."""


@dataclass(frozen=True)
class StepReport:
    """What one step did.

    Attributes:
        step: its name and every setting.
        layers: path -> what became of the module there, in words.
        kept: path -> why a module of a kind that the step changes stayed as it is.
        parameters: numbers that the module stores, (before, after); a shared one counts once.
        quality: what ``evaluate`` gave after the step and its recovery, or None.
        before_recovery: what it gave before the recovery, or None where there was none.
    """

    step: Mapping[str, Mapping[str, Any]]
    layers: Mapping[str, str]
    kept: Mapping[str, str]
    parameters: tuple[int, int]
    quality: float | None = None
    before_recovery: float | None = None


@dataclass(frozen=True)
class Job:
    """All that a step may see beside the module.

    Attributes:
        example: what the module is called with.
        loader: batches, or None.
        inputs: what the module takes of a batch.
        label_loss: against labels, or None.
        teach: trains a module to give what the original gives; None where there is no loader.
        seed: of whatever is drawn.
        progress: where work is shown.
        opaque: paths of modules that are not looked into.
    """

    example: object
    loader: Iterable[Any] | None
    inputs: Callable[[Any], Any]
    label_loss: LabelLoss | None
    teach: Callable[[nn.Module, Recovery], None] | None
    seed: int
    progress: Progress
    opaque: tuple[str, ...] = ()

    def batches(self, count: int) -> list[Any]:
        """Return what the module takes of the first batches of the loader; of the example alone where there is none."""
        # one row of the caller's own says little, but something
        if self.loader is None:
            return [self.example]
        return [self.inputs(batch) for batch in islice(iter(self.loader), count)]

    def answers(self, model: nn.Module, count: int = 2) -> list[NDArray[np.float64]]:
        """Return what a module gives of the first batches: each tensor of real numbers, flat."""
        given = [tensor for batch in self.batches(count) for tensor in answer(model, batch).values()]
        return [tensor.detach().double().flatten().numpy() for tensor in given if tensor.is_floating_point()]


def distance(after: Iterable[NDArray[np.float64]], before: Iterable[NDArray[np.float64]]) -> float:
    """Compute Σ (a - b)² / Σ b² over two lists of answers.

    >>> distance([np.array([1.0, 2.0])], [np.array([1.0, 1.0])])
    0.5
    """
    pairs = list(zip(after, before, strict=True))
    # relative, so that logits and pixels are measured alike
    size = sum(float(np.square(b).sum()) for _, b in pairs)
    return sum(float(np.square(a - b).sum()) for a, b in pairs) / max(size, 1e-30)


def count_parameters(model: nn.Module) -> int:
    """Count the numbers that a module stores: parameters and running statistics, a shared one once."""
    # by identity: a tensor that two modules hold is stored once
    tensors = [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]
    return sum(tensor.numel() for tensor in {id(tensor): tensor for tensor in tensors}.values())


class ModuleStep:
    """One step: a frozen dataclass whose fields are its settings.

    Attributes:
        name: what callers name it by.
    """

    name: ClassVar[str] = ""

    @classmethod
    def of(cls, settings: object, where: str) -> Self:
        """Make the step from its settings; None stands for none.

        Raises:
            UserError: an unknown or ill-typed setting.
        """
        return with_settings(cls, cls.name, settings, where)

    def record(self) -> dict[str, dict[str, Any]]:
        """Return the step's name and every setting."""
        return {self.name: {name: getattr(self, name) for name in field_names(type(self))}}

    def refuse_before(self, later: ModuleStep) -> str | None:
        """Return why ``later`` cannot stand behind this step, or None when it can."""
        return None

    def apply(self, model: nn.Module, job: Job) -> Change:
        """Return the changed module, which may be ``model`` itself, changed in place.

        Raises:
            UserError: nothing to do, or something that cannot be done.
        """
        raise NotImplementedError(self.name)


@dataclass
class Change:
    """What a step made.

    Attributes:
        model: the changed module.
        layers, kept: see :class:`StepReport`.
    """

    model: nn.Module
    layers: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)


STEPS: dict[str, type[ModuleStep]] = {}
_Class = TypeVar("_Class", bound=type)


def module_step(name: str) -> Callable[[_Class], _Class]:
    """Register a step under ``name`` and make it a frozen, validated dataclass."""

    def register(cls: _Class) -> _Class:
        made = settings_class(cls)
        made.name = name
        STEPS[name] = made
        return made  # type: ignore[no-any-return]

    return register


def refuse_nothing(change: Change, step: ModuleStep, model: nn.Module) -> Change:
    """Return the change.

    Raises:
        UserError: the step applied to nothing.
    """
    if change.layers:
        return change
    reasons = "; ".join(f"{path or 'the module'}: {reason}" for path, reason in list(change.kept.items())[:4])
    raise UserError("the step applies to nothing in this module", where=step.name, found=reasons or type(model).__name__)
