"""Which candidate fits a deployment: every requirement judged on what was measured, with its margin, its
interval and its origin.

No verdict rests on an unmarked assumption. Each one says where its number comes from: ``here`` (measured by
this run, on this machine), ``device`` (a file that ``imbik measure`` wrote on the target device),
``property`` (of the files, true everywhere), ``data`` (quality, true wherever the same predictions are made),
``proxy`` (stands in for something that was not measured) or ``none``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imbik.advise.choice import goodness, pareto, without_shown, without_slowed
from imbik.advise.profiles import same_task
from imbik.advise.scenario import Preference, Scenario
from imbik.advise.sentences import needs, reasons
from imbik.advise.verdict import ORDER, ORIGIN, Advice, CandidateVerdict, Verdict, judge, overall, score
from imbik.errors import UserError
from imbik.locale.phrases import Phrases
from imbik.measure.measurement import Measurement
from imbik.measure.quantities import QUANTITIES, Reading, read
from imbik.measure.results import Results


def reading_of(name: str, m: Measurement, results: Results, scenario: Scenario, devices: Sequence[Results]) -> Reading:
    """Return the quantity where it counts: on the target device if the scenario has one and the quantity depends on the machine (empty
    without a profile of it), else as this run measured it. A ratio to the teacher needs the teacher in the same profile: times of two
    machines are never divided by each other."""
    if not (scenario.target and QUANTITIES[name].kind == "machine"):
        return read(name, m, results.get(results.baseline), scenario.volume.items_per_batch)
    for profile in devices:
        there = profile.get(m.id)
        # ids are recipe and engine, which runs of two tasks share: the labels tell them apart
        if there is not None and same_task(profile, results):
            return read(name, there, profile.get(results.baseline), scenario.volume.items_per_batch)
    return Reading(None)


def verdicts_of(m: Measurement, results: Results, scenario: Scenario, devices: Sequence[Results] = ()) -> tuple[Verdict, ...]:
    """Return every requirement of ``scenario`` judged for ``m``; where the scenario names a target device, what
    depends on the machine is taken from ``devices`` (matched by id) and is *not measured* without them."""
    target = scenario.target
    found = []
    for requirement in scenario.requirements:
        name = requirement.quantity
        kind, hint = QUANTITIES[name].kind, None
        if kind == "machine" and target:
            # this machine's figure is shown beside "not measured" and never judged: it is another
            # machine's
            hint = read(name, m, results.get(results.baseline), scenario.volume.items_per_batch).value
        origin = "device" if kind == "machine" and target else ORIGIN[kind]
        if kind == "quality" and results.data.quality == "published":
            origin = "published"
        found.append(judge(requirement, reading_of(name, m, results, scenario, devices), origin, hint))
    return tuple(found)


def advise(results: Results, scenario: Scenario, devices: Sequence[Results] = (), lang: str = "en", texts: Phrases | None = None) -> Advice:
    """Judge every candidate against ``scenario`` and name the one that fits best.

    Of the best overall verdict there is (fit, then caution, then open, then unfit) the scenario's preferences
    decide, one after the other: each keeps the candidates within its tolerance of the best. Where nobody
    fits, the highest score, then the smallest weighted shortfall. The baseline and rivals are judged too, and never
    chosen; what runs on an engine that is only shown is not judged.

    Args:
        devices: results that ``imbik measure`` wrote on the target device.
        lang: language of the sentences; ``texts`` instead of it where they are written into something other
            than plain text (the report).

    Returns:
        Advice with a verdict on every candidate.

    Raises:
        UserError: there is no measured candidate to judge.
    """
    judged = without_shown(results.measurements)
    candidates = [m for m in judged if m.id != results.baseline and not m.rival]
    if not candidates:
        where = results.path or "results.json"
        raise UserError(
            "no candidate was measured",
            where=where,
            fix="run imbik compress; its failures are listed in the same file",
        )
    texts = texts or Phrases(lang, images=results.of_images)
    table: dict[str, CandidateVerdict] = {}
    for m in judged:
        verdicts = verdicts_of(m, results, scenario, devices)
        table[m.id] = CandidateVerdict(
            overall=overall(verdicts),
            score=score(verdicts),
            requirements=verdicts,
            needs=needs(verdicts, texts, scenario),
        )
    chosen = _choose(candidates, table, results, scenario, devices)
    return Advice(chosen.id, table, reasons(chosen, table, results, scenario, texts), pareto(results.measurements))


def _choose(
    candidates: Sequence[Measurement],
    table: Mapping[str, CandidateVerdict],
    results: Results,
    scenario: Scenario,
    devices: Sequence[Results],
) -> Measurement:
    """Return the candidate of :func:`advise`'s rule."""
    best = min((table[m.id].overall for m in candidates), key=ORDER.index)
    pool = [m for m in candidates if table[m.id].overall == best]
    # preferences choose among those that fit; here nearness to the limits is all that counts
    if best == "unfit":
        return max(pool, key=lambda m: (table[m.id].score, -_shortfall(table[m.id].requirements)))
    preferences = scenario.prefer or (Preference("quality", within=0.01), Preference("latency_p50_ms"))
    # where size is what matters most, a slower quantized model is still the smaller one
    if QUANTITIES[preferences[0].quantity].kind != "property":
        pool = without_slowed(pool, results.measurements)
    for preference in preferences:
        pool = _closest(pool, preference, results, scenario, devices)
    return pool[0]


def _closest(
    pool: list[Measurement], preference: Preference, results: Results, scenario: Scenario, devices: Sequence[Results]
) -> list[Measurement]:
    """Keep the candidates within a share of the best; keep all if none has the quantity."""
    name = preference.quantity
    values = {m.id: reading_of(name, m, results, scenario, devices).value for m in pool}
    known = {i: value for i, value in values.items() if value is not None}
    if not known:
        return pool
    if name == "quality":
        good = {m.id: goodness(m, known[m.id]) for m in pool if m.id in known}
    else:
        good = {i: -value if QUANTITIES[name].better == "lower" else value for i, value in known.items()}
    best = max(good.values())
    # abs: `good` is negative for what is better when lower
    slack = abs(best) * preference.within
    # 1e-12: the best itself must not fall to rounding
    return [m for m in pool if m.id in good and good[m.id] - best >= -slack - 1e-12]


def _shortfall(verdicts: Sequence[Verdict]) -> float:
    return sum(v.weight * -v.headroom for v in verdicts if v.headroom is not None and v.headroom < 0)
