"""Values shown in a report, each traceable to ``results.json``: by its path, or by the function of the results that gives it.

The accessors of :class:`Figures` know the unit of what they give and how to say where it comes from; ``docs/advise.md`` lists the names
that they write into ``data-fn``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter

from markupsafe import Markup, escape

from imbik.locale.phrases import Phrases, decimals
from imbik.report.columns import Column
from imbik.report.source import Source
from imbik.roi.cost import Cost

SIGNIFICANT = 3  # figures of a capacity, which is an estimate


@dataclass(frozen=True)
class Figure:
    """One number as it is shown.

    In HTML it is a ``<data>`` element: ``value`` is the number unrounded, ``data-path`` its place in the
    results, or ``data-fn`` and ``data-args`` the function that gives it; the text shows
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


Shown = Figure | Absent
Argument = str | int


class TracedPhrases(Phrases):
    """Phrases whose numbers are ``<data>`` elements and whose ids are ``<code>``: sentences keep their trace."""

    def __init__(self, plain: Phrases, fn: str, *arguments: Argument) -> None:
        super().__init__(plain.lang, images=plain.images)
        self.trace = Markup('data-fn="{}" data-args="{}"').format(fn, json.dumps(arguments))

    def __call__(self, key: str, **values: object) -> str:
        ids = {k: Markup("<code>{}</code>").format(v) for k, v in values.items() if k in ("id", "other", "family")}
        # escaped before it is formatted: Markup escapes the values, and the text itself is no
        # markup
        return Markup(escape(self.texts[key])).format(**{**values, **ids})

    def number(self, value: float, digits: int = 0) -> str:
        return Markup('<data value="{!r}" {}>{}</data>').format(float(value), self.trace, super().number(value, digits))

    def percent(self, value: float, digits: int = 1) -> str:
        text = Phrases(self.lang).percent(value, digits)
        return Markup('<data value="{!r}" data-scale="100" {}>{}</data>').format(float(value), self.trace, text)


class Figures:
    """Makes the figures of a report in one language."""

    def __init__(self, source: Source, texts: Phrases) -> None:
        self.source = source
        self.texts = texts

    def stored(self, run: int, identifier: str, path: str, unit: str, scale: float = 1.0) -> Shown:
        """Return the number at a dotted ``path`` of a measurement, shown in ``unit`` after multiplying by ``scale``."""
        measurements = self.source.runs[run].measurements
        # by place in the file, so that the path in the page can be followed in results.json
        index = next(i for i, m in enumerate(measurements) if m.id == identifier)
        value = attrgetter(path)(measurements[index])
        return self._shown(value, unit, {"data-path": f"results[{run}].measurements[{index}].{path}"}, scale)

    def column(self, run: int, identifier: str, column: Column, unit: str) -> Shown:
        """Return a candidate's number in one column; ``unit`` is the column's, or the metric's for a quality."""
        if column.kind == "stored":
            return self.stored(run, identifier, column.path, unit, column.scale)
        if column.kind == "dev_retention":
            return self._of(self.source.retention_dev(run, identifier), unit, "retention_dev", run, identifier)
        return self.quantity(run, identifier, column.path, unit)

    def quantity(self, run: int, identifier: str, name: str, unit: str = "times") -> Shown:
        """Return a derived quantity."""
        return self._of(self.source.quantity(run, identifier, name), unit, "quantity", run, identifier, name)

    def unsteadiness(self, run: int, identifier: str) -> Shown:
        """Return how many times as fast as its slowest round a candidate's fastest was."""
        return self._of(self.source.unsteadiness(run, identifier), "times", "unsteadiness", run, identifier)

    def cost(self, run: int, identifier: str, mode: str) -> CostFigures:
        """Return the figures of a candidate's cost."""
        return CostFigures(self, run, identifier, mode)

    def verdict(self, run: int, scenario: str, identifier: str, index: int, unit: str) -> Shown:
        """Return what a requirement was judged by."""
        value = self.source.verdict(run, scenario, identifier, index).value
        return self._of(value, unit, "verdict", run, scenario, identifier, index, "value")

    def headroom(self, run: int, scenario: str, identifier: str, index: int) -> Shown:
        """Return the relative distance to a requirement's limit, negative beyond it."""
        value = self.source.verdict(run, scenario, identifier, index).headroom
        return self._of(value, "signed", "verdict", run, scenario, identifier, index, "headroom")

    def class_f1(self, run: int, identifier: str, label: str) -> Shown:
        """Return the F1 of a label."""
        value = self.source.class_quality(run, identifier, label).f1
        return self._of(value, "share", "per_class", run, identifier, label, "f1")

    def class_support(self, run: int, identifier: str, label: str) -> Shown:
        """Return the rows of a label."""
        value = self.source.class_quality(run, identifier, label).support
        return self._of(value, "count", "per_class", run, identifier, label, "support")

    def class_gap(self, run: int, identifier: str, label: str) -> Shown:
        """Return what a label's F1 changes against the baseline, in points."""
        return self._of(self.source.class_gap(run, identifier, label), "points", "class_gap", run, identifier, label)

    def shortfall(self, run: int, name: str, unit: str) -> tuple[Shown, Shown]:
        """Return the value and the limit of a limit that the choice misses."""
        missed = self.source.shortfall(run, name)
        value = self._of(missed.value if missed else None, unit, "shortfall", run, name, "value")
        return value, self._of(missed.limit if missed else None, unit, "shortfall", run, name, "limit")

    def machine_load(self, run: int) -> Shown:
        """Return the load of the machine before measuring."""
        return self._of(self.source.runs[run].environment.load, "plain", "environment", run, "load")

    def machine_cores(self, run: int) -> Shown:
        """Return the physical cores of the machine."""
        return self._of(self.source.runs[run].environment.cores, "count", "environment", run, "cores")

    def rows(self, run: int, split: str) -> Shown:
        """Return the rows of a split."""
        return self._of(self.source.runs[run].data.rows.get(split), "count", "split_rows", run, split)

    def load(self, mode: str, name: str) -> Shown:
        """Return an input of the cost, a field of :class:`imbik.roi.cost.Load`."""
        return self._of(attrgetter(name)(self.source.loads[mode]), _LOAD_UNITS.get(name, "count"), "load", mode, name)

    def price(self, index: int, name: str) -> Shown:
        """Return a field of the price list's entry at ``index``."""
        return self._of(attrgetter(name)(self.source.prices.instances[index]), _PRICE_UNITS[name], "price", index, name)

    def _of(self, value: float | None, unit: str, fn: str, *arguments: Argument) -> Shown:
        return self._shown(value, unit, {"data-fn": fn, "data-args": json.dumps(arguments)})

    def _shown(self, value: float | None, unit: str, trace: Mapping[str, str], scale: float = 1.0) -> Shown:
        if value is None:
            return Absent()
        shown = float(value) * scale
        # what the traced value was multiplied by stands beside it, so that the text can be checked
        # against it
        if unit in ("share", "signed", "points"):
            scale *= 100
        # minutes or seconds, where hours would be shown as 0.0
        if unit == "hours" and 0 < shown < 1:
            scale *= 60 if shown * 60 >= 1 else 3600
        text = self.texts.money(shown, self.source.prices.currency) if unit == "money" else self._text(shown, unit)
        attributes = dict(trace) | ({"data-scale": f"{scale:g}"} if scale != 1.0 else {})
        if unit == "about":
            attributes["data-figures"] = str(SIGNIFICANT)
        return Figure(float(value), text, attributes)

    def _text(self, value: float, unit: str) -> str:
        if unit == "plain":
            return self.texts.number(value, decimals(value))
        if unit == "about":
            return self.texts.number(float(f"{value:.{SIGNIFICANT}g}"))
        if unit == "count":
            return self.texts.number(value)
        if unit in ("signed", "points"):
            text = self.texts.percent(value) if unit == "signed" else self.texts.number(value * 100, 1)
            return f"+{text}" if value > 0 else text
        return self.texts.unit(value, unit)


_LOAD_UNITS = {"utilisation": "share", "peak_factor": "number", "limit_ms": "ms"}
_PRICE_UNITS = {"vcpu": "count", "memory_gb": "number", "gpu": "count", "hourly": "money", "sustained": "share"}


@dataclass(frozen=True)
class CostFigures:
    """What one candidate costs under one load."""

    figures: Figures
    run: int
    identifier: str
    mode: str

    @property
    def cost(self) -> Cost | None:
        """The cost itself; None for a candidate that was not measured."""
        return self.figures.source.cost(self.run, self.identifier, self.mode)

    @property
    def count(self) -> Shown:
        """Instances."""
        return self._of(self.cost.count if self.cost else None, "count", "count")

    @property
    def yearly(self) -> Shown:
        """Cost of a year."""
        return self._of(self.cost.yearly if self.cost else None, "money", "yearly")

    @property
    def per_million(self) -> Shown:
        """Marginal cost of a million requests."""
        return self._of(self.cost.per_million if self.cost else None, "money", "per_million")

    @property
    def capacity(self) -> Shown:
        """Requests a second of one instance."""
        return self._of(self.figures.source.capacity(self.run, self.identifier, self.mode), "per_s", "capacity")

    @property
    def carries(self) -> Shown:
        """Requests a day of one instance."""
        return self._of(self.figures.source.carries(self.run, self.identifier, self.mode), "about", "carries")

    @property
    def saved(self) -> Shown:
        """Amount saved a year against the baseline."""
        return self._saving(0, "money")

    @property
    def share(self) -> Shown:
        """Share saved against the baseline."""
        return self._saving(1, "share")

    def _saving(self, part: int, unit: str) -> Shown:
        saved = self.figures.source.saving(self.run, self.identifier, self.mode)
        value = None if saved is None else saved[part]
        return self.figures._of(value, unit, "saving", self.run, self.identifier, self.mode, part)

    def _of(self, value: float | None, unit: str, name: str) -> Shown:
        return self.figures._of(value, unit, "cost", self.run, self.identifier, self.mode, name)
