"""Quantization. The arithmetic is lowered where the artefact is built (:mod:`imbik.export.artefact`); here ranges are observed
or trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Gt, Le
from pydantic import model_validator
from torch import Tensor, nn

from imbik.distillation.soft_labels import check_labels, train_on_soft_labels
from imbik.images.processor import ImageProcessor
from imbik.jobs.progress import Progress
from imbik.methods.registry import Method, method
from imbik.models.layers.clustered import expanded
from imbik.quantization.fake_quant import FakeQuantizer
from imbik.quantization.narrowing import narrow
from imbik.quantization.ranges import Ranges, calibrate, draw_rows, set_ranges, trace_products
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.encoding import encode_for
from imbik.training.loop import Evaluate
from imbik.training.prediction import Batch, dev_score, model_inputs, quality_of, to_batch
from imbik.training.settings import Count, Positive, Share, TrainedOnDev
from imbik.types import Checkpoint, Examples, Note

_OF_IMAGES = ("dynamic", "static")
_NARROWED_ON = 64
"""Training texts that ranges are narrowed on."""


@method("quantize")
class Quantize(TrainedOnDev, Method):
    """Integers in the place of floats (Jacob et al. 2018, arXiv 1712.05877: r = S(q - Z)).

    ``dynamic``: weights are stored in int8, activations are quantized at run time by the range of each tensor. ``static``: their
    ranges are constants, observed on training texts. ``qat``: as static, and the model is trained to bear it: int8 arithmetic is
    imitated while it distils from its teacher, starting from the static ranges, narrowed where that helps the logits
    (:mod:`imbik.quantization.narrowing`); they train along. ``weight-only``: weights in 4 or 8 bits with a scale per block, for
    size. ``integer``: as static, and products, biases and requantization run in integers alone.

    The PyTorch checkpoint stays float; ranges travel in its config (``imbik_ranges``) and the artefact holds the integers.

    Attributes:
        scheme: see above.
        bits: of the weights: 8, or 4 for ``weight-only``.
        granularity: one weight scale per output channel, or one per product.
        calibration: ``min-max`` covers every value observed, ``percentile`` the central ``percentile`` % of them.
        percentile: see ``calibration``.
        samples: training texts to observe.
        embeddings: whether embedding tables are stored as integers too.
        block: weights that share a scale in ``weight-only``.
        learn_ranges: ``qat``: whether ranges are narrowed first and train along.
        range_learning_rate: ``qat``: peak rate of the logarithm of a range.
        temperature, hard: of the training in ``qat``, see :class:`imbik.methods.distill.Distill`.
        target_steps, learning_rate and the others: of the training in ``qat``, see :class:`imbik.training.settings.TrainedOnDev`.
    """

    quantizes: ClassVar[bool] = True
    images: ClassVar[bool] = True
    scheme: Literal["dynamic", "static", "qat", "weight-only", "integer"] = "dynamic"
    bits: Literal[8, 4] = 8
    granularity: Literal["per-channel", "per-tensor"] = "per-channel"
    calibration: Literal["min-max", "percentile"] = "percentile"
    percentile: Annotated[float, Gt(50), Le(100)] = 99.99
    samples: Count = 256
    embeddings: bool = True
    block: Literal[16, 32, 64, 128] = 64
    learn_ranges: bool = True
    range_learning_rate: Positive = 1e-2
    temperature: Positive = 2.0
    hard: Share = 0.0
    target_steps: Count = 400
    learning_rate: Positive = 5e-5

    @model_validator(mode="after")
    def _fits(self) -> Quantize:
        if self.bits == 4 and self.scheme != "weight-only":
            raise ValueError("weights of 4 bits with scheme: weight-only (the int8 schemes multiply 8-bit weights)")
        if self.granularity == "per-tensor" and self.scheme == "weight-only":
            raise ValueError("weight-only has one scale per block: leave granularity out")
        return self

    @property
    def lowered(self) -> bool:
        """Whether only the artefact differs, so that there is nothing to keep on disk."""
        return self.scheme in ("dynamic", "weight-only")

    @property
    def matrices_alone(self) -> bool:
        """Whether convolutions stay as they are: at run time matrices alone are quantized."""
        return self.scheme == "dynamic"

    def refuse_task(self, task: str) -> str | None:
        """Return why a network that reads images cannot take this scheme, or None."""
        if task_of(task).reads == IMAGES and self.scheme not in _OF_IMAGES:
            return f"scheme: {' or '.join(_OF_IMAGES)} for networks that read images"
        return None

    @property
    def trains_every_weight(self) -> bool:
        """Whether the scheme trains: then it trains all weights."""
        return self.scheme == "qat"

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the checkpoint with ranges in its config, for ``qat`` with trained weights; ``(B, L)`` logits in float as before.

        Raises:
            UserError: ``qat`` of a student with another number of labels than the teacher.
        """
        ranges, notes = self.observe(checkpoint, context.splits.train, context.seed, context.progress), checkpoint.notes
        if self.scheme == "qat":
            ranges, note = self._train(checkpoint, context, ranges)
            notes = (*notes, note)
        set_ranges(checkpoint.model, ranges)
        return replace(checkpoint, notes=notes)

    def observe(self, checkpoint: Checkpoint, examples: Examples, seed: int, progress: Progress) -> Ranges:
        """Return the activation ranges that the scheme needs; empty for one that needs none."""
        # of images the builders observe themselves, convolutions too
        if self.lowered or isinstance(checkpoint.tokenizer, ImageProcessor):
            return {}
        percentile = self.percentile if self.calibration == "percentile" else 100.0
        # clustered matrices as plain ones: what is observed are the products that the artefact
        # computes
        plain = replace(checkpoint, model=expanded(checkpoint.model))
        return calibrate(plain, examples, samples=self.samples, percentile=percentile, seed=seed, progress=progress)

    def _train(self, checkpoint: Checkpoint, context: Context, ranges: Ranges) -> tuple[Ranges, Note]:
        """Distil in imitated int8: the ranges, and what dev said. Where no epoch is better on dev, the start is kept."""
        check_labels(checkpoint, context.teacher)
        model, dev = checkpoint.model, encode_for(checkpoint.task, context.splits.dev, checkpoint.tokenizer)
        # one row is enough: which products read the same tensor does not depend on the text
        _, same = trace_products(model, model_inputs(to_batch(dev, np.arange(1))))
        quantizer = FakeQuantizer(
            ranges,
            same,
            per_channel=self.granularity == "per-channel",
            embeddings=self.embeddings,
            learn=self.learn_ranges,
            # one optimizer with one rate trains both: the gain makes a step in a range's logarithm
            # as large as a rate of its own would
            gain=self.range_learning_rate / self.learning_rate,
        )
        score = _imitated(quantizer, dev_score(context.splits, dev))
        # measured before anything moves: what qat must beat, and the note's first figure
        static = score(model)
        before = self._narrow(checkpoint, context, quantizer, score, static) if self.learn_ranges else static
        state = train_on_soft_labels(
            checkpoint,
            context,
            self,
            temperature=self.temperature,
            hard=self.hard,
            what="training for int8",
            wrap=lambda loss, evaluate: (_Imitating(loss, quantizer), _imitated(quantizer, evaluate)),
        )
        # fit moves a loss, and with it these ranges, to the device of the model
        quantizer.to("cpu")
        # max(): an elected start is recorded one float below its score so that an equal epoch wins
        static, start, after = (quality_of(context.splits, merit) for merit in (static, before, max(state.best_score, before)))
        return quantizer.learned(), Note.of("qat", static=static, start=start, after=after)

    def _narrow(self, checkpoint: Checkpoint, context: Context, quantizer: FakeQuantizer, score: Evaluate, static: float) -> float:
        """Narrow the ranges that training starts from, unless dev says that those observed are better: the dev score of the start."""
        rows = draw_rows(checkpoint, context.splits.train, _NARROWED_ON, context.seed)
        # copies: narrow() writes into these buffers
        observed = quantizer.start.clone(), quantizer.covered.clone()
        inputs, kinds = model_inputs(to_batch(rows, np.arange(len(rows)))), task_of(checkpoint.task).outputs
        narrow(quantizer, checkpoint.model, inputs, context.progress, kinds)
        narrowed = score(checkpoint.model)
        # narrowing is fitted to logits of train texts; on dev it may have cut off what mattered
        if narrowed < static:
            quantizer.start, quantizer.covered = observed
            return static
        return narrowed

    def refuse_before(self, later: Method) -> str | None:
        """Refuse everything: a later step would change weights that are integers already."""
        return f"quantize is the last step; put {later.name} before it"


class _Imitating(nn.Module):
    """A loss computed in imitated int8; the ranges are parameters of it."""

    def __init__(self, loss: nn.Module, quantizer: FakeQuantizer) -> None:
        super().__init__()
        self.loss, self.quantizer = loss, quantizer

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        with self.quantizer.quantized(model):
            value: Tensor = self.loss(model, batch)
        return value


def _imitated(quantizer: FakeQuantizer, evaluate: Evaluate) -> Evaluate:
    """Return the dev score in imitated int8."""

    def score(model: nn.Module) -> float:
        with torch.no_grad(), quantizer.quantized(model):
            return evaluate(model)

    return score
