"""Verdicts in sentences: why a candidate was chosen, and what would have to change for another to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from imbik.locale.phrases import Phrases
from imbik.measure.quantities import QUANTITIES, dev_merit
from imbik.measure.results import Results
from imbik.types import Measurement, Scenario

if TYPE_CHECKING:
    from imbik.advise.verdict import Verdict


def requirement_text(v: Verdict, texts: Phrases) -> str:
    """The requirement alone: ``retention at least 95.0%``."""
    if QUANTITIES[v.quantity].unit == "flag":
        return texts(f"quantity.{v.quantity}")
    return texts(
        f"limit.{v.sense}",
        quantity=texts(f"quantity.{v.quantity}"),
        limit=texts.limit(v.quantity, v.limit),
    )


def verdict_text(v: Verdict, texts: Phrases, target: str | None) -> str:
    """One requirement with its figure, verdict and origin, as a sentence."""
    asked = texts.capital(requirement_text(v, texts))
    if v.value is None:
        place = texts(f"target.{target}") if target else texts("target.here")
        if v.here is None:
            return texts("sentence.not_measured", asked=asked, place=place)
        here = texts.quantity(v.quantity, v.here)
        return texts("sentence.not_measured_hint", asked=asked, place=place, value=here)
    value = texts.quantity(v.quantity, v.value)
    if v.low is not None and v.high is not None and v.reported is not None:
        interval = texts(
            "sentence.interval",
            value=texts.quantity(v.quantity, v.reported),
            low=texts.quantity(v.quantity, v.low),
            high=texts.quantity(v.quantity, v.high),
        )
        value = texts("sentence.in_brackets", text=value, more=interval)
    return texts(
        "sentence.verdict",
        asked=asked,
        value=value,
        status=texts(f"status.{v.status}"),
        origin=texts(f"origin.{v.origin}"),
    )


def needs(verdicts: Sequence[Verdict], texts: Phrases, scenario: Scenario) -> tuple[str, ...]:
    """What would have to change for a candidate to fit, one sentence per requirement that it fails or that is
    open."""
    target = scenario.about.get("target")
    found = []
    for v in verdicts:
        if v.weight == 0 or v.meets:
            continue
        name = texts.capital(texts(f"quantity.{v.quantity}"))
        if v.value is None:
            place = texts(f"target.{target}") if target else texts("target.here")
            found.append(texts("sentence.need_measure", quantity=name, place=place))
            continue
        if QUANTITIES[v.quantity].unit == "flag":
            found.append(texts("sentence.need_flag"))
            continue
        key = "need_rise" if v.sense == "at_least" else "need_fall"
        found.append(
            texts(
                f"sentence.{key}",
                quantity=name,
                value=texts.quantity(v.quantity, v.value),
                limit=texts.limit(v.quantity, v.limit),
                by=texts.percent(way(v)),
            )
        )
    return tuple(found)


def way(v: Verdict) -> float:
    """How far a measured value has to go to its limit, as a share of the value (of the limit where the value is 0)."""
    value = v.value or 0.0
    return abs(v.limit - value) / (abs(value) or abs(v.limit) or 1.0)


def reasons(chosen: Measurement, table: Mapping[str, Any], results: Results, scenario: Scenario, texts: Phrases) -> tuple[str, ...]:
    """Why ``chosen``: the overall verdict, every requirement, how it was preferred, what the brief
    decided."""
    verdict = table[chosen.id]
    target = scenario.about.get("target")
    title = texts.among(scenario.about.get("title") or {}, scenario.name)
    said = [texts(f"sentence.{verdict['overall']}", id=chosen.id, scenario=title)]
    said += [verdict_text(v, texts, target) for v in verdict["requirements"]]
    rivals = [i for i, v in table.items() if v["overall"] == verdict["overall"] and i != results.baseline]
    if len(rivals) > 1 and verdict["overall"] != "unfit":
        said.append(texts("sentence.preferred", count=texts.number(len(rivals)), rule=_rule(scenario, texts)))
    teacher = table.get(results.baseline or "")
    if teacher and teacher["overall"] in ("fit", "caution"):
        said.append(texts("sentence.teacher_fits", id=results.baseline))
    said += brief_sentences(chosen, table, results, scenario, texts)
    return tuple(said)


def _rule(scenario: Scenario, texts: Phrases) -> str:
    """The preferences in words: ``quality (within 1.0%), then CPU seconds``."""
    parts = []
    for p in scenario.about.get("prefer") or []:
        name = texts(f"quantity.{p['quantity']}")
        best = texts(f"better.{QUANTITIES[p['quantity']].better}", quantity=name)
        if QUANTITIES[p["quantity"]].kind == "proxy":
            best = texts("sentence.in_brackets", text=best, more=texts("origin.proxy"))
        if p.get("within"):
            share = texts.percent(p["within"], 1 if p["within"] < 0.01 else 0)
            best = texts("sentence.in_brackets", text=best, more=texts("sentence.within", share=share))
        parts.append(best)
    return texts("sentence.then").join(parts)


def brief_sentences(chosen: Measurement, table: Mapping[str, Any], results: Results, scenario: Scenario, texts: Phrases) -> list[str]:
    """What the brief chose for this case, whether this run measured that family, and whether it agrees."""
    brief = scenario.about.get("brief")
    if not brief:
        return []
    family = [m for m in results.measurements if in_family(m, brief["family"])]
    if not family:
        return [texts("sentence.brief_absent", model=brief["model"], family=brief["family"], id=chosen.id)]
    if chosen in family:
        return [texts("sentence.brief_agrees", model=brief["model"], id=chosen.id)]
    best = max(family, key=lambda m: (table[m.id]["score"], dev_merit(m)))
    verdict = texts(f"overall.{table[best.id]['overall']}")
    return [texts("sentence.brief_differs", model=brief["model"], id=chosen.id, other=best.id, verdict=verdict)]


def in_family(m: Measurement, family: str) -> bool:
    """Whether a candidate is of the brief's family: its name is the family's, or starts with it and a hyphen or a plus.

    ``distilbert`` has ``distilbert-3l+int8``; a recipe of one's own counts when it is named after the family.
    """
    return m.name == family or m.name.startswith((f"{family}+", f"{family}-"))
