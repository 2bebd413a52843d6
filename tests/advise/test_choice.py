"""The choice under limits, by hand: every rule of it on candidates that differ in one number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from imbik.advise.choice import choose, float_parent, pareto, slowed_down, slower_than_parent, without_shown, without_slowed
from imbik.measure.measurement import Latency, Measurement, OverRival, Parity, Quality, SpeedBeside, Throughput
from imbik.measure.values import Limits

QUANTIZED = ({"quantize": {"scheme": "dynamic"}},)
ANY = Limits(min_retention=0.0)


def candidate(
    name: str,
    *,
    p50: float | None = 1.0,
    p95: float | None = 2.0,
    dev: float | None = 0.9,
    size: int | None = 1_000_000,
    rate: float | None = 100.0,
    engine: str = "onnx",
    **more: Any,
) -> Measurement:
    return Measurement(
        f"{name}/{engine}",
        name,
        engine,
        latency_ms=Latency(p50, p95),
        quality=Quality(dev, metric="accuracy"),
        dev_quality=Quality(dev, metric="accuracy"),
        bytes=size,
        throughput=Throughput(rate),
        **more,
    )


TEACHER = candidate("teacher", p50=9.0, p95=11.0, dev=1.0, size=9_000_000, rate=10.0, engine="pytorch")


def chosen(*candidates: Measurement, limits: Limits = ANY) -> str | None:
    return choose([TEACHER, *candidates], TEACHER.id, limits).id


def test_a_limit_on_latency_is_a_limit_on_p95():
    median, tail = candidate("median", p50=1.0, p95=12.0), candidate("tail", p50=5.0, p95=8.0)
    assert chosen(median, tail, limits=Limits(0.0, max_latency_ms=10.0)) == "tail/onnx"
    choice = choose([TEACHER, median], TEACHER.id, Limits(0.0, max_latency_ms=10.0))
    assert not choice.meets and list(choice.shortfall) == ["latency_p95_ms"]
    assert (choice.shortfall["latency_p95_ms"].value, choice.shortfall["latency_p95_ms"].by) == (12.0, pytest.approx(0.2))


@pytest.mark.parametrize(
    ("limits", "met"),
    [
        (Limits(min_retention=0.9), True),  # kept to the last digit: a limit may be reached
        (Limits(min_retention=0.901), False),
        (Limits(0.0, max_latency_ms=2.0), True),
        (Limits(0.0, max_latency_ms=1.9), False),
        (Limits(0.0, max_mb=1.0), True),  # a million bytes
        (Limits(0.0, max_mb=0.99), False),
    ],
)
def test_a_limit_may_be_reached_and_not_passed(limits: Limits, met: bool):
    assert choose([TEACHER, candidate("a")], TEACHER.id, limits).meets is met


def test_without_limits_97_per_cent_of_the_teacher_are_asked():
    assert choose([TEACHER, candidate("a", dev=0.97)], TEACHER.id).meets
    assert not choose([TEACHER, candidate("a", dev=0.969)], TEACHER.id).meets


def test_without_a_baseline_nothing_is_asked_of_quality():
    choice = choose([candidate("a", dev=0.1)], None, Limits(min_retention=0.9))
    assert choice.meets and choice.id == "a/onnx"


def test_the_fastest_is_chosen_and_within_a_tenth_the_best_on_dev():
    fast, near, far = candidate("fast", p50=1.0, dev=0.90), candidate("near", p50=1.09, dev=0.91), candidate("far", p50=1.15, dev=0.99)
    assert chosen(fast, far) == "fast/onnx"
    assert chosen(fast, near) == "near/onnx"
    # 1.15 is within a tenth of 1.09; the bar is set by the fastest alone
    assert chosen(fast, near, far) == "near/onnx"


def on_dev(name: str, value: float, size: int, width: float = 0.04, p50: float = 1.0) -> Measurement:
    """A candidate whose 95 % interval on dev is ``width`` wide: a standard error of 0.0102 for 0.04, half of it 0.0051."""
    found = candidate(name, size=size, p50=p50)
    quality = Quality(value, value - width / 2, value + width / 2, metric="accuracy")
    return replace(found, dev_quality=quality)


def test_a_difference_that_dev_does_not_show_is_decided_by_bytes():
    large, small = on_dev("large", 0.930, 25_300_000), on_dev("small", 0.925, 7_500_000)
    assert chosen(large, small) == "small/onnx"
    choice = choose([TEACHER, large, small], TEACHER.id, ANY)
    assert choice.reasons[0].kind == "choice_alike" and choice.reasons[0].values["best"] == "large/onnx"
    assert choice.batch is not None and choice.batch.id == "small/onnx"
    assert chosen(large, on_dev("small", 0.924, 7_500_000)) == "large/onnx", "0.006 is more than half a standard error"
    assert chosen(on_dev("large", 0.930, 25_300_000, width=0.02), small) == "large/onnx", "more rows show more"
    assert choose([TEACHER, small], TEACHER.id, ANY).reasons[0].kind == "choice_best"


def test_of_equal_candidates_the_smallest_then_the_fastest_then_the_first_name():
    a, small, fast = candidate("a"), candidate("b", size=999_999, p50=1.05), candidate("c", p50=0.99)
    assert chosen(a, small, fast) == "b/onnx", "bytes before milliseconds: within a tenth all are one speed"
    assert chosen(a, fast) == "c/onnx"
    assert chosen(candidate("z"), a) == "a/onnx"
    assert chosen(a, candidate("b", size=None, p50=0.99)) == "a/onnx", "a size that was not measured is not small"


def test_a_time_that_was_not_measured_is_not_fast():
    assert chosen(candidate("a", p50=None, dev=0.99), candidate("b", p50=5.0)) == "b/onnx"


def batches(*candidates: Measurement) -> str:
    choice = choose([TEACHER, *candidates], TEACHER.id, ANY)
    assert choice.batch is not None
    return choice.batch.id


def test_for_batches_the_highest_throughput_and_within_a_tenth_the_best_on_dev():
    high, near, far = candidate("high", rate=110.0), candidate("near", rate=101.0, dev=0.91), candidate("far", rate=99.0, dev=0.99)
    assert batches(high, far) == "high/onnx"
    assert batches(high, near) == "near/onnx"
    assert batches(high, near, far) == "near/onnx"
    assert batches(candidate("unknown", rate=None, dev=0.99), far) == "far/onnx"


def test_when_nothing_meets_the_limits_the_relative_shortfalls_are_added_up():
    """0.5 beyond a limit of milliseconds and 0.1 beyond one of megabytes are 0.6; one of 0.55 is nearer."""
    two = candidate("two", p95=3.0, size=2_200_000, p50=0.5)
    one = candidate("one", p95=3.1, size=1_000_000, p50=5.0)
    limits = Limits(0.0, max_latency_ms=2.0, max_mb=2.0)
    choice = choose([TEACHER, two, one], TEACHER.id, limits)
    assert (choice.id, choice.meets, choice.batch.id) == ("one/onnx", False, "one/onnx")
    both = choose([TEACHER, two], TEACHER.id, limits).shortfall
    assert {name: lacking.by for name, lacking in both.items()} == {"latency_p95_ms": pytest.approx(0.5), "megabytes": pytest.approx(0.1)}


def test_of_equally_far_candidates_the_fastest_then_the_first_name():
    far = Limits(min_retention=1.8)
    assert chosen(candidate("a"), candidate("b", p50=0.9), limits=far) == "b/onnx"
    assert chosen(candidate("b"), candidate("a"), limits=far) == "a/onnx"


def test_what_was_not_measured_counts_as_far_as_twice_the_limit():
    unknown, twice, more = candidate("u", p95=None), candidate("b", p95=19.9), candidate("c", p95=20.1)
    limits = Limits(0.0, max_latency_ms=10.0)
    assert chosen(unknown, twice, limits=limits) == "b/onnx" and chosen(unknown, more, limits=limits) == "u/onnx"


@pytest.mark.parametrize("worth", [0.0, -0.3])
def test_of_a_teacher_that_is_worth_nothing_no_share_is_kept_and_that_is_said(worth: float):
    teacher = candidate("teacher", dev=worth, engine="pytorch")
    found = choose([teacher, candidate("a", dev=0.5)], teacher.id, Limits(min_retention=0.5))
    assert not found.meets and found.shortfall["retention"].value is None
    assert f"quality on dev is {worth:.3f}: no share of it can be kept" in found.why
    assert "retention was not measured" in choose([TEACHER, candidate("a", dev=None)], TEACHER.id, Limits()).why


def test_a_limit_of_nothing_is_passed_by_the_whole_value():
    choice = choose([TEACHER, candidate("a")], TEACHER.id, Limits(0.0, max_mb=0.0))
    assert choice.shortfall["megabytes"].by == pytest.approx(1.0)


def test_the_baseline_and_what_is_only_shown_are_never_chosen():
    gpu = candidate("gpu", engine="pytorch-cuda", p50=0.01, dev=0.99)
    quick = candidate("teacher", engine="pytorch", p50=0.01)
    assert without_shown([gpu, TEACHER]) == [TEACHER] and pareto([gpu]) == ()
    assert chosen(gpu, candidate("a")) == "a/onnx"
    assert choose([quick, candidate("a")], quick.id, ANY).id == "a/onnx"
    assert choose([TEACHER, gpu], TEACHER.id, ANY).id is None


def test_a_rival_is_measured_and_never_chosen():
    rival, own = candidate("tf-idf", p50=0.1, size=1000, dev=0.99, rate=9e5, rival=True), candidate("a", dev=0.5)
    found = choose([TEACHER, rival, own], TEACHER.id, ANY)
    assert found.id == own.id and found.batch is not None and found.batch.id == own.id
    assert choose([TEACHER, rival], TEACHER.id, ANY).id is None


def test_of_two_that_are_equally_good_the_smaller_is_the_best_and_no_larger_one_is_named():
    small, quick = candidate("small", p50=1.05, size=500_000), candidate("quick", p50=1.0, size=1_000_000)
    found = choose([TEACHER, quick, small], TEACHER.id, ANY)
    assert found.id == small.id and found.reasons[0].kind == "choice_best"


def test_of_errors_the_smaller_one_is_on_the_front():
    good, bad = (replace(candidate(name), quality=Quality(value, metric="rmse")) for name, value in (("good", 0.1), ("bad", 0.9)))
    assert pareto([bad, good]) == (good.id,)
    assert pareto([replace(m, quality=replace(m.quality, metric="accuracy")) for m in (bad, good)]) == (bad.id,)


def test_the_front_leaves_out_what_another_beats_and_keeps_equals():
    a, same, larger = candidate("a"), candidate("b"), candidate("c", size=1_000_001)
    assert pareto([a, same, larger]) == ("a/onnx", "b/onnx")
    assert pareto([a, candidate("fast", p50=0.5, dev=0.8), candidate("small", size=1, p50=3.0), candidate("good", dev=0.95, p50=4.0)]) == (
        "a/onnx", "fast/onnx", "small/onnx", "good/onnx")  # fmt: skip
    for missing in ({"p50": None}, {"dev": None}, {"size": None}):
        assert pareto([candidate("x", **missing), candidate("worse", p50=9.0, dev=0.1, size=9_000_000)]) == ("worse/onnx",)


def family(float_p50: float | None = 1.0, int8_p50: float | None = 2.0, **more: Any) -> tuple[Measurement, Measurement]:
    return candidate("x", p50=float_p50), candidate("x+int8", p50=int8_p50, parent="x", steps=QUANTIZED, **more)


def test_a_parent_is_the_float_candidate_of_the_same_recipe_and_engine():
    parent, small = family()
    elsewhere = candidate("x", engine="openvino", p50=0.1)
    assert float_parent(small, [elsewhere, small, parent]) is parent
    assert float_parent(small, [elsewhere, small]) is None
    assert float_parent(parent, [parent, small]) is None
    twice = candidate("x", p50=3.0)
    assert float_parent(small, [parent, twice, small]) is None, "two of one name: nothing says which"
    assert float_parent(small, [candidate("x", steps=QUANTIZED), small]) is None, "a quantized one is no float parent"


@pytest.mark.parametrize(
    ("before", "own", "slower"), [(1.0, 2.0, True), (1.0, 1.0, False), (2.0, 1.0, False), (None, 1.0, False), (1.0, None, False)]
)
def test_slower_is_any_difference_that_was_measured(before: float | None, own: float | None, slower: bool):
    parent, small = family(before, own)
    assert (slower_than_parent(small, [parent, small]) is parent) is slower
    assert slowed_down(small, [parent, small]) is slower


@pytest.mark.parametrize("slower", [True, False])
def test_a_parent_that_was_not_measured_counts_by_what_was_timed_beside_it(slower: bool):
    parity = Parity(float_parent=SpeedBeside(slower=slower))
    parent, small = family(9.0, 1.0, parity=parity)
    assert slowed_down(small, [small]) is slower
    assert not slowed_down(small, [parent, small]), "what this run measured counts first"


def test_a_quantized_candidate_that_became_slower_is_passed_over_where_another_is_left():
    parent, small = family(1.0, 1.05, dev=0.95)
    assert chosen(parent, small) == "x/onnx"
    assert chosen(candidate("x", p50=1.05), candidate("x+int8", p50=1.0, dev=0.95, parent="x", steps=QUANTIZED)) == "x+int8/onnx"
    # the parent is too large: being slower is no reason against the only one that fits
    large = candidate("x", p50=0.5, size=5_000_000)
    assert chosen(large, small, limits=Limits(0.0, max_mb=2.0)) == "x+int8/onnx"
    assert without_slowed([small], [parent, small]) == [small]
    assert without_slowed([parent, small], [parent, small]) == [parent]


def test_nothing_is_left_out_where_nothing_would_be_left():
    lone = candidate("x+int8", parent="x", steps=QUANTIZED, parity=Parity(float_parent=SpeedBeside(slower=True)))
    assert without_slowed([lone], [lone]) == [lone]
    assert without_slowed([lone, candidate("y")], [lone, candidate("y")]) == [candidate("y")]


@pytest.mark.parametrize(("p50", "best"), [(0.3, "bag+int8/onnx"), (0.95, "layers-1/onnx")])
def test_one_that_int8_slowed_and_that_is_faster_than_all_others_stays(p50: float, best: str):
    bag = candidate("bag+int8", p50=p50, parent="bag", steps=QUANTIZED, parity=Parity(float_parent=SpeedBeside(slower=True)))
    # within a tenth of the other it is as fast, and passed over
    assert chosen(bag, candidate("layers-1", p50=1.0)) == best


def test_engines_are_named_where_a_recipe_has_several():
    one, other, lone = candidate("a", p50=1.0, rate=10.0), candidate("a", engine="openvino", p50=5.0, rate=50.0), candidate("b")
    engines = choose([TEACHER, one, other, lone], TEACHER.id, ANY).engines
    assert list(engines) == ["a"]
    assert (engines["a"].single.id, engines["a"].single.p50_ms) == ("a/onnx", 1.0)
    assert (engines["a"].batch.id, engines["a"].batch.items_per_s) == ("a/openvino", 50.0)


def test_the_reasons_hold_the_figures():
    parent, small = family(1.0, 2.0)
    choice = choose([TEACHER, parent, small], TEACHER.id, Limits(0.0, max_latency_ms=50.0, max_mb=50.0))
    kinds = {note.kind: dict(note.values) for note in choice.reasons}
    assert kinds["choice_best"] == {"meeting": 2, "count": 2, "id": "x/onnx"}
    assert kinds["choice_p50"] == {"p50": 1.0} and kinds["choice_kept"] == {"kept": pytest.approx(0.9)} and "choice_slower" not in kinds
    lone = choose([TEACHER, small, candidate("x", p50=1.0, size=60_000_000)], TEACHER.id, Limits(0.0, max_mb=50.0))
    assert {note.kind: dict(note.values) for note in lone.reasons}["choice_slower"] == {"parent": "x/onnx"}
    bare = choose([candidate("a", p50=None)], None, ANY)
    assert [note.kind for note in bare.reasons] == ["choice_best"]
    lacking = choose([TEACHER, candidate("a", p95=None)], TEACHER.id, Limits(0.95, max_latency_ms=1.0))
    assert [note.kind for note in lacking.reasons] == ["choice_closest", "choice_lacks_retention", "choice_not_measured"]
    assert dict(lacking.reasons[1].values) == {"value": pytest.approx(0.9), "limit": 0.95}


def test_what_is_gained_over_a_rival_is_said_in_points_with_both_ends_of_the_interval():
    rival = candidate("tf-idf", p50=0.5, size=3_000_000, rival=True)
    gained = OverRival(value=0.021, low=-0.004, high=0.046, id=rival.id)
    choice = choose([TEACHER, candidate("a", p50=1.5, size=2_000_000, over_rival=gained), rival], TEACHER.id, ANY)
    (said,) = [dict(note.values) for note in choice.reasons if note.kind == "choice_rival"]
    assert said == {
        "rival": "tf-idf/onnx", "points": pytest.approx(2.1), "low": pytest.approx(-0.4), "high": pytest.approx(4.6),
        "p50": 1.5, "rival_p50": 0.5, "mb": 2.0, "rival_mb": 3.0,
    }  # fmt: skip
    for lacking in (OverRival(id=rival.id), OverRival(value=0.021, id="another"), OverRival()):
        choice = choose([TEACHER, candidate("a", over_rival=lacking), rival], TEACHER.id, ANY)
        assert "choice_rival" not in [note.kind for note in choice.reasons]


def test_what_a_search_chose_is_the_choice_with_the_limits_that_it_does_not_keep():
    fast, good = candidate("fast", p50=1.0, p95=2.0, dev=0.95), candidate("good", p50=3.0, p95=6.0, dev=0.99)
    found = choose([TEACHER, fast, good], TEACHER.id, Limits(0.9, max_latency_ms=4.0), good.id)
    assert found.id == found.single.id == good.id and not found.meets and list(found.shortfall) == ["latency_p95_ms"]
    assert [note.kind for note in found.reasons] == ["choice_searched", "choice_lacks_latency_p95_ms"]
    kept = choose([TEACHER, fast, good], TEACHER.id, Limits(0.9), good.id)
    assert kept.id == good.id and kept.meets and kept.reasons[0].kind == "choice_searched"
    for unknown in ("other/onnx", TEACHER.id):
        assert choose([TEACHER, fast, good], TEACHER.id, Limits(0.9), unknown) == choose([TEACHER, fast, good], TEACHER.id, Limits(0.9))
