"""Verdicts on a limit from above, with an interval; the mirror of those from below in ``test_advice.py``."""

from __future__ import annotations

from dataclasses import replace

import plausible
import pytest

from imbik.advise.advice import advise
from imbik.advise.requirement import Requirement
from imbik.advise.scenario import Preference, Scenario
from imbik.advise.verdict import judge, overall, score
from imbik.measure.measurement import Measurement, Quality
from imbik.measure.quantities import Reading
from imbik.measure.results import Results

AT_MOST = Requirement("ece", at_most=0.05)


@pytest.mark.parametrize(
    ("value", "low", "high", "status", "meets"),
    [
        (0.01, 0.00, 0.02, "margin", True),  # 0.03 below the limit, half the width is 0.01
        (0.04, 0.03, 0.04, "margin", True),
        (0.04, 0.031, 0.049, "met", True),  # 0.001 below, half the width is 0.009
        (0.045, 0.035, 0.055, "borderline", True),
        (0.055, 0.045, 0.065, "borderline", False),
        (0.10, 0.09, 0.11, "not_met", False),
        (0.04, 0.06, 0.08, "borderline", True),  # the judged figure keeps the limit, the whole interval does not
        (0.06, 0.02, 0.04, "borderline", False),
        (0.05, 0.05, 0.05, "margin", True),  # a limit may be reached
    ],
)
def test_status_of_a_limit_from_above_with_an_interval(value, low, high, status, meets):
    verdict = judge(AT_MOST, Reading(value, low, high, value), "data")
    assert (verdict.status, verdict.meets) == (status, meets)
    assert verdict.headroom == pytest.approx((0.05 - value) / 0.05)


def test_margin_is_half_of_the_interval_or_more():
    asked = Requirement("quality", at_least=0.5)
    assert judge(asked, Reading(1.0, 0.75, 1.25, 1.0), "data").status == "margin"
    assert judge(asked, Reading(1.0, 0.75, 1.2500001, 1.0), "data").status == "met"


def test_headroom_is_a_share_of_the_limit_or_the_difference_from_none():
    zero, below = Requirement("ece", at_most=0.0), Requirement("quality", at_least=-0.5)
    assert judge(zero, Reading(0.25), "data").headroom == pytest.approx(-0.25)
    assert judge(below, Reading(-0.25), "data").headroom == pytest.approx(0.5), "a limit below zero does not turn the sense round"
    assert judge(AT_MOST, Reading(None), "data", 0.3).here == 0.3 and judge(AT_MOST, Reading(None), "data").origin == "none"


def test_one_end_of_an_interval_is_no_interval():
    for low, high in ((0.0, None), (None, 0.1)):
        assert judge(AT_MOST, Reading(0.045, low, high, 0.045), "data").status == "met"


def test_wishes_decide_nothing_and_score_nothing():
    wish = judge(Requirement("ece", at_most=0.05, weight=0.0), Reading(0.5), "data")
    kept = judge(AT_MOST, Reading(0.01), "data")
    assert overall([wish]) == "fit" and score([wish]) == 1.0 and score([]) == 1.0
    assert score([wish, kept]) == 1.0
    near = judge(Requirement("ece", at_most=0.05, weight=0.0), Reading(0.045, 0.035, 0.055, 0.045), "data")
    assert near.status == "borderline" and overall([near, kept]) == "fit"


def made(name: str, dev: float, size: int, metric: str = "accuracy") -> Measurement:
    return Measurement(f"{name}/onnx", name, "onnx", dev_quality=Quality(dev, metric=metric, split="dev"), bytes=size)


def chosen(*candidates: Measurement, requirements: tuple[Requirement, ...] = (), within: float = 0.1) -> str:
    run = Results(baseline="teacher/pytorch", measurements=(plausible.results().measurements[0], *candidates))
    prefer = (Preference("quality", within=within), Preference("megabytes"))
    return advise(run, Scenario("made", requirements or (Requirement("megabytes", at_most=1000),), prefer=prefer)).choice


def test_a_preference_keeps_those_within_a_share_of_the_best():
    """Ten per cent of 0.5 are 0.05, not 0.1; a smaller one wins among those that are left."""
    best, near, far = made("best", 0.5, 9_000_000), made("near", 0.451, 5_000_000), made("far", 0.449, 1_000_000)
    assert chosen(best, near, far) == "near/onnx"
    errors = made("best", 2.0, 9_000_000, "rmse"), made("near", 2.19, 5_000_000, "rmse"), made("far", 2.21, 1_000_000, "rmse")
    assert chosen(*errors) == "near/onnx", "a share of the error, whose merit is below zero"
    assert chosen(best, near, far, within=0.0) == "best/onnx"


def test_where_nobody_fits_the_score_then_the_smallest_shortfall_decides():
    asked = (Requirement("megabytes", at_most=1.0), Requirement("quality", at_least=0.9))
    near, far = made("near", 0.8, 1_500_000), made("far", 0.8, 3_000_000)
    assert chosen(far, near, requirements=asked) == chosen(near, far, requirements=asked) == "near/onnx"
    assert chosen(near, made("one", 0.1, 900_000), requirements=asked) == "one/onnx", "one of two limits kept is more than none"
    # 8 times too large and a hundredth too bad, or a tenth too large and nearly all too bad: weights say what that is worth
    good, small = made("good", 0.89, 9_000_000), made("small", 0.1, 1_100_000)
    assert chosen(good, small, requirements=asked) == "small/onnx"
    assert chosen(good, small, requirements=(replace(asked[0], weight=0.1), asked[1])) == "good/onnx"
