"""Thresholds, temperatures, coverage and risk: each beside a plain count, SciPy or scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score

from imbik.cascade.calibration import MOST, fitted, surprise
from imbik.cascade.policy import Target, choose, evaluate
from imbik.cascade.selective import area, coverage_and_risk, threshold_for, told_apart

RNG = np.random.default_rng(0)


def _stages(count: int, texts: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Answers of stages that are right the more often the surer they are, and the later."""
    sure = RNG.uniform(0.2, 1.0, (count, texts)).round(2)  # ties among them
    right = RNG.uniform(size=(count, texts)) < sure ** (1 / (1 + np.arange(count)[:, None]))
    return right, sure


def _by_hand(thresholds: tuple[float, ...], right: np.ndarray, sure: np.ndarray, costs: list[float]) -> tuple[float, float]:
    """Right answers and cost of a text, one text at a time."""
    good, spent = 0, 0.0
    for text in range(right.shape[1]):
        for stage in range(len(right)):
            spent += costs[stage]
            if stage == len(right) - 1 or sure[stage, text] >= thresholds[stage]:
                good += bool(right[stage, text])
                break
    return good / right.shape[1], spent / right.shape[1]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_policy_says_what_it_gives(count: int) -> None:
    right, sure = _stages(count)
    costs = [1.0, 5.0, 30.0][:count]
    for target in (Target(keep=0.9), Target(keep=1.0), Target(keep=None, cost=0.5)):
        found = choose(right, sure, costs, target)
        good, spent = _by_hand(found.thresholds, right, sure, costs)
        assert (found.right, found.cost) == (pytest.approx(good), pytest.approx(spent))
        assert sum(found.shares) == pytest.approx(1.0) and len(found.shares) == count
        by = [evaluate(found.thresholds, sure).tolist().count(stage) / right.shape[1] for stage in range(count)]
        assert list(found.shares) == pytest.approx(by)


def test_of_two_stages_every_threshold_is_tried() -> None:
    right, sure = _stages(2)
    costs = [1.0, 10.0]
    places = [0.0, *(np.unique(sure[0]) + 1e-9), 2.0]
    tried = [_by_hand((place,), right, sure, costs) for place in places]
    for keep in (0.8, 0.95, 1.0):
        least = keep * right[1].mean()
        found = choose(right, sure, costs, Target(keep=keep))
        assert found.met and found.right >= least - 1e-12
        assert found.cost == pytest.approx(min(cost for good, cost in tried if good >= least - 1e-12))
    for share in (0.3, 0.7, 1.2):
        found = choose(right, sure, costs, Target(keep=None, cost=share))
        assert found.met and found.right == pytest.approx(max(good for good, cost in tried if cost <= share * 10))


def test_of_three_stages_few_texts_have_every_pair_of_thresholds_tried() -> None:
    right, sure = _stages(3, 30)
    costs = [1.0, 8.0, 60.0]
    places = [[0.0, *(np.unique(row) + 1e-9), 2.0] for row in sure[:2]]
    tried = [_by_hand(pair, right, sure, costs) for pair in itertools.product(*places)]
    for keep in (0.9, 1.0):
        least = keep * right[2].mean()
        found = choose(right, sure, costs, Target(keep=keep))
        assert found.cost == pytest.approx(min(cost for good, cost in tried if good >= least - 1e-12))


def test_the_target_is_a_share_of_the_teachers_right_answers() -> None:
    right, sure = _stages(2)
    free = choose(right, sure, [1.0, 10.0], Target(keep=1.0), reference=0.0)
    assert free.met and free.cost == 1.0
    assert choose(right, sure, [1.0, 10.0], Target(keep=0.9), reference=right[1].mean()) == choose(right, sure, [1.0, 10.0], Target(0.9))


def test_a_target_out_of_reach_is_said_and_the_nearest_given() -> None:
    right, sure = _stages(2)
    found = choose(right, sure, [1.0, 10.0], Target(keep=1.9))
    assert not found.met and found.right == max(choose(right, sure, [1.0, 10.0], Target(keep=None, cost=9.0)).right, right[1].mean())
    cheap = choose(right, sure, [1.0, 10.0], Target(keep=None, cost=0.01))
    assert not cheap.met and cheap.shares[0] == 1.0


def _drawn(logits: np.ndarray, temperature: float) -> np.ndarray:
    return np.array([RNG.choice(logits.shape[1], p=np.exp(row)) for row in log_softmax(logits / temperature, axis=1)])


def test_one_weight_is_the_temperature_that_scipy_finds() -> None:
    logits = RNG.normal(size=(300, 5)) * 4
    targets = _drawn(logits, 2.5)

    def loss(heat: float) -> float:
        return float(-log_softmax(logits / heat, axis=1)[np.arange(300), targets].mean())

    assert surprise([logits], [1 / 1.7], targets) == pytest.approx(loss(1.7))
    wanted = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-8}).x
    assert 1 / fitted([logits], targets)[0] == pytest.approx(wanted, rel=1e-4) and 2 < wanted < 3


def test_two_weights_are_those_that_scipy_finds() -> None:
    one, other = (RNG.normal(size=(400, 4)) * 2 for _ in range(2))
    targets = _drawn(0.9 * one + 0.4 * other, 1.0)

    def loss(weights: np.ndarray) -> float:
        return float(-log_softmax(weights[0] * one + weights[1] * other, axis=1)[np.arange(400), targets].mean())

    wanted = minimize(loss, [0.5, 0.5], bounds=[(0, 20), (0.05, 20)], method="L-BFGS-B", options={"ftol": 1e-14}).x
    assert fitted([one, other], targets) == pytest.approx(wanted, abs=1e-3)


def test_a_part_that_misleads_has_no_weight() -> None:
    good = RNG.normal(size=(300, 3)) * 2
    targets = _drawn(good, 1.0)
    alone = fitted([good], targets)[0]
    weights = fitted([-good + RNG.normal(size=(300, 3)), good], targets)
    assert weights[0] == 0.0 and weights[1] == pytest.approx(alone, rel=1e-3)


def test_a_model_without_an_error_is_not_taken_for_certain() -> None:
    assert fitted([np.eye(4)], np.arange(4)) == (MOST,)


def test_coverage_and_risk_are_counts() -> None:
    sure, right = RNG.uniform(size=80).round(1), RNG.uniform(size=80) < 0.7
    thresholds, coverage, risk = coverage_and_risk(sure, right)
    assert thresholds.tolist() == sorted(set(sure.tolist()), reverse=True)
    for threshold, share, wrong in zip(thresholds, coverage, risk, strict=True):
        given = sure >= threshold
        assert (share, wrong) == (pytest.approx(given.mean()), pytest.approx((~right[given]).mean()))
    best = max((t for t in thresholds if (~right[sure >= t]).mean() <= 0.2), key=lambda t: (sure >= t).mean(), default=None)
    assert threshold_for(sure, right, 0.2) == best
    assert threshold_for(np.array([0.9, 0.5]), np.array([False, False]), 0.4) is None


def test_the_area_of_a_perfect_order_is_less_than_that_of_chance() -> None:
    right = np.array([True] * 8 + [False] * 2)
    perfect, chance = (coverage_and_risk(sure, right)[1:] for sure in (np.linspace(1, 0, 10), np.full(10, 0.5)))
    # by hand: the wrong ones come 9th and 10th, with risks 1/9 and 2/10, each a tenth wide
    assert area(*perfect) == pytest.approx((1 / 9 + 2 / 10) / 10) and area(*chance) == pytest.approx(0.2)


def test_texts_of_the_task_are_told_from_others_as_scikit_learn_counts() -> None:
    inside, outside = RNG.uniform(0.3, 1, 50).round(1), RNG.uniform(0, 0.8, 40).round(1)
    wanted = roc_auc_score(np.r_[np.ones(50), np.zeros(40)], np.r_[inside, outside])
    assert told_apart(inside, outside) == pytest.approx(wanted)
