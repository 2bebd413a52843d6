"""Selective answers: how many texts are answered, and how many of these answers are wrong (Geifman, El-Yaniv 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def coverage_and_risk(sure: Floats, right: Bools) -> tuple[Floats, Floats, Floats]:
    """Return ``(thresholds, coverage, risk)`` for every confidence as a threshold, surest first.

    Coverage is the share of texts that are at least so sure, risk the share of wrong answers among them.

    Args:
        sure: ``(N,)`` confidences.
        right: ``(N,)``: whether the answers are right.

    >>> coverage_and_risk(np.array([0.9, 0.6, 0.8]), np.array([True, False, True]))[1:]
    (array([0.33333333, 0.66666667, 1.        ]), array([0.        , 0.        , 0.33333333]))
    """
    order = np.argsort(-sure, kind="stable")
    values, wrong = sure[order], np.cumsum(~right[order])
    # texts that are equally sure are answered together or not at all
    ends = np.append(np.flatnonzero(np.diff(values) < 0), len(values) - 1)
    return values[ends], (ends + 1) / len(values), wrong[ends] / (ends + 1)


def area(coverage: Floats, risk: Floats) -> float:
    """Compute the area under risk over coverage (AURC), risk constant up to the first point: 0 is perfect, the error rate is chance."""
    widths = np.diff(np.concatenate([[0.0], coverage]))
    return float((widths * risk).sum())


def threshold_for(sure: Floats, right: Bools, risk: float) -> float | None:
    """Return the threshold that answers the most texts with a risk of at most ``risk``; None where the surest text is wrong already."""
    thresholds, coverage, found = coverage_and_risk(sure, right)
    fits = np.flatnonzero(found <= risk)
    return float(thresholds[fits[-1]]) if len(fits) and coverage[fits[-1]] > 0 else None


def told_apart(inside: Floats, outside: Floats) -> float:
    """Compute how often a text of the task is surer than one that is not (AUROC; ties count half), of confidences ``(N,)`` and ``(M,)``.

    >>> told_apart(np.array([0.9, 0.8]), np.array([0.8, 0.1]))
    0.875
    """
    ordered = np.sort(outside)
    below, up_to = np.searchsorted(ordered, inside, "left"), np.searchsorted(ordered, inside, "right")
    return float((below + up_to).mean() / 2 / len(outside))
