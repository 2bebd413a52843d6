"""Choices of a linear model that dev decides: its settings, how few n-grams it needs, how sure it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imbik.linear.model import Floats, LinearModel
from imbik.tasks.metrics import Metric
from imbik.tasks.registry import task_of
from imbik.tasks.task import Task
from imbik.types import Examples, Splits

_SHARES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.5, 0.65, 0.8)
_FACTORS = tuple(float(factor) for factor in np.geomspace(0.25, 16.0, 25))


@dataclass(frozen=True)
class Judge:
    """What a model is worth on dev.

    Attributes:
        task, metric: of the data.
        dev: its rows.
    """

    task: Task
    metric: Metric
    dev: Examples

    @classmethod
    def of(cls, splits: Splits) -> Judge:
        """Return the judge of a task's data."""
        task = task_of(splits.task)
        return cls(task, task.metric(splits.metric), splits.dev)

    def merit(self, model: LinearModel) -> float:
        """Return the quality on dev such that more is better."""
        return self.merit_of(model.scores(self.dev.texts))

    def merit_of(self, logits: Floats) -> float:
        """Return the same of logits ``(N, L)`` on dev."""
        decoded = self.task.decode(logits)
        return self.metric.merit(self.task.score(self.metric.name, decoded, np.asarray(self.dev.targets)))

    def unseen(self, merit: float) -> float:
        """Return the difference of two qualities that so many rows of dev do not see: half a standard error of an accuracy there."""
        share = min(abs(merit), 1.0)
        return 0.5 * float(np.sqrt(max(share * (1 - share), 1e-4) / len(self.dev.texts)))

    def simplest(self, tried: Sequence[tuple[float, LinearModel]]) -> LinearModel:
        """Return the first of models, simplest first, that dev does not see to be worse than the best of them."""
        best = max(merit for merit, _ in tried)
        # bytes and time are seen without a doubt
        return next(model for merit, model in tried if merit >= best - self.unseen(best))

    def pruned(self, model: LinearModel) -> LinearModel:
        """Return the model with the fewest weights that is as good on dev as the whole.

        Not one that is within dev's noise, though bytes are seen without a doubt: an n-gram of few texts is rare in dev too, and what
        dev does not miss there is missed elsewhere, while all of them together are some hundred kilobytes.
        """
        whole = self.merit(model)
        for share in _SHARES:
            smaller = model.pruned(share).stored()
            if self.merit(smaller) >= whole:
                return smaller
        return model

    def calibrated(self, model: LinearModel) -> LinearModel:
        """Return the model with the factor on its logits that makes its stated probabilities fit dev best, where it states any."""
        targets = np.asarray(self.dev.targets)
        if targets.ndim != 1 or targets.dtype.kind == "f":
            return model
        logits = model.scores(self.dev.texts).astype(np.float64)

        def surprise(factor: float) -> float:
            scaled = logits * factor
            peak = scaled.max(axis=1)
            return float(np.mean(peak + np.log(np.exp(scaled - peak[:, None]).sum(axis=1)) - scaled[np.arange(len(scaled)), targets]))

        return model.scaled(min(_FACTORS, key=surprise))
