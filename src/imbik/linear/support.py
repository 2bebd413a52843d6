"""tf-idf with a linear support vector machine: what a user would try first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imbik.linear.features import Vocabulary
from imbik.linear.model import Floats, LinearModel, cut_settings
from imbik.linear.select import Judge
from imbik.runtime.ngrams import Cut
from imbik.types import Splits

if TYPE_CHECKING:
    from scipy.sparse import csr_array

COSTS = (0.1, 0.3, 1.0, 3.0)
"""C of the machine: how much an error on train counts against small weights."""

WORDS = (Cut(1), Cut(2), Cut(3))
CHARACTERS = (Cut(2, (2, 4)), Cut(2, (3, 5)))


def tfidf_svm(splits: Splits, cuts: Sequence[Cut], say: Callable[[str], None] | None = None) -> LinearModel:
    """Train tf-idf with a linear SVM; regression: with a ridge. The cut and C are those that are best on dev.

    Args:
        splits: single texts of a task with one row of numbers a text.
        cuts: how texts may be cut.
        say: takes a line for each setting that was tried.

    Returns:
        The model with the stored weights (integers), not pruned, its logits scaled such that its probabilities fit dev.
    """
    judge = Judge.of(splits)
    tried: list[tuple[float, LinearModel]] = []
    for cut in cuts:
        vocabulary = Vocabulary.of(splits.train.texts, cut)
        train = vocabulary.matrix(splits.train.texts)
        # the middle C for every cut, the others for the best one
        tried.append(_fitted(vocabulary, train, COSTS[1], splits, judge))
    best = max(tried, key=lambda pair: pair[0])[1].vocabulary
    train = best.matrix(splits.train.texts)
    tried += [_fitted(best, train, cost, splits, judge) for cost in COSTS if cost != COSTS[1]]
    for merit, model in tried:
        if say is not None:
            say(f"{dict(model.settings)}: {merit:.4f}")
    # max keeps the first of equals: fewer n-grams before more
    return judge.calibrated(max(tried, key=lambda pair: pair[0])[1].stored())


def _fitted(vocabulary: Vocabulary, train: csr_array, cost: float, splits: Splits, judge: Judge) -> tuple[float, LinearModel]:
    """Return what a setting is worth on dev, and its model."""
    weights, bias = solve(train, np.asarray(splits.train.targets), cost, len(splits.labels))
    settings = cut_settings(vocabulary.cut) | {"c": cost}
    model = LinearModel(vocabulary, weights, bias, settings, exclusive=np.asarray(splits.train.targets).ndim == 1)
    return judge.merit(model), model


def solve(train: csr_array, targets: NDArray[Any], cost: float, labels: int) -> tuple[Floats, Floats]:
    """Return the machine's weights ``(F, L)`` and bias ``(L,)``, one column a label; of numbers, those of a ridge.

    Args:
        train: rows of n-grams, ``(N, F)``.
        targets: their labels ``(N,)`` or ``(N, L)``, or their numbers ``(N,)``.
        cost: C, see :data:`COSTS`.
        labels: L.
    """
    from sklearn.linear_model import Ridge
    from sklearn.svm import LinearSVC

    if targets.dtype.kind == "f" and targets.ndim == 1:
        ridge = Ridge(alpha=0.5 / cost).fit(train, targets)
        return ridge.coef_.reshape(-1, 1).astype(np.float32), np.array([ridge.intercept_], np.float32).reshape(1)
    if targets.ndim == 2:  # several labels a text: a machine each
        columns = [_two_sided(train, targets[:, column], cost) for column in range(labels)]
        return np.stack([weights for weights, _ in columns], axis=1), np.array([bias for _, bias in columns], np.float32)
    machine = LinearSVC(C=cost, random_state=0).fit(train, targets)
    weights: Floats = machine.coef_.T.astype(np.float32)
    bias: Floats = np.asarray(machine.intercept_, np.float32)
    if len(machine.classes_) == 2:  # one column tells both apart
        weights = np.concatenate([-weights, weights], axis=1) * np.float32(0.5)
        bias = np.concatenate([-bias, bias]) * np.float32(0.5)
    # labels that train has no text of are never answered
    full, floor = np.zeros((train.shape[1], labels), np.float32), np.full(labels, -10.0, np.float32)
    full[:, machine.classes_], floor[machine.classes_] = weights, bias
    return full, floor


def _two_sided(train: csr_array, targets: NDArray[Any], cost: float) -> tuple[Floats, float]:
    """Return weights and bias that tell the texts of a label from the others; constants where all are alike."""
    from sklearn.svm import LinearSVC

    if len(np.unique(targets)) < 2:
        return np.zeros(train.shape[1], np.float32), 1.0 if targets[0] else -1.0
    machine = LinearSVC(C=cost, random_state=0).fit(train, targets.astype(int))
    return machine.coef_[0].astype(np.float32), float(machine.intercept_[0])


def smaller(model: LinearModel, splits: Splits) -> LinearModel:
    """Return the model with as few weights as dev lets it have; see :meth:`imbik.linear.select.Judge.pruned`."""
    judge = Judge.of(splits)
    found = judge.pruned(model)
    return replace(found, settings={**found.settings, "ngrams": len(found.vocabulary.ngrams)})
