"""The Pareto front of a run and the choice under the user's limits: rules on measured numbers, nothing
learned, nothing hidden."""

from __future__ import annotations

from collections.abc import Sequence

from imbik.advise.shortfall import lacking, shortfalls_of
from imbik.locale.notes import sentence
from imbik.measure.measurement import Measurement
from imbik.measure.quantities import dev_merit, dev_retention, less_is_better
from imbik.measure.values import Choice, Limits, Use, Uses
from imbik.runtime.engines.registry import shown_only
from imbik.types import Note

_TIE = 1.10  # single-request medians closer than this are one speed: they move as much from run to run
_HALF, _NORMAL_95 = 0.5, 2 * 1.96  # a 95 % interval is so many standard errors wide


def without_shown(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Return the measurements without those of engines that are only shown, never chosen."""
    return [m for m in measurements if not shown_only(m.engine)]


def pareto(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Return the ids of the candidates that no other beats on all of reported quality, single-request p50 and shipped
    bytes at once.

    a dominates b when a is nowhere worse and somewhere better. A candidate that lacks one of the three
    numbers, or whose engine is only shown, is not on the front and dominates nobody. The order is that
    of ``measurements``.
    """
    points = {m.id: p for m in without_shown(measurements) if (p := _point(m)) is not None}
    return tuple(i for i, point in points.items() if not any(_dominates(other, point) for other in points.values()))


def _point(m: Measurement) -> tuple[float, float, float] | None:
    """Return (-quality, p50, bytes), less is better in each; None where one was not measured."""
    quality, latency = m.quality.value, m.latency_ms.p50
    if quality is None or latency is None or m.bytes is None:
        return None
    return -goodness(m, quality), latency, m.bytes


def goodness(m: Measurement, quality: float) -> float:
    """Return a quality of ``m``'s metric such that more is better: the negative of an error."""
    return -quality if less_is_better(m) else quality


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    # without the second half two equal candidates would each remove the other
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def float_parent(m: Measurement, measurements: Sequence[Measurement]) -> Measurement | None:
    """Return the candidate that ``m`` was before quantization, on the same engine, if it was measured too."""
    if m.parent is None:
        return None
    twins = [other for other in measurements if other.name == m.parent and other.engine == m.engine and not other.quantized]
    # two of one name and engine: nothing says which one it was made of
    return twins[0] if len(twins) == 1 else None


def slower_than_parent(m: Measurement, measurements: Sequence[Measurement]) -> Measurement | None:
    """Return the float parent of ``m`` when quantizing made it slower for single requests on this machine, else
    None."""
    parent = float_parent(m, measurements)
    own, before = m.latency_ms.p50, parent.latency_ms.p50 if parent else None
    # any difference counts here; what is a tie is the choice's business
    return parent if own is not None and before is not None and own > before else None


def slowed_down(m: Measurement, measurements: Sequence[Measurement]) -> bool:
    """Return whether quantizing made ``m`` slower for single requests on this machine: than its float parent among the
    measurements, or, where that was not measured, than the one it was timed beside when it was made."""
    if float_parent(m, measurements) is not None:
        return slower_than_parent(m, measurements) is not None
    return bool(m.parity.float_parent and m.parity.float_parent.slower)


def without_slowed(pool: Sequence[Measurement], measurements: Sequence[Measurement]) -> list[Measurement]:
    """Return ``pool`` without quantized candidates that speed speaks against: slower than their float parent, where that is in the pool
    too or was not measured. All of it when nothing would be left; one that is faster than all that would be left stays."""

    def stays(m: Measurement) -> bool:
        parent = float_parent(m, measurements)
        return not slowed_down(m, measurements) or (parent is not None and parent not in pool)

    left = [m for m in pool if stays(m)] or list(pool)
    # a table of vectors that int8 slows by a hundredth must not give way to a Transformer of three times its latency
    fastest = min(_p50(m) for m in left)
    return [m for m in pool if m in left or _p50(m) * _TIE < fastest]


def choose(measurements: Sequence[Measurement], baseline: str | None, limits: Limits | None = None, searched: str | None = None) -> Choice:
    """Choose the candidate to ship under the limits, with the reason.

    Limits: dev quality over the baseline's (point estimates) is at least ``min_retention``; single-request
    p95 is at most ``max_latency_ms`` (a promise to users, so not the median); everything shipped is at most
    ``max_mb`` million bytes.

    Rule: of the candidates that meet every limit the fastest single request (p50); those within 10 % of the
    fastest count as equally fast, and of them those whose quality on dev is less than half a standard error below
    the best as equally good: the fewest bytes win. A quantized
    candidate that is slower than its own float parent is passed over when that parent meets the limits too, or
    was not measured and another candidate that meets them is as fast.
    If nobody meets the limits: the smallest sum of relative shortfalls.

    Args:
        measurements: the whole run.
        baseline: id of its baseline, which is never chosen itself; nor is a rival, nor what runs on an engine that is only shown.
        limits: None: 97 % of the baseline's quality, nothing else.
        searched: id of the candidate that ``imbik search`` chose: it is the choice here too, with the limits that it does not keep by this
            rule, such as that of p95; None, or one that was not measured: the rule chooses.
    """
    limits = limits or Limits()
    teacher = next((m for m in measurements if m.id == baseline), None)
    candidates = [m for m in without_shown(measurements) if m.id != baseline and not m.rival]
    if not candidates:
        nothing = Note.of("choice_none")
        return Choice(id=None, meets=False, why=sentence(nothing), reasons=(nothing,), limits=limits)
    shortfalls = {m.id: shortfalls_of(m, teacher, limits) for m in candidates}
    meeting = [m for m in candidates if not shortfalls[m.id]]
    given = next((m for m in candidates if m.id == searched), None)
    if given is not None:
        chosen = batch = given
        said = lacking(shortfalls[given.id], given, teacher) or _reasons(given, teacher, None)
        reasons = (Note.of("choice_searched", id=given.id), *said)
    elif meeting:
        pool = without_slowed(meeting, measurements)
        chosen = _fastest(pool, teacher)
        batch = _busiest(meeting, teacher)
        reasons = (
            _why(chosen, _leader(_as_fast(pool), teacher), len(meeting), len(candidates)),
            *_reasons(chosen, teacher, slower_than_parent(chosen, measurements)),
        )
    else:
        chosen = batch = min(candidates, key=lambda m: (sum(s.by or 0.0 for s in shortfalls[m.id].values()), _p50(m), m.id))
        reasons = (Note.of("choice_closest", id=chosen.id), *lacking(shortfalls[chosen.id], chosen, teacher))
    reasons = (*reasons, *_beside_rival(chosen, measurements))
    return Choice(
        id=chosen.id,
        meets=not shortfalls[chosen.id],
        why=" ".join(sentence(reason) for reason in reasons),
        reasons=reasons,
        limits=limits,
        shortfall=shortfalls[chosen.id],
        single=_single(chosen),
        batch=_batch(batch),
        engines=_engines(candidates, teacher),
    )


def _p50(m: Measurement) -> float:
    return m.latency_ms.p50 or float("inf")


def _rate(m: Measurement) -> float:
    return m.throughput.items_per_s or 0.0


def _single(m: Measurement) -> Use:
    return Use(m.id, p50_ms=m.latency_ms.p50)


def _batch(m: Measurement) -> Use:
    return Use(m.id, items_per_s=m.throughput.items_per_s)


def _engines(candidates: Sequence[Measurement], teacher: Measurement | None) -> dict[str, Uses]:
    """Return the best engine of each recipe for single requests and for batches, of recipes measured on several engines."""
    uses = {}
    for name in dict.fromkeys(m.name for m in candidates):
        same = [m for m in candidates if m.name == name]
        if len(same) > 1:
            uses[name] = Uses(_single(_fastest(same, teacher)), _batch(_busiest(same, teacher)))
    return uses


def _fastest(candidates: Sequence[Measurement], teacher: Measurement | None) -> Measurement:
    """Return the best for single requests: of those within 10 % of the fastest the smallest that dev cannot tell from the best."""
    return _smallest_alike(_as_fast(candidates), teacher)


def _as_fast(candidates: Sequence[Measurement]) -> list[Measurement]:
    """Return those within 10 % of the fastest."""
    # one bar from the fastest: pairwise ties would chain from one candidate to a far slower one
    bar = min(_p50(m) for m in candidates) * _TIE
    return [m for m in candidates if _p50(m) <= bar]


def _busiest(candidates: Sequence[Measurement], teacher: Measurement | None) -> Measurement:
    """Return the best for batches by the same rule: of those within 10 % of the highest throughput."""
    bar = max(_rate(m) for m in candidates) / _TIE
    return _smallest_alike([m for m in candidates if _rate(m) >= bar], teacher)


def _smallest_alike(tied: Sequence[Measurement], teacher: Measurement | None) -> Measurement:
    """Return the smallest of those that dev cannot tell from the best."""
    best = _leader(tied, teacher)
    alike = [m for m in tied if _merit(m, teacher) >= _merit(best, teacher) - _unseen(best)]
    # the id last: the same measurements always give the same choice
    return min(alike, key=lambda m: (m.bytes or float("inf"), -_merit(m, teacher), _p50(m), m.id))


def _leader(tied: Sequence[Measurement], teacher: Measurement | None) -> Measurement:
    """Return the best on dev; of equals the smallest."""
    return min(tied, key=lambda m: (-_merit(m, teacher), m.bytes or float("inf"), _p50(m), m.id))


def _merit(m: Measurement, teacher: Measurement | None) -> float:
    return dev_merit(m) if teacher else 0.0


def _unseen(m: Measurement) -> float:
    """Return a difference in quality that dev does not show: half a standard error, from its 95 % interval; 0 where there is none."""
    low, high = m.dev_quality.low, m.dev_quality.high
    return 0.0 if low is None or high is None else _HALF * (high - low) / _NORMAL_95


def _why(chosen: Measurement, best: Measurement, meeting: int, candidates: int) -> Note:
    """Return how ``chosen`` stands among the fastest, of which ``best`` has the highest quality on dev."""
    if best.id == chosen.id:
        return Note.of("choice_best", meeting=meeting, count=candidates, id=chosen.id)
    return Note.of("choice_alike", meeting=meeting, count=candidates, id=chosen.id, best=best.id)


def _reasons(chosen: Measurement, teacher: Measurement | None, parent: Measurement | None) -> tuple[Note, ...]:
    """Return what ``chosen`` gives."""
    kept = dev_retention(chosen, teacher) if teacher else None
    notes = []
    if chosen.latency_ms.p50 is not None:
        notes.append(Note.of("choice_p50", p50=chosen.latency_ms.p50))
    if kept is not None:
        notes.append(Note.of("choice_kept", kept=kept))
    if parent is not None:
        notes.append(Note.of("choice_slower", parent=parent.id))
    return tuple(notes)


def _beside_rival(chosen: Measurement, measurements: Sequence[Measurement]) -> tuple[Note, ...]:
    """Return what ``chosen`` has over the best of what a user would try first, in quality and in cost."""
    gained = chosen.over_rival
    rival = next((m for m in measurements if m.id == gained.id), None)
    if rival is None or gained.value is None:
        return ()
    note = Note.of(
        "choice_rival",
        rival=rival.id,
        points=100 * gained.value,
        low=100 * (gained.low or 0.0),
        high=100 * (gained.high or 0.0),
        p50=chosen.latency_ms.p50 or 0.0,
        rival_p50=rival.latency_ms.p50 or 0.0,
        mb=(chosen.bytes or 0) / 1e6,
        rival_mb=(rival.bytes or 0) / 1e6,
    )
    return (note,)
