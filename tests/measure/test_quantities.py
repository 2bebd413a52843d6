"""Every quantity by name: where it stands, in which unit, and what its ratio to the baseline is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imbik.measure.measurement import Calibration, Latency, Measurement, Quality, Retention, Throughput
from imbik.measure.quantities import QUANTITIES, dev_merit, dev_retention, less_is_better, read

M = Measurement(
    "x/onnx",
    "x",
    "onnx",
    params=7,
    bytes=2_500_000,
    model_bytes=1_500_000,
    quality=Quality(0.8, 0.7, 0.9, metric="accuracy", split="test"),
    dev_quality=Quality(0.75, metric="accuracy", split="dev"),
    retention=Retention(0.95, 0.9, 0.99),
    agreement=0.875,
    calibration=Calibration(0.03),
    latency_ms=Latency(p50=2.0, p95=3.0, p99=5.0),
    throughput=Throughput(400.0),
    peak_rss_bytes=3_000_000,
    cold_start_s=0.5,
    cpu_s_per_1000=1.5,
)
BASE = replace(
    M,
    id="t/pytorch",
    engine="pytorch",
    dev_quality=Quality(0.8, metric="accuracy", split="dev"),
    latency_ms=Latency(p50=8.0),
    throughput=Throughput(100.0),
    cpu_s_per_1000=6.0,
)
VALUES = {
    "quality": 0.75, "agreement": 0.875, "ece": 0.03, "megabytes": 2.5, "model_megabytes": 1.5, "params": 7, "standalone": 1,
    "latency_p50_ms": 2, "latency_p95_ms": 3, "latency_p99_ms": 5, "items_per_s": 400, "peak_rss_mb": 3, "cold_start_s": 0.5,
    "cpu_s_per_1000": 1.5, "retention": 0.75 / 0.8, "speedup": 4, "throughput_gain": 4, "cpu_share": 0.25, "batch_hours": 2.5,
}  # fmt: skip


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_quantity_by_hand(name):
    assert read(name, M, BASE, 3_600_000).value == pytest.approx(VALUES[name])


def test_what_is_better_when_it_is_less():
    lower = {name for name, quantity in QUANTITIES.items() if quantity.better == "lower"}
    assert lower == {
        "ece", "megabytes", "model_megabytes", "params", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "peak_rss_mb",
        "cold_start_s", "cpu_s_per_1000", "batch_hours", "cpu_share",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["speedup", "throughput_gain", "cpu_share"])
def test_a_ratio_needs_both_sides(name):
    nothing = replace(M, latency_ms=Latency(), throughput=Throughput(), cpu_s_per_1000=None)
    assert read(name, M, None).value is None and read(name, nothing, BASE).value is None and read(name, M, nothing).value is None


def test_what_was_not_measured_is_no_number():
    bare = Measurement("y/onnx", "y", "onnx")
    known = {"standalone": 1.0}
    assert {name: read(name, bare, BASE, 10).value for name in QUANTITIES} == dict.fromkeys(QUANTITIES) | known
    assert read("batch_hours", M, BASE, None).value is None
    assert read("agreement", replace(M, agreement=0.0), BASE).value == 0.0, "nothing in common was measured"


def test_quality_and_retention_are_judged_on_dev_and_reported_on_test():
    for name, group in (("quality", M.quality), ("retention", M.retention)):
        reading = read(name, M, BASE)
        assert (reading.low, reading.high, reading.reported, reading.split) == (group.low, group.high, group.value, "dev")
        without = read(name, replace(M, dev_quality=Quality()), BASE)
        assert (without.value, without.split) == (group.value, "test")
    assert read("retention", M, None).value == 0.95 and read("quality", M, None).value == 0.75
    assert read("quality", replace(M, dev_quality=Quality(0.75)), BASE).split == "dev"


def erring(dev: float | None, test: float | None = None) -> Measurement:
    return replace(M, quality=Quality(test, metric=None if test is None else "rmse"), dev_quality=Quality(dev, metric="rmse"))


def test_errors_are_turned_round():
    assert less_is_better(erring(0.2)) and less_is_better(erring(None, 0.3)) and not less_is_better(M)
    assert dev_retention(erring(0.4), erring(0.2)) == pytest.approx(0.5) and dev_retention(M, BASE) == pytest.approx(0.9375)
    assert dev_retention(erring(0.0), erring(0.0)) == 1.0 and dev_retention(erring(0.1), erring(0.0)) == 0.0
    assert dev_merit(erring(0.2)) == -0.2 and dev_merit(M) == 0.75 and dev_merit(erring(None)) == -float("inf")


@pytest.mark.parametrize("base", [0.0, -0.1])
def test_a_baseline_that_is_worth_nothing_leaves_no_share(base):
    assert dev_retention(M, replace(BASE, dev_quality=Quality(base, metric="mcc"))) is None
    assert dev_retention(replace(M, dev_quality=Quality()), BASE) is None and dev_retention(M, replace(BASE, dev_quality=Quality())) is None
