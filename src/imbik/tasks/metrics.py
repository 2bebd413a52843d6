"""Metrics: what quality is stated in, which way is better, and how it is resampled.

A :class:`Metric` knows which way is better, and nobody else does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from imbik.tasks.formulas import (
    correct,
    counts,
    macro_from_counts,
    mae,
    mcc_from_counts,
    micro_from_counts,
    mse,
    pearson,
    rmse,
    spearman,
)
from imbik.tasks.outputs import Array

Draw = Callable[[Array], Array]
"""Items drawn with replacement, (R, N) -> the metric of every draw, (R,)."""


class Metric(ABC):
    """What quality is stated in.

    Attributes:
        name: as the user names it.
        less_is_better: whether it is an error.
        share: whether it is a share from 0 to 1, which reports show in per cent.
    """

    def __init__(self, name: str, *, less_is_better: bool = False, share: bool = False) -> None:
        self.name, self.less_is_better, self.share = name, less_is_better, share

    @abstractmethod
    def score(self, predictions: Array, targets: Array, labels: int = 0) -> float:
        """Compute the metric of N predictions; ``labels`` is L where predictions are label indices."""

    @abstractmethod
    def draws(self, predictions: Array, targets: Array, labels: int = 0) -> Draw:
        """Return the metric as a function of drawn items, for the bootstrap."""

    def merit(self, value: float) -> float:
        """Return a number that is higher when ``value`` is better; given a merit, the value again.

        >>> Values("rmse", rmse, less_is_better=True).merit(0.5)
        -0.5
        """
        return -value if self.less_is_better else value

    def better(self, one: float, other: float) -> bool:
        """Return whether ``one`` is better than ``other``."""
        return self.merit(one) > self.merit(other)

    def kept(self, value: float, reference: float) -> float | None:
        """Compute the share of a reference's quality that ``value`` keeps: their ratio, for an error turned round.

        An error of 0 keeps everything, also of a reference without an error. Of a quality of 0 or below there is no share: None.

        >>> Values("rmse", rmse, less_is_better=True).kept(2.0, 1.0), Values("mcc", pearson).kept(-0.1, -0.2)
        (0.5, None)
        """
        if self.less_is_better:
            return reference / value if value > 0 else 1.0
        return value / reference if reference > 0 else None


class ItemMean(Metric):
    """The mean of a number that each item has on its own, such as being right.

    Args:
        name: as the user names it.
        per_item: predictions, targets -> (N,).
    """

    def __init__(self, name: str, per_item: Callable[[Array, Array], Array], *, less_is_better: bool = False, share: bool = False) -> None:
        super().__init__(name, less_is_better=less_is_better, share=share)
        self.per_item = per_item

    def score(self, predictions: Array, targets: Array, labels: int = 0) -> float:
        """Compute the mean over the items."""
        return float(self.per_item(predictions, targets).mean())

    def draws(self, predictions: Array, targets: Array, labels: int = 0) -> Draw:
        """Return the mean over drawn items; each item is scored once."""
        # float32 halves the (R, N) array that is gathered; the mean is taken in float64
        values = self.per_item(predictions, targets).astype(np.float32)
        return lambda items: np.asarray(values[items].mean(1, dtype=np.float64))


class Values(Metric):
    """A function of values and targets along the last axis, such as a correlation or an error.

    Args:
        name: as the user names it.
        function: values (..., N), targets (..., N) -> (...).
    """

    def __init__(self, name: str, function: Callable[[Array, Array], Array], *, less_is_better: bool = False) -> None:
        super().__init__(name, less_is_better=less_is_better)
        self.function = function

    def score(self, predictions: Array, targets: Array, labels: int = 0) -> float:
        """Compute the function of all items."""
        return float(self.function(predictions, targets))

    def draws(self, predictions: Array, targets: Array, labels: int = 0) -> Draw:
        """Return the function of drawn items."""
        return lambda items: self.function(predictions[items], targets[items])


class Counted(Metric):
    """A function of the labels' counts (:func:`counts`), such as F1.

    Args:
        name: as the user names it.
        from_counts: counts (..., 3, L) -> (...).
    """

    def __init__(self, name: str, from_counts: Callable[[Array], Array], *, share: bool = True) -> None:
        super().__init__(name, share=share)
        self.from_counts = from_counts

    def score(self, predictions: Array, targets: Array, labels: int = 0) -> float:
        """Compute the metric from the counts of all items."""
        return float(self.from_counts(self.totals(predictions, targets, labels)))

    def totals(self, predictions: Array, targets: Array, labels: int) -> Array:
        """Return the counts of all items, ``(3, L)``, see :func:`imbik.tasks.formulas.counts`."""
        return counts(predictions, targets, labels)

    def tables(self, predictions: Array, targets: Array, labels: int) -> Array:
        """Return the counts of each item, ``(N, 3, L)`` float32, which :meth:`totals` sums."""
        if predictions.ndim == 1:
            names = np.arange(labels)
            predictions, targets = predictions[:, None] == names, targets[:, None] == names
        else:
            predictions, targets = predictions != 0, targets != 0
        return np.stack([predictions & targets, predictions, targets], axis=1).astype(np.float32)

    def draws(self, predictions: Array, targets: Array, labels: int = 0) -> Draw:
        """Return the metric of drawn items: an item that was drawn k times counts k times."""
        table = self.tables(predictions, targets, labels).reshape(len(targets), -1)  # (N, 3L)

        def counted(items: Array) -> Array:
            drawn, size = items.shape
            # all draws in one bincount: draw r counts in places r · N to (r + 1) · N
            times = np.bincount((items + size * np.arange(drawn)[:, None]).ravel(), minlength=drawn * size)
            weights = times.reshape(drawn, size).astype(np.float32)
            # one product (R, N) x (N, 3 L) for all draws; counts below 2^24 are exact in float32
            return self.from_counts((weights @ table).reshape(drawn, 3, -1).astype(np.float64))

        return counted


ACCURACY = ItemMean("accuracy", correct, share=True)
MACRO_F1 = Counted("macro-f1", macro_from_counts)
MICRO_F1 = Counted("micro-f1", micro_from_counts)
MCC = Counted("mcc", mcc_from_counts, share=False)
PEARSON = Values("pearson", pearson)
SPEARMAN = Values("spearman", spearman)
RMSE = Values("rmse", rmse, less_is_better=True)
MSE = Values("mse", mse, less_is_better=True)
MAE = Values("mae", mae, less_is_better=True)
