"""The functions that a report names in ``data-fn``, written out: the tests recompute every figure of a page with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from imbik.advise.decision import leaves
from imbik.advise.scenario import Preference
from imbik.advise.sentences import way
from imbik.advise.verdict import Advice
from imbik.report.source import Source
from imbik.roi.cost import Cost


def _cost(source: Source, run: int, identifier: str, mode: str, name: str) -> float | None:
    if name in ("capacity", "carries"):
        return getattr(source, name)(run, identifier, mode)
    cost: Cost | None = source.cost(run, identifier, mode)
    return getattr(cost, name) if cost else None


def _saving(source: Source, run: int, identifier: str, mode: str, part: int) -> float | None:
    saved = source.saving(run, identifier, mode)
    return saved[part] if saved else None


FUNCTIONS: Mapping[str, Callable[..., float | None]] = {
    "retention_dev": Source.retention_dev,
    "quantity": Source.quantity,
    "unsteadiness": Source.unsteadiness,
    "class_gap": Source.class_gap,
    "per_class": lambda source, run, identifier, label, name: getattr(source.class_quality(run, identifier, label), name),
    "cost": _cost,
    "saving": _saving,
    "verdict": lambda source, run, scenario, identifier, index, name: getattr(source.verdict(run, scenario, identifier, index), name),
    "environment": lambda source, run, name: getattr(source.runs[run].environment, name),
    "shortfall": lambda source, run, name, part: getattr(source.shortfall(run, name), part),
    "load": lambda source, mode, name: getattr(source.loads[mode], name),
    "price": lambda source, index, name: getattr(source.prices.instances[index], name),
    "split_rows": lambda source, run, name: source.runs[run].data.rows.get(name),
}


def advice_numbers(source: Source, run: int, scenario: str) -> set[float]:
    """Every number that the sentences about a scenario may hold."""
    return _numbers(source.advice(run, scenario)) | _within(source.scenarios[scenario].prefer)


def decision_numbers(source: Source, run: int) -> set[float]:
    """Every number that the sentences on the decision path may hold."""
    found: set[float] = set()
    for leaf in leaves(source.runs[run], source.devices):
        found |= _numbers(leaf.advice) | _within(leaf.scenario.prefer)
    return found


def _within(preferences: tuple[Preference, ...]) -> set[float]:
    return {preference.within for preference in preferences}


def _numbers(advice: Advice) -> set[float]:
    found = {float(len([1 for v in advice.verdicts.values() if v.overall == o])) for o in ("fit", "caution", "open")}
    found |= {n - 1 for n in found}  # the baseline is not counted among the rivals
    for verdict in advice.verdicts.values():
        for r in verdict.requirements:
            values = (r.value, r.reported, r.low, r.high, r.limit, r.here, None if r.headroom is None else abs(r.headroom))
            found |= {float(v) * unit for v in values if v is not None for unit in (1, 60, 3600)}  # hours in a smaller unit
            found |= {way(r)} if r.value is not None else set()
    return found
