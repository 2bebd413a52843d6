"""The Pareto front of a run and the choice under the user's limits: rules on measured numbers, nothing
learned, nothing hidden."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from imbik.measure.quantities import dev_merit, dev_retention, less_is_better
from imbik.types import Measurement

_TIE = 1.10  # single-request medians closer than this are one speed: they move as much from run to run
SHOWN_ONLY = ("pytorch-cuda",)  # engines that need a GPU and PyTorch: for comparison, never chosen, advised or priced
_QUANTIZED = re.compile(r"^(int8|int4|integer)")


def without_shown(measurements: Sequence[Measurement]) -> list[Measurement]:
    """The measurements without those of engines that are only shown (:data:`SHOWN_ONLY`)."""
    return [m for m in measurements if m.engine not in SHOWN_ONLY]


def pareto(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Ids of the candidates that no other beats on all of reported quality, single-request p50 and shipped
    bytes at once.

    a dominates b when a is nowhere worse and somewhere better. A candidate that lacks one of the three
    numbers, or is only shown (:data:`SHOWN_ONLY`), is not on the front and dominates nobody. The order is that
    of ``measurements``.
    """
    points = {m.id: p for m in without_shown(measurements) if (p := _point(m)) is not None}
    return tuple(i for i, point in points.items() if not any(_dominates(other, point) for other in points.values()))


def _point(m: Measurement) -> tuple[float, float, float] | None:
    """(-quality, p50, bytes): less is better in each; None where one was not measured."""
    quality, latency = m.quality.get("value"), m.latency_ms.get("p50")
    if quality is None or latency is None or m.bytes is None:
        return None
    return quality if less_is_better(m) else -quality, latency, m.bytes


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def float_parent(m: Measurement, measurements: Sequence[Measurement]) -> Measurement | None:
    """The candidate that ``m`` was before quantization, on the same engine, if it was measured too."""
    if not any("quantize" in step for step in m.steps):
        return None
    steps = tuple(step for step in m.steps if "quantize" not in step)
    name = "+".join(p for p in m.name.split("+") if not _QUANTIZED.match(p)) or "teacher"
    for other in measurements:
        same = other.name == name or (other.steps == steps and other.architecture == m.architecture)
        if other.engine == m.engine and other.id != m.id and same and not any("quantize" in s for s in other.steps):
            return other
    return None


def slower_than_parent(m: Measurement, measurements: Sequence[Measurement]) -> Measurement | None:
    """The float parent of ``m`` when quantizing made it slower for single requests on this machine, else
    None."""
    parent = float_parent(m, measurements)
    own, before = m.latency_ms.get("p50"), parent.latency_ms.get("p50") if parent else None
    return parent if own is not None and before is not None and own > before else None


def slowed_down(m: Measurement, measurements: Sequence[Measurement]) -> bool:
    """Whether quantizing made ``m`` slower for single requests on this machine: than its float parent among the
    measurements, or, where that was not measured, than the one it was timed beside when it was made."""
    if float_parent(m, measurements) is not None:
        return slower_than_parent(m, measurements) is not None
    return bool(((m.parity or {}).get("float_parent") or {}).get("slower"))


def without_slowed(pool: Sequence[Measurement], measurements: Sequence[Measurement]) -> list[Measurement]:
    """``pool`` without quantized candidates that speed speaks against: slower than their float parent, where that is in the pool
    too or was not measured. All of it when nothing would be left."""

    def stays(m: Measurement) -> bool:
        parent = float_parent(m, measurements)
        return not slowed_down(m, measurements) or (parent is not None and parent not in pool)

    return [m for m in pool if stays(m)] or list(pool)


def choose(
    measurements: Sequence[Measurement],
    baseline: str | None,
    min_retention: float = 0.97,
    max_latency_ms: float | None = None,
    max_mb: float | None = None,
) -> dict[str, Any]:
    """The candidate to ship under the limits, with the reason.

    Limits: dev quality over the baseline's (point estimates) is at least ``min_retention``; single-request
    p95 is at most ``max_latency_ms`` (a promise to users, so not the median); everything shipped is at most
    ``max_mb`` million bytes.

    Rule: of the candidates that meet every limit the fastest single request (p50); those within 10 % of the
    fastest count as equally fast, and of them the best on dev wins, then the fewest bytes. A quantized
    candidate that is slower than its own float parent is passed over when that parent meets the limits too, or
    was not measured and another candidate meets them.
    If nobody meets the limits: the smallest sum of relative shortfalls.

    Args:
        measurements: the whole run.
        baseline: id of its baseline, which is never chosen itself; nor is what is only shown (:data:`SHOWN_ONLY`).

    Returns:
        ``id`` (None: nothing was measured), ``meets``, ``why`` (a sentence), ``limits`` as given and ``shortfall``: quantity ->
        ``limit``, ``value``, ``by``. ``single`` and ``batch``: the best for single requests (which is ``id``) and for batches;
        ``engines``: the same for each recipe that was measured on several engines.
    """
    limits = {"min_retention": min_retention, "max_latency_ms": max_latency_ms, "max_mb": max_mb}
    teacher = next((m for m in measurements if m.id == baseline), None)
    candidates = [m for m in without_shown(measurements) if m.id != baseline]
    if not candidates:
        return {"id": None, "meets": False, "why": "No candidate was measured.", "shortfall": {}, "limits": limits}
    short = {m.id: _shortfall(m, teacher, limits) for m in candidates}
    meeting = [m for m in candidates if not short[m.id]]
    if not meeting:
        best = min(candidates, key=lambda m: (sum(s["by"] for s in short[m.id].values()), _p50(m), m.id))
        why = f"Nothing meets the limits. {best.id} comes closest: {_said(short[best.id])}."
        uses = {"single": _single(best), "batch": _batch(best), "engines": _engines(candidates, teacher)}
        return {"id": best.id, "meets": False, "why": why, "shortfall": short[best.id], "limits": limits, **uses}
    best = _fastest(without_slowed(meeting, measurements), teacher)
    why = _why(best, teacher, len(meeting), len(candidates), slower_than_parent(best, measurements))
    uses = {"single": _single(best), "batch": _batch(_busiest(meeting, teacher)), "engines": _engines(candidates, teacher)}
    return {"id": best.id, "meets": True, "why": why, "shortfall": {}, "limits": limits, **uses}


def _p50(m: Measurement) -> float:
    return float(m.latency_ms.get("p50", None) or float("inf"))


def _rate(m: Measurement) -> float:
    return float(m.throughput.get("items_per_s", None) or 0.0)


def _single(m: Measurement) -> dict[str, Any]:
    return {"id": m.id, "p50_ms": m.latency_ms.get("p50")}


def _batch(m: Measurement) -> dict[str, Any]:
    return {"id": m.id, "items_per_s": m.throughput.get("items_per_s")}


def _engines(candidates: Sequence[Measurement], teacher: Measurement | None) -> dict[str, dict[str, Any]]:
    """Recipe -> its best engine for single requests and for batches, of recipes measured on several engines."""
    found = {}
    for name in dict.fromkeys(m.name for m in candidates):
        same = [m for m in candidates if m.name == name]
        if len(same) > 1:
            found[name] = {"single": _single(_fastest(same, teacher)), "batch": _batch(_busiest(same, teacher))}
    return found


def _fastest(candidates: Sequence[Measurement], teacher: Measurement | None) -> Measurement:
    """The rule of :func:`choose` among those that meet the limits."""
    bar = min(_p50(m) for m in candidates) * _TIE
    return _best_on_dev([m for m in candidates if _p50(m) <= bar], teacher)


def _busiest(candidates: Sequence[Measurement], teacher: Measurement | None) -> Measurement:
    """The same rule for batches: of those within 10 % of the highest throughput the best on dev."""
    bar = max(_rate(m) for m in candidates) / _TIE
    return _best_on_dev([m for m in candidates if _rate(m) >= bar], teacher)


def _best_on_dev(tied: Sequence[Measurement], teacher: Measurement | None) -> Measurement:
    quality = {m.id: dev_merit(m) if teacher else 0.0 for m in tied}
    return min(tied, key=lambda m: (-quality[m.id], m.bytes or float("inf"), _p50(m), m.id))


def _shortfall(m: Measurement, teacher: Measurement | None, limits: Mapping[str, float | None]) -> dict[str, dict[str, Any]]:
    """Per limit that is not kept: the limit, the value (None: not measured) and the relative distance (1.0
    when not measured)."""
    retention = dev_retention(m, teacher) if teacher else None
    size = None if m.bytes is None else m.bytes / 1e6
    found: dict[str, dict[str, Any]] = {}
    for name, value, limit, sign in (
        ("retention", retention, limits["min_retention"] if teacher else None, -1),
        ("latency_p95_ms", m.latency_ms.get("p95"), limits["max_latency_ms"], 1),
        ("megabytes", size, limits["max_mb"], 1),
    ):
        if limit is None:
            continue
        by = 1.0 if value is None else sign * (value - limit) / limit if limit else float(value)
        if value is None or by > 0:
            found[name] = {"limit": limit, "value": value, "by": by}
    return found


def _said(short: Mapping[str, Mapping[str, Any]]) -> str:
    """The shortfalls in words."""
    words = {
        "retention": "keeps {:.1%} of the baseline on dev, {:.1%} asked",
        "latency_p95_ms": "answers within {:.2f} ms (p95), {:.2f} ms asked",
        "megabytes": "ships {:.1f} MB, {:.1f} MB asked",
    }
    parts = []
    for name, s in short.items():
        parts.append(f"{name} was not measured" if s["value"] is None else words[name].format(s["value"], s["limit"]))
    return "; ".join(parts)


def _why(best: Measurement, teacher: Measurement | None, meeting: int, candidates: int, parent: Measurement | None) -> str:
    """Why ``best`` was chosen, in a sentence or three."""
    kept = dev_retention(best, teacher) if teacher else None
    text = f"{meeting} of {candidates} candidates meet the limits; of the fastest (within 10 %), "
    text += f"{best.id} is the best on dev"
    if best.latency_ms.get("p50") is not None:
        text += f": p50 {best.latency_ms['p50']:.2f} ms"
    if kept is not None:
        text += f", {kept:.1%} of the baseline kept"
    text += "."
    if parent is not None:
        text += f" It is slower than its float parent {parent.id}, which does not meet the limits; "
        text += "it is not chosen for its speed."
    return text
