"""The settings that methods which train share, as groups of fields to inherit, and the :class:`Training` they describe.

A method names its group as its base and declares again only the fields whose defaults differ. The groups are plain frozen dataclasses:
:func:`imbik.methods.registry.method` makes the fields of both one validated set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le
from pydantic import Field

from imbik.jobs.progress import Progress

Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A factor of a term in a sum; 0 leaves the term out."""
Share = Annotated[float, Ge(0), Le(1)]
Epochs = Count | Literal["auto"]


@dataclass(frozen=True)
class Optimized:
    """What every training has.

    Attributes:
        learning_rate, batch_tokens, warmup, weight_decay, max_grad_norm: see :class:`imbik.training.settings.Training`.
    """

    learning_rate: Positive = 3e-4
    batch_tokens: Count = 1024
    warmup: Share = 0.1
    weight_decay: Weight = 0.01
    max_grad_norm: Positive = 1.0


@dataclass(frozen=True)
class Trained(Optimized):
    """Training that is measured in passes over the data.

    Attributes:
        epochs: passes over the data, or ``auto``: as many as ``target_steps`` updates take, at least 2 and at most ``most_epochs``.
        target_steps, most_epochs: see ``epochs``.
        max_steps: see :class:`imbik.training.settings.Training`.
        later: see :class:`imbik.methods.registry.Method`.
    """

    later: ClassVar[Mapping[str, object]] = {"most_epochs": 30}
    epochs: Epochs = "auto"
    target_steps: Count = 1500
    most_epochs: Count = 30
    max_steps: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True)
class TrainedOnDev(Trained):
    """Training that keeps the epoch that is best on dev.

    Attributes:
        patience: see :class:`imbik.training.settings.Training`.
    """

    patience: Annotated[int, Ge(0)] = 0


def training_of(settings: Trained, tokens: int) -> Training:
    """Return the :class:`Training` of a method that trains on ``tokens`` tokens; what is ``auto`` is resolved."""
    if isinstance(settings.epochs, int):
        return _training(settings, epochs=settings.epochs)
    steps = max(1.0, tokens / settings.batch_tokens)
    # at least two epochs, so that dev has something to choose from; the cap is for tiny data, which a network with layers would learn
    # by heart, a pass costing minutes
    return _training(settings, epochs=max(2, min(settings.most_epochs, round(settings.target_steps / steps))))


def training_for(settings: Optimized, steps: int, learning_rate: float | None = None) -> Training:
    """Return the :class:`Training` of a method that ends after ``steps`` steps, however many epochs they are.

    >>> training_for(Optimized(), 40).max_steps
    40
    """
    # the steps end it; so many epochs are never reached
    training = _training(settings, epochs=1 << 20, max_steps=steps)
    return training if learning_rate is None else replace(training, learning_rate=learning_rate)


def _training(settings: Optimized, **values: float) -> Training:
    """Return what the settings name as :class:`Training` does, and ``values`` in the place of the rest."""
    named = {name: getattr(settings, name) for name in Training.__dataclass_fields__ if hasattr(settings, name)}
    return Training(**named | values)  # type: ignore[arg-type]


def check_stage(stage: str, corpus: str) -> None:
    """Refuse a general stage without raw text and a task stage with it; called while settings are validated.

    Raises:
        ValueError: with what is expected.
    """
    if stage == "general" and not corpus:
        raise ValueError("a corpus (the general stage needs raw text): a text file, a folder or a data set")
    if stage == "task" and corpus:
        raise ValueError("stage: general for a corpus; the task stage learns from the task's texts")


@dataclass(frozen=True)
class Training:
    """Settings that all steps which train share; a step's defaults may differ.

    Attributes:
        epochs: passes over the data.
        learning_rate: peak of AdamW's rate; linear warm-up, then linear decay to zero.
        batch_tokens: padded tokens in a batch (B x T), so that short texts make large batches.
        warmup: share of all steps spent warming up.
        weight_decay: on weight matrices; none on biases, norms and embedding tables.
        max_grad_norm: gradients are clipped to this norm.
        patience: stop after this many epochs without a better dev score, once it has risen; 0 never stops early.
        max_steps: stop after this many steps (0: no limit).
        accumulate: batches whose gradients are averaged for one step, so that a step may learn from more than fits in memory.
    """

    epochs: int = 3
    learning_rate: float = 1e-4
    batch_tokens: int = 1024
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    patience: int = 0
    max_steps: int = 0
    accumulate: int = 1


@dataclass(frozen=True)
class RunSettings:
    """How one training runs, whatever it trains.

    Attributes:
        seed: of the order of rows and of dropout.
        directory: holds the state while training runs; a later training with the same directory continues from there.
        progress: where progress is shown.
        save_every: seconds between states on disk.
    """

    seed: int
    directory: Path
    progress: Progress
    save_every: float = 30.0
