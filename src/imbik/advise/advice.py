"""Which candidate fits a deployment: every requirement judged on what was measured, with its margin, its
interval and its origin.

No verdict rests on an unmarked assumption. Each one says where its number comes from: ``here`` (measured by
this run, on this machine), ``device`` (a file that ``imbik measure`` wrote on the target device),
``property`` (of the files, true everywhere), ``data`` (quality, true wherever the same predictions are made),
``proxy`` (stands in for something that was not measured) or ``none``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imbik.advise.choice import pareto, without_shown, without_slowed
from imbik.advise.profiles import same_task
from imbik.advise.sentences import needs, reasons
from imbik.advise.verdict import _ORIGIN, ORDER, Verdict, judge, overall, score
from imbik.errors import UserError
from imbik.locale.phrases import Phrases
from imbik.measure.quantities import QUANTITIES, Reading, less_is_better, read
from imbik.measure.results import Results
from imbik.types import Advice, Measurement, Scenario


def reading_of(name: str, m: Measurement, results: Results, scenario: Scenario, devices: Sequence[Results]) -> Reading:
    """The quantity where it counts: on the target device if the scenario has one and the quantity depends on the machine (empty
    without a profile of it), else as this run measured it. A ratio to the teacher needs the teacher in the same profile: times of two
    machines are never divided by each other."""
    if not (scenario.about.get("target") and QUANTITIES[name].kind == "machine"):
        return read(name, m, results.get(results.baseline), scenario.volume)
    for profile in devices:
        there = profile.get(m.id)
        if there is not None and same_task(profile, results):
            return read(name, there, profile.get(results.baseline), scenario.volume)
    return Reading(None)


def verdicts_of(m: Measurement, results: Results, scenario: Scenario, devices: Sequence[Results] = ()) -> tuple[Verdict, ...]:
    """Every requirement of ``scenario`` judged for ``m``; where the scenario names a target device, what
    depends on the machine is taken from ``devices`` (matched by id) and is *not measured* without them."""
    target = scenario.about.get("target")
    found = []
    for requirement in scenario.requirements:
        name = requirement["quantity"]
        kind, hint = QUANTITIES[name].kind, None
        if kind == "machine" and target:
            hint = read(name, m, results.get(results.baseline), scenario.volume).value
        origin = "device" if kind == "machine" and target else _ORIGIN[kind]
        if kind == "quality" and results.data.get("quality") == "published":
            origin = "published"
        found.append(judge(requirement, reading_of(name, m, results, scenario, devices), origin, hint))
    return tuple(found)


def advise(results: Results, scenario: Scenario, devices: Sequence[Results] = (), lang: str = "en", texts: Phrases | None = None) -> Advice:
    """Judge every candidate against ``scenario`` and name the one that fits best.

    Of the best overall verdict there is (fit, then caution, then open, then unfit) the scenario's preferences
    decide, one after the other: each keeps the candidates within its tolerance of the best. Where nobody
    fits, the highest score, then the smallest weighted shortfall. The baseline is judged too, and never
    chosen; what runs on an engine that is only shown is not judged.

    Args:
        devices: results that ``imbik measure`` wrote on the target device.
        lang: language of the sentences; ``texts`` instead of it where they are written into something other
            than plain text (the report).

    Returns:
        Advice whose ``verdicts`` maps each id to ``overall``, ``score``, ``requirements`` (:class:`Verdict`)
        and ``needs`` (sentences: what would have to change for it to fit).

    Raises:
        UserError: there is no measured candidate to judge.
    """
    judged = without_shown(results.measurements)
    candidates = [m for m in judged if m.id != results.baseline]
    if not candidates:
        where = results.path or "results.json"
        raise UserError(
            "no candidate was measured",
            where=where,
            fix="run imbik compress; its failures are listed in the same file",
        )
    texts = texts or Phrases(lang)
    table: dict[str, Any] = {}
    for m in judged:
        verdicts = verdicts_of(m, results, scenario, devices)
        table[m.id] = {
            "overall": overall(verdicts),
            "score": score(verdicts),
            "requirements": verdicts,
            "needs": needs(verdicts, texts, scenario),
        }
    chosen = _choose(candidates, table, results, scenario, devices)
    return Advice(chosen.id, table, reasons(chosen, table, results, scenario, texts), pareto(results.measurements))


def _choose(
    candidates: Sequence[Measurement],
    table: Mapping[str, Any],
    results: Results,
    scenario: Scenario,
    devices: Sequence[Results],
) -> Measurement:
    """The candidate of :func:`advise`'s rule."""
    best = min((table[m.id]["overall"] for m in candidates), key=ORDER.index)
    pool = [m for m in candidates if table[m.id]["overall"] == best]
    if best == "unfit":
        return max(pool, key=lambda m: (table[m.id]["score"], -_shortfall(table[m.id]["requirements"])))
    preferences = scenario.about.get("prefer") or [
        {"quantity": "quality", "within": 0.01},
        {"quantity": "latency_p50_ms"},
    ]
    if QUANTITIES[preferences[0]["quantity"]].kind != "property":
        pool = without_slowed(pool, results.measurements)
    for preference in preferences:
        pool = _closest(pool, preference["quantity"], preference.get("within", 0.0), results, scenario, devices)
    return pool[0]


def _closest(
    pool: list[Measurement], name: str, within: float, results: Results, scenario: Scenario, devices: Sequence[Results]
) -> list[Measurement]:
    """Those whose quantity is within a share ``within`` of the best; all of them where nobody has it."""
    values = {m.id: reading_of(name, m, results, scenario, devices).value for m in pool}
    known = [v for v in values.values() if v is not None]
    if not known:
        return pool
    lower = QUANTITIES[name].better == "lower" or (name == "quality" and less_is_better(pool[0]))
    sign = -1.0 if lower else 1.0
    best = max(known, key=lambda v: sign * v)
    slack = abs(best) * within
    return [m for m in pool if (v := values[m.id]) is not None and sign * (v - best) >= -slack - 1e-12]


def _shortfall(verdicts: Sequence[Verdict]) -> float:
    return sum(v.weight * -v.headroom for v in verdicts if v.headroom is not None and v.headroom < 0)
