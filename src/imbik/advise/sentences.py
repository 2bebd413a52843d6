"""Verdicts in sentences: why a candidate was chosen, and what would have to change for another to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imbik.advise.families import in_family
from imbik.advise.scenario import Scenario
from imbik.advise.verdict import CandidateVerdict, Verdict
from imbik.locale.phrases import Phrases
from imbik.measure.measurement import Measurement
from imbik.measure.quantities import QUANTITIES, dev_merit
from imbik.measure.results import Results


def requirement_text(v: Verdict, texts: Phrases) -> str:
    """Return the requirement alone: ``retention at least 95.0%``."""
    if v.unit == "flag":
        return texts(f"quantity.{v.quantity}")
    return texts(
        f"limit.{v.sense}",
        quantity=texts(f"quantity.{v.quantity}"),
        limit=texts.limit(v.limit, v.unit),
    )


def verdict_text(v: Verdict, texts: Phrases, target: str | None) -> str:
    """Return one requirement with its figure, verdict and origin, as a sentence."""
    asked = texts.capital(requirement_text(v, texts))
    if v.value is None:
        place = texts(f"target.{target}") if target else texts("target.here")
        if v.here is None:
            return texts("sentence.not_measured", asked=asked, place=place)
        here = texts.unit(v.here, v.unit)
        return texts("sentence.not_measured_hint", asked=asked, place=place, value=here)
    value = texts.unit(v.value, v.unit)
    if v.low is not None and v.high is not None and v.reported is not None:
        interval = texts(
            "sentence.interval",
            value=texts.unit(v.reported, v.unit),
            low=texts.unit(v.low, v.unit),
            high=texts.unit(v.high, v.unit),
        )
        value = texts("sentence.in_brackets", text=value, more=interval)
    return texts(
        "sentence.verdict",
        asked=asked,
        value=value,
        status=texts(f"status.{v.shown}"),
        origin=texts(f"origin.{v.origin}"),
    )


def needs(verdicts: Sequence[Verdict], texts: Phrases, scenario: Scenario) -> tuple[str, ...]:
    """Return what would have to change for a candidate to fit, one sentence per requirement that it fails or that is
    open."""
    target = scenario.target
    found = []
    for v in verdicts:
        # a wish that is not met is no reason against a candidate
        if v.weight == 0 or v.meets:
            continue
        name = texts.capital(texts(f"quantity.{v.quantity}"))
        if v.value is None:
            place = texts(f"target.{target}") if target else texts("target.here")
            found.append(texts("sentence.need_measure", quantity=name, place=place))
            continue
        if v.unit == "flag":
            found.append(texts("sentence.need_flag"))
            continue
        key = "need_rise" if v.sense == "at_least" else "need_fall"
        found.append(
            texts(
                f"sentence.{key}",
                quantity=name,
                value=texts.unit(v.value, v.unit),
                limit=texts.limit(v.limit, v.unit),
                by=texts.percent(way(v)),
            )
        )
    return tuple(found)


def way(v: Verdict) -> float:
    """Return how far a measured value has to go to its limit, as a share of the value (of the limit where the value is 0)."""
    value = v.value or 0.0
    # of the value and not of the limit: "must fall by half" is said of what there is
    return abs(v.limit - value) / (abs(value) or abs(v.limit) or 1.0)


def reasons(
    chosen: Measurement, table: Mapping[str, CandidateVerdict], results: Results, scenario: Scenario, texts: Phrases
) -> tuple[str, ...]:
    """Return why ``chosen``: the overall verdict, every requirement, how it was preferred, what the study decided."""
    verdict = table[chosen.id]
    target = scenario.target
    title = texts.among(scenario.title, scenario.name)
    said = [texts(f"sentence.{verdict.overall}", id=chosen.id, scenario=title)]
    said += [verdict_text(v, texts, target) for v in verdict.requirements]
    rivals = [i for i, v in table.items() if v.overall == verdict.overall and i != results.baseline]
    # the preferences decided only where others had the same verdict
    if len(rivals) > 1 and verdict.overall != "unfit":
        said.append(texts("sentence.preferred", count=texts.number(len(rivals)), rule=_rule(scenario, texts)))
    teacher = table.get(results.baseline or "")
    if teacher and teacher.overall in ("fit", "caution"):
        said.append(texts("sentence.teacher_fits", id=results.baseline))
    said += study_sentences(chosen, table, results, scenario, texts)
    return tuple(said)


def _rule(scenario: Scenario, texts: Phrases) -> str:
    """Return the preferences in words: ``quality (within 1.0%), then CPU seconds``."""
    parts = []
    for preference in scenario.prefer:
        quantity = QUANTITIES[preference.quantity]
        best = texts(f"better.{quantity.better}", quantity=texts(f"quantity.{preference.quantity}"))
        if quantity.kind == "proxy":
            best = texts("sentence.in_brackets", text=best, more=texts("origin.proxy"))
        if preference.within:
            share = texts.percent(preference.within, 1 if preference.within < 0.01 else 0)
            best = texts("sentence.in_brackets", text=best, more=texts("sentence.within", share=share))
        parts.append(best)
    return texts("sentence.then").join(parts)


def study_sentences(
    chosen: Measurement, table: Mapping[str, CandidateVerdict], results: Results, scenario: Scenario, texts: Phrases
) -> list[str]:
    """Return what the study chose for this case, whether this run measured that family, and whether it agrees."""
    study = scenario.study
    if study is None:
        return []
    family = [m for m in results.measurements if in_family(m, study.family)]
    if not family:
        return [texts("sentence.study_absent", model=study.model, family=study.family, id=chosen.id)]
    if chosen in family:
        return [texts("sentence.study_agrees", model=study.model, id=chosen.id)]
    # the study named a family and not a size: its best member here speaks for it
    best = max(family, key=lambda m: (table[m.id].score, dev_merit(m)))
    verdict = texts(f"overall.{table[best.id].overall}")
    return [texts("sentence.study_differs", model=study.model, id=chosen.id, other=best.id, verdict=verdict)]
