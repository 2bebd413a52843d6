"""Scores of pairs in the training of vectors, beside the teacher's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imbik.distillation.soft_labels import SoftLabels, Wrap
from imbik.errors import UserError
from imbik.models.inputs import Tensors
from imbik.training.heads import EmbeddingHead, only
from imbik.training.loop import Evaluate
from imbik.training.prediction import Batch, run
from imbik.types import Examples, Splits

WHERE = "distill.scores"
_WEIGHT = 10.0
"""λ: differences of cosines are squares of tenths, as those of :class:`imbik.training.heads.EmbeddingHead`."""


@dataclass(frozen=True)
class Partners:
    """Which texts of train stand in pairs, and how alike a person found the two.

    Attributes:
        of: row of a text -> rows of the other texts of its pairs, each with the score from 0 to 1.
    """

    of: dict[int, list[tuple[int, float]]]

    @classmethod
    def read(cls, texts: Sequence[str], scored: Examples) -> Partners:
        """Find the texts of scored pairs among the rows of train; the lowest score becomes 0, the highest 1."""
        rows = {text: row for row, text in enumerate(texts)}
        scores = np.asarray(scored.targets, np.float64)
        spread = float(np.ptp(scores)) or 1.0
        shares = (scores - scores.min()) / spread
        found: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for first, second, share in zip(scored.texts, scored.pairs or (), shares.tolist(), strict=True):
            one, other = rows[first], rows[second]
            if one != other:  # of a text and itself there is nothing to learn
                found[one].append((other, share))
                found[other].append((one, share))
        return cls(dict(found))


class ScoredLabels(SoftLabels):
    """(1 - w) L + w λ mean (cos(s_i, t_j) - y_ij)²: the teacher's vectors, and the scores y of train's pairs i, j.

    s is the student's vector, t its teacher's: so the two texts of a pair need not stand in one batch.

    Args:
        loss: L, the loss against the teacher alone.
        partners: of train's texts.
        weight: w, 0 to 1.
    """

    def __init__(self, loss: SoftLabels, partners: Partners, weight: float) -> None:
        super().__init__(loss.task.name, loss.teacher, None, loss.temperature, weight, loss.unit, loss.piece_dropout)
        self.head, self.partners = loss.head, partners

    def parts(self, model: nn.Module, batch: Batch) -> list[tuple[Tensor, float]]:
        """Compute the two terms on some rows of a batch, and how many things each is the mean over."""
        soft, labels = self.terms(run(model, batch, self.task), batch["rows"], batch["attention_mask"])
        rows, whole = (batch[name].tolist() for name in ("rows", "whole"))
        if not self._pairs(whole):  # forward() leaves the weight out where no row of the batch has a pair
            return [(soft, len(rows))]
        own = labels if labels is not None else soft * 0.0
        return [((1.0 - self.hard) * soft, len(rows)), (self.hard * own, len(self._pairs(rows)))]

    def terms(
        self, outputs: Tensors, rows: Tensor, mask: Tensor | None = None, said: Tensors | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the loss against the teacher, and against the scores: None where no row of the batch has a pair."""
        soft, _ = super().terms(outputs, rows, mask, said)
        pairs = self._pairs(rows.tolist())
        if not pairs:
            return soft, None
        vectors, head = only(outputs), self.head
        assert isinstance(head, EmbeddingHead), "only vectors are scored"
        places, others, scores = zip(*pairs, strict=True)
        partners = head.comparable(only(self.teacher.tensors(np.array(others, np.int64), None, vectors.device)))
        cosines = F.cosine_similarity(vectors[list(places)], partners)
        return soft, _WEIGHT * (cosines - torch.tensor(scores, device=vectors.device)).square().mean()

    def _pairs(self, rows: Sequence[int]) -> list[tuple[int, int, float]]:
        """Return the place of a row in a batch, its partner's row and their score, of every pair."""
        return [(place, other, score) for place, row in enumerate(rows) for other, score in self.partners.of.get(row, ())]


def with_scores(splits: Splits, weight: float) -> Wrap:
    """Return what makes a student learn from the scores of train's pairs too.

    Raises:
        UserError: the data have no pairs with scores.
    """
    if splits.scored is None:
        raise UserError(
            "no pairs with scores to learn from", where=WHERE, found=splits.source, expected="two texts and a score a row", fix="scores: 0"
        )
    partners = Partners.read(splits.train.texts, splits.scored)

    def wrap(loss: nn.Module, evaluate: Evaluate) -> tuple[nn.Module, Evaluate]:
        assert isinstance(loss, SoftLabels), "the loss of soft labels"
        return ScoredLabels(loss, partners, weight), evaluate

    return wrap
