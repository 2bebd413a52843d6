"""Low rank: every matrix of the encoder becomes two smaller ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray
from pydantic import model_validator

from imbik.errors import UserError
from imbik.factorization.matrices import Matrix, matrices_of
from imbik.factorization.moments import count_uses, fisher_inputs, input_moments
from imbik.factorization.ranks import Curve, allocate
from imbik.methods.distill import Distill
from imbik.methods.registry import Method, method
from imbik.methods.stages import in_stages
from imbik.models.hooks import put_everywhere
from imbik.models.layers.low_rank import LowRankLinear
from imbik.models.structure import replace_module
from imbik.tasks.outputs import Outputs
from imbik.training.context import Context
from imbik.training.encoding import Encoded, encode_for
from imbik.training.losses import moved
from imbik.training.prediction import predict_rows
from imbik.training.probes import sample, targets_of
from imbik.types import Checkpoint, Examples, Note

PROBE_TEXTS = 128
"""Texts on which a matrix's sensitivity is measured."""


@method("low_rank")
class LowRank(Method):
    """Every Linear of the encoder's layers, W (m × n), becomes U V with U (m × r), V (r × n) where that is smaller.

    ``svd`` keeps the r largest singular values: the least ‖W - U V‖. ``asvd`` weighs by what the layer reads: the least
    E‖W x - U V x‖² over the train texts, by whitening with the inputs' second moments (as SVD-LLM, Wang et al. 2024, arXiv 2403.07378,
    and DRONE, Chen et al. 2021; the name comes from ASVD, Yuan et al. 2023, arXiv 2312.05821, which scales each input by itself).
    ``fwsvd`` weighs every input by its Fisher information (Hsu et al. 2022, arXiv 2207.00112), from the gradients of the loss against
    the labels, or against the teacher's answers where there are none. ``nmf`` factorizes W⁺ and W⁻ apart, non-negatively: two pairs of
    factors, so that its break-even rank is half of the others'.

    A rank at or above break-even, r ≥ m n / (m + n), would make a matrix larger: such a matrix stays as it is. With ``budget`` all
    matrices share one budget by their measured sensitivity: each is cut alone to the budget's share, the change of the model's outputs
    (KL to its own outputs before; squared for regression) on train texts tells how much its lost energy costs, and ranks are bought
    where they save most per byte (:func:`imbik.factorization.ranks.allocate`). Near the model itself the KL grows with the square of
    a perturbation, as lost energy does; that is what makes one number per matrix enough.

    Recovery is a ``distill`` step of its own after this one.

    Attributes:
        method: see above.
        rank: the same rank for every matrix (of each pair, for ``nmf``); or
        energy: the least rank that keeps this share of Σ s² (of the weighted matrix); or
        budget: share of the encoder's matrices, as they were when dense, that may be left.
        measure: what ``budget`` is a share of: ``bytes``, where a shared matrix counts once, or ``flops``, where it counts at every use.
        stages: above 1, the cut is made in that many steps of like ratio with a distillation after each but the last.
        recovery: settings of ``distill`` between the stages.
        texts: train texts for second moments and Fisher information.
        multiple: ranks are multiples of it, for the processor's sake, in matrices whose break-even rank is at least eight times as large.
    """

    rewrites_matrices: ClassVar[bool] = True
    images: ClassVar[bool] = True
    method: Literal["svd", "asvd", "fwsvd", "nmf"] = "svd"
    rank: Annotated[int, Ge(1)] | None = None
    energy: Annotated[float, Gt(0), Lt(1)] | None = None
    budget: Annotated[float, Gt(0), Lt(1)] | None = None
    measure: Literal["bytes", "flops"] = "bytes"
    stages: Annotated[int, Ge(1)] = 1
    recovery: dict[str, Any] = field(default_factory=dict)
    texts: Annotated[int, Ge(1)] = 1024
    multiple: Annotated[int, Ge(1)] = 8

    @model_validator(mode="after")
    def _one_size(self) -> LowRank:
        if sum(value is not None for value in (self.rank, self.energy, self.budget)) != 1:
            raise ValueError("exactly one of rank, energy and budget")
        Distill.of(self.recovery, "low_rank.recovery")
        return self

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the checkpoint with factorized layers.

        Raises:
            UserError: no rank under break-even meets the request, or nothing would become smaller.
        """
        return in_stages(checkpoint, context, partial(self._cut, context), "low_rank", self.stages, self.recovery)

    @property
    def matrices_alone(self) -> bool:
        """Whether convolutions stay as they are: they do."""
        return True

    def refuse_before(self, later: Method) -> str | None:
        """Refuse to tie layers whose ranks differ."""
        return f"put {later.name} before low_rank: factorized layers have ranks of their own" if later.ties_layers else None

    def _cut(self, context: Context, checkpoint: Checkpoint, done: float) -> tuple[Checkpoint, tuple[Note, ...]]:
        """Factorize once; ``done``, up to 1, is how far this stage goes."""
        matrices = matrices_of(checkpoint.model, nmf=self.method == "nmf")
        rows = sample(context.splits.train, self.texts, context.seed)
        self._weigh(checkpoint, context, matrices, rows)
        if self.budget is not None:
            ranks = self._shared(
                checkpoint, matrices, encode_for(checkpoint.task, sample(rows, PROBE_TEXTS, context.seed), checkpoint.tokenizer), done
            )
        else:
            ranks = {name: self._own(matrix, done) for name, matrix in matrices.items()}
        self._refuse_nothing(matrices, ranks)
        for name, rank in ranks.items():
            if rank:
                replace_module(checkpoint.model, name, matrices[name].layer(rank))
        checkpoint.model.eval()
        return checkpoint, (_report(self.method, matrices_of(checkpoint.model, nmf=False)),)

    def _weigh(self, checkpoint: Checkpoint, context: Context, matrices: Mapping[str, Matrix], rows: Examples) -> None:
        """Tell every matrix what its inputs count, and how often it is used."""
        model, data = checkpoint.model, encode_for(checkpoint.task, rows, checkpoint.tokenizer)
        modules = {name: matrix.module for name, matrix in matrices.items()}
        weights: Mapping[str, NDArray[np.float64]] = {}
        if self.method == "asvd":
            weights = input_moments(model, modules, data)
        if self.method == "fwsvd":
            weights = fisher_inputs(model, modules, data, targets_of(rows, data, context), checkpoint.task)
        # ALBERT-like models store a matrix once and multiply by it at every layer
        counts = count_uses(model, modules, data) if self.measure == "flops" else {}
        for name, matrix in matrices.items():
            matrix.weights = weights.get(name)
            matrix.uses = counts.get(name, 1)

    def _own(self, matrix: Matrix, done: float) -> int:
        """Return the rank of one matrix where each has its own; 0 leaves it."""
        if self.rank is not None:
            # from break-even down in steps of one ratio: rank(done) = start · (rank / start)^done
            start = max(matrix.largest + 1, self.rank)
            rank = round(start * (self.rank / start) ** done)
        else:
            assert self.energy is not None
            # here the lost energy grows in equal steps, 1 - energy in the end
            rank = 1 + int(np.searchsorted(1 - matrix.losses, 1 - (1 - self.energy) * done))
        return rank if rank <= matrix.largest else 0

    def _shared(self, checkpoint: Checkpoint, matrices: Mapping[str, Matrix], probe: Encoded, done: float) -> dict[str, int]:
        """Return ranks under one budget, by measured sensitivity."""
        assert self.budget is not None
        # stages of one ratio again: the last one reaches the budget itself
        share = self.budget**done
        before = predict_rows(checkpoint.model, probe, checkpoint.task)
        curves = []
        for name, matrix in matrices.items():
            step = self.multiple if matrix.largest >= 8 * self.multiple else 1
            # a matrix that no rank makes smaller is not run: it stays as it is
            cost = _sensitivity(checkpoint, name, matrix, share, probe, before) if matrix.largest else 0.0
            curves.append(Curve(cost * matrix.losses, matrix.unit, matrix.now, step))
        dense = sum(matrix.dense for matrix in matrices.values())
        least = sum(curve.points()[0][0] for curve in curves) / dense
        ranks = allocate(curves, share * dense)
        # what the last stage cannot reach is refused before the first one is trained
        if ranks is None or least > self.budget + 1e-9:
            expected = f"above {least:.3f}"
            raise UserError("the budget is below the smallest ranks", where="low_rank.budget", found=self.budget, expected=expected)
        return dict(zip(matrices, ranks, strict=True))

    def _refuse_nothing(self, matrices: Mapping[str, Matrix], ranks: Mapping[str, int]) -> None:
        """Refuse to leave a dense model dense; one that is small enough already may stay as it is."""
        if any(ranks.values()) or any(isinstance(matrix.module, LowRankLinear) for matrix in matrices.values()):
            return
        most = max((matrix.largest for matrix in matrices.values()), default=0)
        name = "rank" if self.rank is not None else "energy" if self.energy is not None else "budget"
        pairs = " (two pairs of factors: half of the other methods')" if self.method == "nmf" else ""
        raise UserError(
            "no matrix would become smaller: a rank of m·n/(m+n) or more takes more room than the matrix itself",
            where=f"low_rank.{name}",
            found=getattr(self, name),
            expected=f"what ranks of at most {most} can give{pairs}",
        )


def _sensitivity(checkpoint: Checkpoint, name: str, matrix: Matrix, share: float, probe: Encoded, before: Outputs) -> float:
    """Measure how far the model's outputs move per share of this matrix's energy that is lost, near the rank that it may get."""
    layer, loss = matrix.probe(min(max(1, round(share * (matrix.largest + 1))), matrix.largest))
    # in place and back again: a copy of the model per matrix would cost far more than the run
    put_everywhere(checkpoint.model, name, layer.eval())
    try:
        after = predict_rows(checkpoint.model, probe, checkpoint.task)
    finally:
        put_everywhere(checkpoint.model, name, matrix.module)
    distance = moved(checkpoint.task, after, before)
    # rounding can push a tiny KL below zero; a cut that loses no energy must not divide by it
    return max(distance, 0.0) / max(loss, 1e-9)


def _report(method_name: str, matrices: Mapping[str, Matrix]) -> Note:
    ranks = [matrix.module.rank for matrix in matrices.values() if isinstance(matrix.module, LowRankLinear)]
    left = sum(matrix.now for matrix in matrices.values()) / sum(matrix.dense for matrix in matrices.values())
    return Note.of(
        "low_rank",
        method=method_name,
        count=len(ranks),
        total=len(matrices),
        least=min(ranks),
        most=max(ranks),
        left=left,
    )
