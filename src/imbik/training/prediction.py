"""Predictions of a PyTorch model in batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.data.batches import sorted_batches
from imbik.jobs.progress import Task as Bar
from imbik.models.facts import DECISION_KEY, set_decision
from imbik.models.inputs import Tensors, read_outputs
from imbik.tasks.outputs import Array, Collector, Output, Outputs, beside, is_ragged, joined, only, with_decision
from imbik.tasks.registry import task_of
from imbik.tasks.retention import asked_of
from imbik.tasks.task import Task
from imbik.training.encoding import Encoded, Rows
from imbik.training.heads import IGNORED
from imbik.training.precision import full_precision, is_full, precision
from imbik.training.team import Job, Team, packed, team, unpacked
from imbik.types import Examples, Splits

_log = logging.getLogger(__name__)

WORTH_SENDING = 1e12
"""Floating-point operations of predictions from which on a model is sent to the processes that help: about a second of one core."""

Batch = dict[str, Tensor]
"""``input_ids``, ``attention_mask`` (``token_type_ids``), each ``(B, T)`` int64, or ``pixel_values`` ``(B, C, H, W)`` float32; and
``rows`` ``(B,)``: row numbers in the data."""


def to_batch(data: Rows, rows: NDArray[np.int64], device: torch.device | str = "cpu") -> Batch:
    """Return padded tensors of some rows, with their row numbers."""
    batch = {name: torch.from_numpy(array).to(device) for name, array in data.batch(rows).items()}
    # stays on the CPU: it looks up NumPy arrays (targets, the teacher's outputs)
    batch["rows"] = torch.from_numpy(rows)
    return batch


def mask_of(batch: Mapping[str, Tensor]) -> Tensor | None:
    """Return the mask of a batch's tokens, ``(B, T)``; None where its rows have none."""
    return next((tensor for name, tensor in batch.items() if name == "attention_mask"), None)


def model_inputs(batch: Batch) -> Batch:
    """Return what a transformers model takes of a batch; pixels ``(B, C, H, W)`` with their channels last in memory.

    A network of convolutions keeps that order from its first to its last, and oneDNN and cuDNN multiply it faster.
    """
    given = {name: value for name, value in batch.items() if name not in ("rows", "whole")}
    return {name: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value for name, value in given.items()}


def run(model: nn.Module, batch: Batch, task: Task) -> Tensors:
    """Run a model on a batch: what its task asks of it, in float32."""
    return read_outputs(model(**model_inputs(batch)), task.outputs)


def predict(model: nn.Module, data: Encoded, task: str, budget: int = 4096, bar: Bar | None = None) -> Outputs:
    """Return a model's outputs of every text, in the order of the texts, in the precision that training uses.

    Args:
        model: of the task.
        data: N encoded rows.
        task: its name.
        budget: padded tokens of a batch.
        bar: shows progress.
    """
    outputs = predict_rows(model, data, task, budget, bar)
    if data.owners is not None and task_of(task).apart:
        outputs = beside(outputs)
    elif data.owners is not None:
        outputs = joined(outputs, data.owners, int(data.owners[-1]) + 1 if len(data) else 0)
    return with_decision(outputs, getattr(model.config, DECISION_KEY, None))


def predict_rows(model: nn.Module, data: Encoded, task: str, budget: int = 4096, bar: Bar | None = None) -> Outputs:
    """Return a model's outputs of every encoded row, where :func:`predict` puts the windows of a text together."""
    kind = task_of(task)
    outputs: Outputs = _predict(model, data, kind.outputs, budget, bar, places=kind.places)
    return outputs


def predict_logits(model: nn.Module, data: Encoded, budget: int = 4096, bar: Bar | None = None) -> NDArray[np.float32]:
    """Return logits ``(N, L)`` float32 of every row, of a model that gives one row of logits a text; see :func:`predict`."""
    logits: Outputs = _predict(model, data, (Output(),), budget, bar, places=False)
    return only(logits)


def _predict(model: nn.Module, data: Encoded, kinds: tuple[Output, ...], budget: int, bar: Bar | None, *, places: bool) -> Outputs:
    collector = Collector(len(data), kinds, 0, places=places)
    work = _Work(model, data, kinds, sorted_batches(data.lengths, budget), full=is_full())

    def put(number: int, outputs: Outputs) -> None:
        rows = work.batches[number]
        # as `data.batch` pads them
        mask = (np.arange(int(data.lengths[rows].max())) < data.lengths[rows][:, None]).astype(np.int64)
        collector.put(rows, outputs, mask, [data.places(int(row)) for row in rows] if places else None)
        if bar is not None:
            bar.advance(len(rows))

    helpers = team()
    operations = 2.0 * sum(parameter.numel() for parameter in model.parameters()) * float(data.lengths.sum())
    if helpers is None or operations < WORTH_SENDING:
        work.alone(put)
    else:
        work.shared(helpers, put)
    return collector.result()


_Take = Callable[[int, Outputs], None]
"""Takes the number of a batch and its outputs."""


@dataclass(frozen=True)
class _Work:
    """Batches that a model is to answer.

    Attributes:
        model: answers.
        data: the rows.
        kinds: what the model gives.
        batches: their row numbers. However many processes share them, each is computed as it stands here, so that all numbers are the same.
        full: whether float32 is asked for (:func:`imbik.training.precision.full_precision`).
    """

    model: nn.Module
    data: Encoded
    kinds: tuple[Output, ...]
    batches: list[NDArray[np.int64]]
    full: bool

    def alone(self, take: _Take, first: int = 0, step: int = 1) -> None:
        """Answer every ``step``-th batch here."""
        self.model.eval()
        device = next(self.model.parameters()).device
        with full_precision() if self.full else nullcontext(), torch.inference_mode(), precision(device):
            for number in range(first, len(self.batches), step):
                batch = to_batch(self.data, self.batches[number], device)
                take(number, _to_numpy(read_outputs(self.model(**model_inputs(batch)), self.kinds)))

    def shared(self, helpers: Team, take: _Take) -> None:
        """Answer all batches, of which each process computes some."""
        try:
            content = packed(self.__dict__)
        except Exception:  # code that a model brings, say: this process has it
            _log.debug("a model could not be sent", exc_info=True)
            self.alone(take)
            return
        # batch by batch in turn: the first ones are the longest
        helpers.tell(_Predict(content))
        trouble: Exception | None = None
        try:
            self.alone(take, 0, helpers.size)
        except Exception as error:  # the others wait to be heard
            trouble = error
        found = helpers.gather(None)
        if trouble is not None:
            raise trouble
        for rank, outputs in enumerate(found[1:], 1):
            if outputs is None:  # it could not; this one can
                self.alone(take, rank, helpers.size)
                continue
            for number, one in enumerate(outputs):
                take(rank + number * helpers.size, one)


@dataclass(frozen=True)
class _Predict(Job):
    """Batches to answer; ``content`` is a packed :class:`_Work`."""

    content: bytes

    def help(self, team: Team) -> None:
        """Answer every ``size``-th batch."""
        found: list[Outputs] | None = []
        try:
            _Work(**unpacked(self.content, team.device)).alone(lambda _, outputs: found.append(outputs), team.rank, team.size)  # type: ignore[union-attr]
        except Exception:
            _log.debug("batches could not be answered", exc_info=True)
            found = None
        team.gather(found)


def _to_numpy(outputs: Tensors) -> Outputs:
    if isinstance(outputs, Mapping):
        return {name: tensor.cpu().numpy() for name, tensor in outputs.items()}
    array: Array = outputs.cpu().numpy()
    return array


@dataclass(frozen=True)
class RowTargets:
    """Targets of the first rows of some data, in the form that a head's loss takes.

    Attributes:
        values: an array whose first axis is the rows, possibly ragged (a number per token).
    """

    values: Array

    @classmethod
    def of(cls, splits: Splits, examples: Examples, data: Encoded) -> RowTargets | None:
        """Return the targets of encoded examples of some splits; None where they have none."""
        if examples.targets is None:
            return None
        return cls(task_of(splits.task).token_targets(np.asarray(examples.targets), data, asked_of(splits, examples)))

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Tensor, width: int | None, device: torch.device) -> Tensor:
        """Return the targets of some rows, ``(B, …)``; ragged ones padded to ``(B, width)`` with ``IGNORED``."""
        chosen = self.values[rows.cpu().numpy()]
        if not is_ragged(chosen):
            return torch.from_numpy(chosen).to(device)
        assert width is not None, "ragged targets need the width of their batch"
        return pad(chosen, width, IGNORED).to(device)


def pad(rows: Array, width: int, fill: float) -> Tensor:
    """Return a ragged array ``(B,)`` of ``(tokens, …)`` as a tensor ``(B, width, …)``, filled up on the right."""
    first = np.asarray(rows[0])
    padded = np.full((len(rows), width, *first.shape[1:]), fill, dtype=first.dtype)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return torch.from_numpy(padded)


def dev_quality(splits: Splits, dev: Encoded) -> Callable[[nn.Module], float]:
    """Return a function of a model: the data's metric on dev."""
    task = task_of(splits.task)
    targets = np.asarray(splits.dev.targets)

    def evaluate(model: nn.Module) -> float:
        return float(task.score(splits.metric, task.decode(predict(model, dev, task.name), asked_of(splits, splits.dev)), targets))

    return evaluate


def dev_score(splits: Splits, dev: Encoded) -> Callable[[nn.Module], float]:
    """Return ``evaluate`` for :func:`imbik.training.loop.fit`: the metric's merit on dev, which is higher when it is better.

    An error (rmse) comes negated; :func:`quality_of` gives the metric back.
    """
    evaluate = dev_quality(splits, dev)
    metric = task_of(splits.task).metric(splits.metric)
    return lambda model: metric.merit(evaluate(model))


def settle(model: nn.Module, splits: Splits, dev: Encoded) -> None:
    """Let a trained model decide when to give no answer: by what is best on dev, kept in its config."""
    task = task_of(splits.task)
    if not task.decides:
        return
    before = getattr(model.config, DECISION_KEY, None)
    set_decision(model, None)
    decoded = task.decode(predict(model, dev, task.name), asked_of(splits, splits.dev))
    chosen = task.settle(decoded, np.asarray(splits.dev.targets), task.metric(splits.metric))
    # data in which every question has an answer say nothing of the others
    set_decision(model, before if chosen is None else chosen)


def quality_of(splits: Splits, merit: float) -> float:
    """Return the metric's value of a score that :func:`dev_score` gave."""
    return task_of(splits.task).metric(splits.metric).merit(merit)
