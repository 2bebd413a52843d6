"""Any PyTorch module made small, step by step."""

from __future__ import annotations

import copy
import difflib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from imbik.distillation.any_network import distill, usual_inputs
from imbik.distillation.feature_losses import HiddenMSE
from imbik.errors import UserError
from imbik.jobs.progress import Progress, Silent
from imbik.jobs.steps import name_and_settings
from imbik.jobs.validated import validated
from imbik.modules.arguments import answer, arguments_of
from imbik.modules.recover import Recovery
from imbik.modules.step import STEPS, Job, LabelLoss, ModuleStep, StepReport, count_parameters
from imbik.modules.steps.cluster import Cluster
from imbik.modules.steps.low_rank import LowRank
from imbik.modules.steps.prune import Prune
from imbik.modules.steps.quantize import Quantize
from imbik.modules.steps.share import Share

__all__ = ["Cluster", "CompressedModule", "LowRank", "Prune", "Quantize", "Share", "compress_module"]

Steps = Sequence[str | Mapping[str, Mapping[str, Any] | None] | ModuleStep]


@dataclass(frozen=True)
class CompressedModule:
    """A module made small.

    Attributes:
        model: the new module, on the CPU and in evaluation mode; the original is not changed.
        steps: what each step did.
        quality: what ``evaluate`` gave of the original, or None.
    """

    model: nn.Module
    steps: tuple[StepReport, ...]
    quality: float | None = None

    @property
    def parameters(self) -> int:
        """Numbers that the module stores."""
        return count_parameters(self.model)


def compress_module(
    model: nn.Module,
    example: object,
    steps: Steps,
    *,
    loader: Iterable[Any] | None = None,
    inputs: Callable[[Any], Any] | None = None,
    label_loss: LabelLoss | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    recover: Mapping[str, Any] | None = None,
    opaque: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> CompressedModule:
    """Make any PyTorch module small: a copy of it goes through ``steps`` in their order.

    Args:
        model: any module; not changed.
        example: what it is called with: a tensor, a tuple of positional or a mapping of keyword arguments.
        steps: each a name, ``{name: {setting: value}}`` or a step object: ``low_rank``, ``prune``, ``share``, ``cluster``,
            ``quantize``.
        loader: batches for whatever a step measures or trains on: iterated again and again, such as a ``DataLoader`` or a list.
        inputs: what the module takes of a batch, as for :func:`imbik.distill`. Default: a tensor itself, the first of a tuple or list,
            all of a mapping.
        label_loss: ``label_loss(output, batch)``, for importance by gradients.
        evaluate: ``evaluate(module)``, higher is better; reported after every step.
        recover: settings of a recovery training after every step but ``quantize``: the module learns to give what the original
            gives (:class:`imbik.modules.recover.Recovery`); ``{}`` for the defaults, None for no training.
        opaque: paths of modules that are not looked into when the network is traced: all that they read and give keeps its size.
        seed: of whatever is drawn.
        progress: where work is shown.

    Raises:
        UserError: before anything is done: an unknown step or setting, an example that the module does not take. Later: what cannot be
            traced, with the module's path, and a step that applies to nothing.

    >>> import imbik
    >>> net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    >>> small = imbik.compress_module(net, torch.zeros(1, 16), [{"prune": {"amount": 0.5}}])
    >>> small.model[0], small.steps[0].parameters
    (Linear(in_features=16, out_features=16, bias=True), (676, 340))
    """
    # all steps are read before the first one runs: hours of work must not end at a misspelt name
    made = [make_step(step, f"step {number}") for number, step in enumerate(steps, 1)]
    _check_order(made)
    arguments_of(model, example)
    recovery = None if recover is None else validated(Recovery, dict(recover), "recover")
    if recovery is not None and loader is None:
        raise UserError("recovery needs data", where="recover", expected="a loader of batches")
    # the original teaches, and belongs to the caller
    small = copy.deepcopy(model).cpu().eval()
    answer(small, example)
    call_inputs = inputs or usual_inputs
    if loader is not None:
        _check_batch(model, loader, call_inputs)
    teach = None if loader is None else _teacher(model, loader, call_inputs, label_loss, evaluate, seed, progress)
    job = Job(example, loader, call_inputs, label_loss, teach, seed, progress or Silent(), tuple(opaque))
    quality = None if evaluate is None else float(evaluate(small))
    reports = []
    for step in made:
        small, report = _taken(small, step, job)
        reports.append(_recovered(small, report, recovery, job, evaluate))
    return CompressedModule(small, tuple(reports), quality)


def _check_batch(model: nn.Module, loader: Iterable[Any], inputs: Callable[[Any], Any]) -> None:
    """Refuse a loader without batches, or with batches that the module does not take, before a step asks for them.

    Raises:
        UserError: see above.
    """
    # a loader that shuffles draws from the caller's random numbers
    with torch.random.fork_rng(devices=[]):
        batch = next(iter(loader), None)
    if batch is None:
        raise UserError("the loader has no batch", where="loader", expected="batches, iterated again and again")
    try:
        arguments_of(model, inputs(batch))
    except UserError as error:
        raise UserError(
            "the module does not take a batch of the loader",
            where="loader, first batch",
            found=error.found,
            expected="a tensor, (its one input, …), or a mapping of keyword arguments",
            fix="say what the module takes of a batch: inputs=lambda batch: batch where a batch is a tuple of its inputs",
        ) from None


def make_step(step: object, where: str) -> ModuleStep:
    """Make the step object that a caller describes.

    Raises:
        UserError: unknown step, unknown or ill-typed setting.
    """
    if isinstance(step, ModuleStep):
        return step
    if isinstance(step, str):
        step = {step: {}}
    name, settings = name_and_settings(step, where, "{name: {setting: value, …}}")
    if name not in STEPS:
        close = difflib.get_close_matches(str(name), STEPS, n=1)
        fix = f"did you mean {close[0]}?" if close else None
        raise UserError("unknown step", where=where, found=name, expected="one of " + ", ".join(sorted(STEPS)), fix=fix)
    return STEPS[name].of(settings, where)


def _check_order(steps: Sequence[ModuleStep]) -> None:
    """Refuse steps that would undo an earlier one."""
    if not steps:
        raise UserError("there is nothing to do", where="steps", expected="one of " + ", ".join(sorted(STEPS)))
    for number, later in enumerate(steps):
        for earlier in steps[:number]:
            reason = earlier.refuse_before(later)
            if reason:
                raise UserError("these steps cannot follow one another", where=f"step {number + 1}", found=later.name, expected=reason)


def _taken(model: nn.Module, step: ModuleStep, job: Job) -> tuple[nn.Module, StepReport]:
    """Take one step, and see that the module still runs."""
    before = count_parameters(model)
    state = random.getstate()
    # the caller's own random numbers go on afterwards as if nothing had been drawn
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        change = step.apply(model, job)
    random.setstate(state)
    small = change.model.eval()
    # code that holds a width as a number fails here, and not in the caller's hands
    answer(small, job.example)
    return small, StepReport(step.record(), change.layers, change.kept, (before, count_parameters(small)))


def _teacher(
    original: nn.Module,
    loader: Iterable[Any],
    inputs: Callable[[Any], Any],
    label_loss: LabelLoss | None,
    evaluate: Callable[[nn.Module], float] | None,
    seed: int,
    progress: Progress | None,
) -> Callable[[nn.Module, Recovery], None]:
    """Make the function that trains a module to give what the original gives."""

    def teach(student: nn.Module, recovery: Recovery) -> None:
        distill(
            original,
            student,
            loader,
            {("", ""): recovery.loss or HiddenMSE()},
            epochs=recovery.epochs,
            learning_rate=recovery.learning_rate,
            label_loss=label_loss if recovery.labels else None,
            inputs=inputs,
            evaluate=evaluate,
            seed=seed,
            progress=progress,
        )
        student.eval()

    return teach


def _recovered(
    student: nn.Module,
    report: StepReport,
    recovery: Recovery | None,
    job: Job,
    evaluate: Callable[[nn.Module], float] | None,
) -> StepReport:
    """Train the module to give what the original gives, where that is asked for, and report its quality."""
    # before any training: what the step alone has cost
    quality = None if evaluate is None else float(evaluate(student))
    # rounded weights are trained by the step itself, if at all
    if recovery is None or job.teach is None or Quantize.name in report.step:
        return replace(report, quality=quality)
    job.teach(student, recovery)
    return replace(report, before_recovery=quality, quality=None if evaluate is None else float(evaluate(student)))
