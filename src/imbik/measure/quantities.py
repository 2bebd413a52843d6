"""The measured quantities that a scenario, a decision or a report may name: where each stands in a
measurement, in which unit, which direction is better, and how far it holds (everywhere, on the machine that
measured it, or only as a stand-in)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

from imbik.measure.measurement import Measurement
from imbik.runtime.engines.registry import standalone
from imbik.tasks.registry import less_is_better as _is_error

Kind = Literal["quality", "property", "machine", "proxy"]


@dataclass(frozen=True)
class Quantity:
    """One name that requirements may use.

    Attributes:
        path: where it stands in a measurement, dotted; None for a derived quantity (see :func:`read`).
        better: which direction is an improvement.
        kind: ``quality`` (measured on the task's data, the same on every machine), ``property`` (of the
            files), ``machine`` (holds where it was measured), ``proxy`` (stands in for something that was not
            measured, e.g. CPU time for battery).
        unit: ``share``, ``ms``, ``s``, ``hours``, ``mb``, ``per_s``, ``times``, ``flag``, ``number``.
        scale: the number in the file times this is in ``unit``.
    """

    path: str | None
    better: Literal["higher", "lower"]
    kind: Kind
    unit: str
    scale: float = 1.0


QUANTITIES: Mapping[str, Quantity] = {
    "retention": Quantity("retention.value", "higher", "quality", "share"),
    "quality": Quantity("quality.value", "higher", "quality", "share"),
    "agreement": Quantity("agreement", "higher", "quality", "share"),
    "ece": Quantity("calibration.ece", "lower", "quality", "number"),
    "megabytes": Quantity("bytes", "lower", "property", "mb", 1e-6),
    "model_megabytes": Quantity("model_bytes", "lower", "property", "mb", 1e-6),
    "params": Quantity("params", "lower", "property", "number"),
    "standalone": Quantity(None, "higher", "property", "flag"),
    "latency_p50_ms": Quantity("latency_ms.p50", "lower", "machine", "ms"),
    "latency_p95_ms": Quantity("latency_ms.p95", "lower", "machine", "ms"),
    "latency_p99_ms": Quantity("latency_ms.p99", "lower", "machine", "ms"),
    "items_per_s": Quantity("throughput.items_per_s", "higher", "machine", "per_s"),
    "speedup": Quantity(None, "higher", "machine", "times"),
    "throughput_gain": Quantity(None, "higher", "machine", "times"),
    "peak_rss_mb": Quantity("peak_rss_bytes", "lower", "machine", "mb", 1e-6),
    "cold_start_s": Quantity("cold_start_s", "lower", "machine", "s"),
    "cpu_s_per_1000": Quantity("cpu_s_per_1000", "lower", "machine", "s"),
    "batch_hours": Quantity(None, "lower", "machine", "hours"),
    "cpu_share": Quantity(None, "lower", "proxy", "share"),
}

_STEADY = 2.0
"""Rounds of one candidate that differ by more than this say that something else ran, and not that the candidate is slow."""


@dataclass(frozen=True)
class Reading:
    """A quantity of one candidate.

    Attributes:
        value: what is judged; None when it was not measured. Quality and retention are judged on dev, where a
            dev figure exists.
        low, high: the 95 % interval on the reported split, where there is one.
        reported: the point estimate on the reported split that goes with the interval.
        split: what ``value`` was measured on, for quality and retention.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reported: float | None = None
    split: str | None = None


def number(m: Measurement, path: str) -> float | None:
    """Return the number at a dotted ``path`` of a measurement, such as ``latency_ms.p50``, or None."""
    value = attrgetter(path)(m)
    return None if value is None else float(value)


def read(name: str, m: Measurement, baseline: Measurement | None, items_per_batch: float | None = None) -> Reading:
    """Return the quantity ``name`` of ``m``.

    Derived ones: ``speedup`` = p50 of the baseline / p50; ``throughput_gain`` = items/s / items/s of the
    baseline; ``cpu_share`` = CPU seconds per item / the baseline's; ``batch_hours`` =
    ``items_per_batch`` / items/s / 3600; ``standalone`` = 1 when the candidate runs without
    PyTorch, else 0.
    """
    if name in ("retention", "quality"):
        return _judged_on_dev(name, m, baseline)
    quantity = QUANTITIES[name]
    if quantity.path:
        value = number(m, quantity.path)
        return Reading(None if value is None else value * quantity.scale)
    return Reading(_derived(name, m, baseline, items_per_batch))


def _judged_on_dev(name: str, m: Measurement, baseline: Measurement | None) -> Reading:
    """Return retention or quality: judged by the dev figure, with the reported figure and its interval beside it."""
    reported = m.retention if name == "retention" else m.quality
    if name == "retention":
        dev = dev_retention(m, baseline) if baseline else None
    else:
        dev = m.dev_quality.value
    # chosen by dev, reported on test: a test figure that is chosen by would be too good
    value = reported.value if dev is None else dev
    split = m.quality.split if dev is None else m.dev_quality.split or "dev"
    return Reading(value, reported.low, reported.high, reported.value, split)


def _derived(name: str, m: Measurement, baseline: Measurement | None, items_per_batch: float | None) -> float | None:
    if name == "standalone":
        return float(standalone(m.engine))
    if name == "batch_hours":
        rate = m.throughput.items_per_s
        return items_per_batch / rate / 3600 if items_per_batch and rate else None
    path, upside_down = {
        "speedup": ("latency_ms.p50", True),
        "throughput_gain": ("throughput.items_per_s", False),
        "cpu_share": ("cpu_s_per_1000", False),
    }[name]
    own, base = number(m, path), number(baseline, path) if baseline else None
    if not own or not base:
        return None
    # a time is better when lower, so its gain is the baseline's over the candidate's
    return base / own if upside_down else own / base


def least_steady(measurements: Iterable[Measurement]) -> Measurement | None:
    """Return the candidate whose rounds differ most, or None where every candidate's agree well enough (by :data:`_STEADY`)."""
    worst = max(measurements, key=lambda m: m.throughput.unsteadiness or 0.0, default=None)
    return worst if worst is not None and (worst.throughput.unsteadiness or 0.0) > _STEADY else None


def less_is_better(m: Measurement) -> bool:
    """Return whether the task's metric is an error (rmse)."""
    return _is_error((m.quality if m.quality else m.dev_quality).metric)


def dev_merit(m: Measurement) -> float:
    """Return a number that is higher when the quality on dev is better; lowest where it was not measured."""
    value = m.dev_quality.value
    if value is None:
        return -math.inf
    return -float(value) if less_is_better(m) else float(value)


def dev_retention(m: Measurement, baseline: Measurement) -> float | None:
    """Return quality on dev over the baseline's on dev, point estimates.

    For an error such as rmse: the baseline's over its own; an error of 0 keeps everything. None where either is missing or the
    baseline's is not above 0.
    """
    own, base = m.dev_quality.value, baseline.dev_quality.value
    if own is None or base is None:
        return None
    if less_is_better(m):
        if own == 0:
            return 1.0
        own, base = base, own
    return None if base <= 0 else float(own / base)
