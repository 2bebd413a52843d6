"""The numbers of a report: each knows where in ``results.json`` it stands, or which function of it it is, and
can be recomputed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

from imbik.advise.advice import advise
from imbik.advise.choice import choose
from imbik.advise.decision import leaves
from imbik.advise.sentences import way
from imbik.advise.verdict import Verdict
from imbik.locale.phrases import Phrases, decimals
from imbik.measure.quantities import dev_retention, read
from imbik.measure.results import Results
from imbik.roi.cost import DAY_S, Cost, Load, cost_of, saving
from imbik.roi.prices import Prices
from imbik.types import Advice, Scenario

FIGURES = 3  # significant ones of a capacity, which is an estimate


@dataclass(frozen=True)
class Figure:
    """One number as it is shown.

    In HTML it is a ``<data>`` element: ``value`` is the number unrounded, ``data-path`` its place in the
    results, or ``data-fn`` and ``data-args`` the function of :data:`FUNCTIONS` that gives it; the text shows
    ``value * data-scale``, rounded to ``data-figures`` figures where that is given. In Markdown only the text.
    """

    value: float
    text: str
    attributes: Mapping[str, str]

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        parts = "".join(f' {name}="{escape(value)}"' for name, value in self.attributes.items())
        return Markup(f'<data value="{self.value!r}"{parts}>{escape(self.text)}</data>')


@dataclass(frozen=True)
class Absent:
    """What was not measured."""

    text: str = "–"
    value: None = None

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        return Markup('<span class="none">{}</span>').format(self.text)


class TracedPhrases(Phrases):
    """Phrases whose numbers are ``<data>`` elements and whose ids are ``<code>``: sentences keep their
    trace."""

    def __init__(self, lang: str, fn: str, *arguments: Any) -> None:
        super().__init__(lang)
        self.trace = f'data-fn="{fn}" data-args="{escape(json.dumps(arguments))}"'

    def __call__(self, key: str, **values: object) -> str:
        ids = {k: Markup("<code>{}</code>").format(v) for k, v in values.items() if k in ("id", "other", "family")}
        return Markup(escape(self.texts[key])).format(**{**values, **ids})

    def number(self, value: float, digits: int = 0) -> str:
        return Markup('<data value="{!r}" ' + self.trace + ">{}</data>").format(float(value), super().number(value, digits))

    def percent(self, value: float, digits: int = 1) -> str:
        text = Phrases(self.lang).percent(value, digits)
        return Markup('<data value="{!r}" data-scale="100" ' + self.trace + ">{}</data>").format(float(value), text)


@dataclass
class Source:
    """All that a report's figures are computed from."""

    runs: Sequence[Results]
    prices: Prices
    loads: Mapping[str, Load]
    scenarios: Mapping[str, Scenario]
    devices: Sequence[Results] = ()
    cache: dict[Any, Any] = field(default_factory=dict)

    def cost(self, run: int, identifier: str, mode: str) -> Cost | None:
        """The yearly cost of a candidate; None for an id that was not measured."""
        key = ("cost", run, identifier, mode)
        if key not in self.cache:
            m = self.runs[run].get(identifier)
            self.cache[key] = m and cost_of(m, self.prices, self.loads[mode], self.runs[run].environment)
        found: Cost | None = self.cache[key]
        return found

    def advice(self, run: int, scenario: str) -> Advice:
        """Advice without texts, for its numbers."""
        key = ("advice", run, scenario)
        if key not in self.cache:
            self.cache[key] = advise(self.runs[run], self.scenarios[scenario], self.devices)
        found: Advice = self.cache[key]
        return found


def _retention_dev(source: Source, run: int, identifier: str) -> float | None:
    results = source.runs[run]
    m, baseline = results.get(identifier), results.get(results.baseline)
    return dev_retention(m, baseline) if m and baseline else None


def _quantity(source: Source, run: int, identifier: str, name: str) -> float | None:
    results = source.runs[run]
    m = results.get(identifier)
    return read(name, m, results.get(results.baseline), {}).value if m else None


def _class_gap(source: Source, run: int, identifier: str, label: str) -> float | None:
    results = source.runs[run]
    m, baseline = results.get(identifier), results.get(results.baseline)
    if not m or not baseline:
        return None
    own, base = (m.per_class or {}).get(label), (baseline.per_class or {}).get(label)
    return float(own["f1"] - base["f1"]) if own and base else None


def _per_class(source: Source, run: int, identifier: str, label: str, name: str) -> float | None:
    m = source.runs[run].get(identifier)
    row = (m.per_class or {}).get(label) if m else None
    return float(row[name]) if row and row.get(name) is not None else None


def _cost(source: Source, run: int, identifier: str, mode: str, name: str) -> float | None:
    cost = source.cost(run, identifier, mode)
    if name in ("capacity", "carries"):  # of one instance: requests a second at the peak, requests a day
        found = cost.rates[0] if cost and cost.rates else None
        return found if name == "capacity" or found is None else found * DAY_S / source.loads[mode].peak_factor
    value = getattr(cost, name) if cost else None
    return None if value is None else float(value)


def _saving(source: Source, run: int, identifier: str, mode: str, part: int) -> float | None:
    baseline = source.runs[run].baseline
    cost = source.cost(run, identifier, mode)
    saved = saving(cost, source.cost(run, baseline, mode)) if cost and baseline else None
    return saved[part] if saved else None


def _verdict(source: Source, run: int, scenario: str, identifier: str, index: int, name: str) -> float | None:
    verdict: Verdict = source.advice(run, scenario).verdicts[identifier]["requirements"][index]
    value = getattr(verdict, name)
    return None if value is None else float(value)


def _environment(source: Source, run: int, name: str) -> float | None:
    value = source.runs[run].environment.get(name)
    return float(value) if isinstance(value, (int, float)) else None


def choice_of(results: Results) -> Mapping[str, Any]:
    """The run's choice; for results that name none, that of :func:`imbik.advise.choice.choose` under its own limits."""
    named = results.choice
    return named if named and named.get("id") else choose(results.measurements, results.baseline)


def _shortfall(source: Source, run: int, name: str, part: str) -> float | None:
    results = source.runs[run]
    value = (choice_of(results).get("shortfall") or {}).get(name, {}).get(part)
    return None if value is None else float(value)


def _load(source: Source, mode: str, name: str) -> float:
    return float(getattr(source.loads[mode], name))


def _price(source: Source, index: int, name: str) -> float:
    return float(getattr(source.prices.instances[index], name))


def _split_rows(source: Source, run: int, name: str) -> float | None:
    value = (source.runs[run].data.get("rows") or source.runs[run].data).get(name)
    return float(value) if isinstance(value, (int, float)) else None


FUNCTIONS: Mapping[str, Callable[..., float | None]] = {
    "retention_dev": _retention_dev,
    "quantity": _quantity,
    "class_gap": _class_gap,
    "per_class": _per_class,
    "cost": _cost,
    "saving": _saving,
    "verdict": _verdict,
    "environment": _environment,
    "shortfall": _shortfall,
    "load": _load,
    "price": _price,
    "split_rows": _split_rows,
}
"""Function of the results -> how to compute it; docs/advise.md says what each is."""


def advice_numbers(source: Source, run: int, scenario: str) -> set[float]:
    """Every number that the sentences about a scenario may hold."""
    advice = source.advice(run, scenario)
    about = source.scenarios[scenario].about
    return _numbers(advice) | {float(p["within"]) for p in about.get("prefer") or [] if p.get("within")}


def decision_numbers(source: Source, run: int) -> set[float]:
    """Every number that the sentences on the decision path may hold."""
    found: set[float] = set()
    for leaf in leaves(source.runs[run], source.devices):
        found |= _numbers(leaf.advice) | {float(p["within"]) for p in leaf.scenario.about["prefer"]}
    return found


def _numbers(advice: Advice) -> set[float]:
    found = {float(len([1 for v in advice.verdicts.values() if v["overall"] == o])) for o in ("fit", "caution", "open")}
    found |= {n - 1 for n in found}  # the baseline is not counted among the rivals
    for verdict in advice.verdicts.values():
        for r in verdict["requirements"]:
            values = (r.value, r.reported, r.low, r.high, r.limit, r.here, None if r.headroom is None else abs(r.headroom))
            found |= {float(v) * unit for v in values if v is not None for unit in (1, 60, 3600)}  # hours in a smaller unit
            found |= {way(r)} if r.value is not None else set()
    return found


class Page:
    """Makes figures for one language: from a path in the results, or from a function of them."""

    def __init__(self, source: Source, texts: Phrases) -> None:
        self.source, self.texts = source, texts

    def at(self, run: int, identifier: str, path: str, unit: str = "number", scale: float = 1.0) -> Figure | Absent:
        """The number at a dotted ``path`` of a measurement, shown in ``unit`` after multiplying by
        ``scale``."""
        results = self.source.runs[run]
        index = next(i for i, m in enumerate(results.measurements) if m.id == identifier)
        value: Any = results.measurements[index]
        for key in path.split("."):
            value = (value or {}).get(key) if isinstance(value, Mapping) or value is None else getattr(value, key)
        return self._figure(value, unit, scale, {"data-path": f"results[{run}].measurements[{index}].{path}"})

    def of(self, fn: str, *arguments: Any, unit: str = "number") -> Figure | Absent:
        """A function of the results, see :data:`FUNCTIONS`."""
        value = FUNCTIONS[fn](self.source, *arguments)
        return self._figure(value, unit, 1.0, {"data-fn": fn, "data-args": json.dumps(arguments)})

    def _figure(self, value: float | None, unit: str, scale: float, trace: Mapping[str, str]) -> Figure | Absent:
        if value is None:
            return Absent()
        shown = float(value) * scale
        if unit in ("share", "signed", "points"):
            scale *= 100
        if unit == "hours" and 0 < shown < 1:
            scale *= 60 if shown * 60 >= 1 else 3600
        text = self.texts.money(shown, self.source.prices.currency) if unit == "money" else self._text(shown, unit)
        attributes = dict(trace) | ({"data-scale": f"{scale:g}"} if scale != 1.0 else {})
        if unit == "about":
            attributes["data-figures"] = str(FIGURES)
        return Figure(float(value), text, attributes)

    def _text(self, value: float, unit: str) -> str:
        if unit == "plain":
            return self.texts.number(value, decimals(value))
        if unit == "about":
            return self.texts.number(float(f"{value:.{FIGURES}g}"))
        if unit == "count":
            return self.texts.number(value)
        if unit in ("signed", "points"):
            text = self.texts.percent(value) if unit == "signed" else self.texts.number(value * 100, 1)
            return f"+{text}" if value > 0 else text
        return self.texts.unit(value, unit)
