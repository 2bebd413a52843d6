"""A linear model that learns from a teacher: soft labels over n-grams (Hinton et al. 2015), by full passes of Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imbik.linear.features import Vocabulary
from imbik.linear.model import Floats, LinearModel, cut_settings
from imbik.linear.select import Judge
from imbik.linear.support import solve
from imbik.runtime.ngrams import Cut
from imbik.types import Splits

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TEMPERATURE = 2.0
PASSES, EVERY, RATE = 160, 20, 0.3
SETTINGS = ((0.5, 3e-6), (0.3, 1e-5), (0.5, 1e-6))
"""Share of the labels and decay, as they are tried: the first for every cut, the others for the best one."""

COST, SHARES = 1.0, (0.3, 0.5, 0.7)
"""C of the machine that is mixed in, and its share of the logits, as they are tried."""


@dataclass(frozen=True)
class Lesson:
    """What is learned.

    Attributes:
        texts: N texts.
        logits: what the teacher says of them, ``(N, L)``.
        labels: label indices of the first of them, ``(M,)``; the others have none.
    """

    texts: Sequence[str]
    logits: NDArray[np.floating]
    labels: NDArray[np.int64]

    def targets(self, hard: float) -> Floats:
        """Return what is aimed at, ``(N, L)``: the teacher's softened probabilities, mixed with the labels where there are any."""
        soft = _softmax(np.asarray(self.logits, np.float32) / np.float32(TEMPERATURE))
        known = len(self.labels)
        soft[:known] *= np.float32(1 - hard)
        soft[np.arange(known), self.labels] += np.float32(hard)
        return soft


def linear_student(splits: Splits, lesson: Lesson, cuts: Sequence[Cut], say: Callable[[str], None] | None = None) -> LinearModel:
    """Train a linear model on the teacher's soft labels. The cut, the share of the labels, the decay and the number of passes are those
    that are best on dev.

    Minimized is CE((1 - h) softmax(z / T) + h y, softmax(xW + b)) + λ‖W‖² with the teacher's logits z, T = 2, and labels y where there
    are any, over the texts of the lesson. The mean of two linear models is one of the same size, so a linear support vector machine that
    learned the labels of the same n-grams is mixed in where dev sees more in the mean of both logits (a logarithmic opinion pool, Genest
    and Zidek 1986): the machine knows the labels' borders, the student the teacher's doubts, and their errors differ.

    Args:
        splits: dev decides.
        lesson: texts and what the teacher says of them; made texts may be among them.
        cuts: how texts may be cut, those with the fewest n-grams first; a later one must be better by more than dev can miss.
        say: takes a line for each setting that was tried.
    """
    judge = Judge.of(splits)
    tried: list[tuple[float, LinearModel]] = []
    for cut in cuts:
        # an n-gram that made texts have once says more of how they were made than of the task
        vocabulary = Vocabulary.of(lesson.texts, cut, least=2 if len(lesson.texts) > len(lesson.labels) else 1)
        tried.append(_trained(vocabulary, vocabulary.matrix(lesson.texts), lesson, SETTINGS[0], judge))
    best = judge.simplest(tried).vocabulary
    rows = best.matrix(lesson.texts)
    tried += [_trained(best, rows, lesson, setting, judge) for setting in SETTINGS[1:]]
    for merit, model in tried:
        if say is not None:
            say(f"{dict(model.settings)}: {merit:.4f}")
    # of one cut all are as large, so the best of them is taken
    taught = max((pair for pair in tried if pair[1].vocabulary is best), key=lambda pair: pair[0])
    return judge.calibrated(_with_machine(taught, rows, lesson, judge, say).stored())


def _with_machine(
    taught: tuple[float, LinearModel], rows: csr_array, lesson: Lesson, judge: Judge, say: Callable[[str], None] | None
) -> LinearModel:
    """Return the mean of a model and a support vector machine that is best on dev, or the model itself where no mean is better."""
    _, model = taught
    if len(np.unique(lesson.labels)) < 2:
        return model
    weights, bias = solve(rows[: len(lesson.labels)], lesson.labels, COST, model.weights.shape[1])
    dev = model.vocabulary.matrix(judge.dev.texts)
    own, other = dev @ model.weights + model.bias, dev @ weights + bias
    # both speak as loudly
    factor = np.float32(own.std() / max(float(other.std()), 1e-12))
    tried = [taught]
    for share in SHARES:
        mean = model.mixed(factor * weights, factor * bias, share)
        mean = replace(mean, settings={**model.settings, "machine": share, "c": COST})
        tried.append((judge.merit(mean), mean))
        if say is not None:
            say(f"{dict(mean.settings)}: {tried[-1][0]:.4f}")
    return max(tried, key=lambda pair: pair[0])[1]


def _trained(
    vocabulary: Vocabulary, rows: csr_array, lesson: Lesson, setting: tuple[float, float], judge: Judge
) -> tuple[float, LinearModel]:
    """Return the quality on dev of the best pass looked at, and its model."""
    hard, decay = setting
    settings = cut_settings(vocabulary.cut) | {"hard": hard, "decay": decay}
    dev = vocabulary.matrix(judge.dev.texts)
    best: tuple[float, LinearModel] | None = None
    for passes, weights, bias in _descent(rows, lesson.targets(hard), decay):
        model = LinearModel(vocabulary, weights, bias, settings | {"passes": passes, "temperature": TEMPERATURE})
        merit = judge.merit_of(np.asarray(dev @ weights + bias))
        if best is None or merit > best[0]:
            best = merit, replace(model, weights=weights.copy(), bias=bias.copy())
    assert best is not None
    return best


def _descent(rows: csr_array, target: Floats, decay: float) -> Iterator[tuple[int, Floats, Floats]]:
    """Yield ``(passes, weights, bias)`` every :data:`EVERY` passes of Adam (Kingma and Ba 2015), its rate falling by a cosine."""
    labels = target.shape[1]
    weights = np.zeros((rows.shape[1] + 1, labels), np.float32)  # the last row is the bias
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    back = rows.T.tocsr()
    for number in range(1, PASSES + 1):
        error = (_softmax(np.asarray(rows @ weights[:-1] + weights[-1])) - target) / np.float32(len(target))
        gradient = np.concatenate([np.asarray(back @ error) + np.float32(2 * decay) * weights[:-1], error.sum(axis=0, keepdims=True)])
        mean = np.float32(0.9) * mean + np.float32(0.1) * gradient
        square = np.float32(0.99) * square + np.float32(0.01) * gradient**2
        rate = RATE * 0.5 * (1 + np.cos(np.pi * (number - 1) / PASSES))
        step = (mean / np.float32(1 - 0.9**number)) / (np.sqrt(square / np.float32(1 - 0.99**number)) + np.float32(1e-10))
        weights -= np.float32(rate) * step
        if number % EVERY == 0:
            yield number, weights[:-1], weights[-1]


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)
