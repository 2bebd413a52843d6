"""What a report says about one run, section by section, as figures and sentences that a template only has to lay out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from imbik.advise.advice import advise
from imbik.advise.decision import Leaf, leaves
from imbik.advise.sentences import requirement_text
from imbik.locale.phrases import Phrases
from imbik.measure.quantities import QUANTITIES, less_is_better
from imbik.measure.results import Results
from imbik.report.figures import Absent, Figure, Page, TracedPhrases, choice_of
from imbik.report.plot import Point, plot
from imbik.tasks.registry import metric_named
from imbik.types import Measurement

Shown = Figure | Absent
# Column of the table: key of its heading, path in the measurement or (function, argument), unit, scale.
COLUMNS: tuple[tuple[str, str | tuple[str, str], str, float], ...] = (
    ("quality", "quality.value", "quality", 1.0),
    ("retention", "retention.value", "share", 1.0),
    ("dev_retention", ("retention_dev", ""), "share", 1.0),
    ("p50", "latency_ms.p50", "ms", 1.0),
    ("p95", "latency_ms.p95", "ms", 1.0),
    ("speedup", ("quantity", "speedup"), "times", 1.0),
    ("items_per_s", "throughput.items_per_s", "per_s", 1.0),
    ("throughput_gain", ("quantity", "throughput_gain"), "times", 1.0),
    ("megabytes", "bytes", "mb", 1e-6),
    ("params", "params", "count", 1.0),
    ("layers", "architecture.layers", "count", 1.0),
    ("hidden", "architecture.hidden", "count", 1.0),
    ("heads", "architecture.heads", "count", 1.0),
    ("peak_rss", "peak_rss_bytes", "mb", 1e-6),
    ("cold_start", "cold_start_s", "s", 1.0),
    ("cpu", "cpu_s_per_1000", "s", 1.0),
    ("ece", "calibration.ece", "number", 1.0),
)
_INTERVALS = {"quality": "quality", "retention": "retention"}
_TEXTS = 12  # disagreements shown


class Judged:
    """One run of a report: the summary, the candidates, the scenarios and the decision path."""

    def __init__(self, page: Page, run: int, html: bool) -> None:
        self.page, self.run, self.html = page, run, html
        self.results: Results = page.source.runs[run]
        self.name = self.results.name or str(run)
        self.texts: Phrases = page.texts
        self.choice = choice_of(self.results)
        self.baseline = self.results.get(self.results.baseline)
        metric = (self.baseline or self.results.measurements[0]).quality.get("metric")
        self.metric_name = self.texts.maybe(f"metric.{metric or 'quality'}", str(metric))
        known = metric_named(metric)
        self.less_is_better = known is not None and known.less_is_better
        self.quality_unit = "share" if known is not None and known.share else "number"

    def say(self, key: str, **values: object) -> str:
        """A text with figures in it."""
        text = self.texts.texts[key]
        if not self.html:
            return text.format(**values)
        ids = {k: Markup("<code>{}</code>").format(v) for k, v in values.items() if k in ("id", "other", "single", "batch")}
        return Markup(escape(text)).format(**{**values, **ids})

    def phrases(self, fn: str, *arguments: Any) -> Phrases:
        """Phrases for sentences about ``fn``: traced in HTML."""
        return TracedPhrases(self.texts.lang, fn, *arguments) if self.html else self.texts

    def at(self, identifier: str, path: str, unit: str, scale: float = 1.0) -> Shown:
        return self.page.at(self.run, identifier, path, self.quality_unit if unit == "quality" else unit, scale)

    def of(self, fn: str, *arguments: Any, unit: str) -> Shown:
        return self.page.of(fn, self.run, *arguments, unit=unit)

    def summary(self) -> list[str]:
        """Three sentences: what is chosen and what it keeps, what it gains, what it costs."""
        chosen, base = self.choice["id"], self.results.baseline
        if base is None:
            return [self.say("summary.alone", id=chosen)]
        first = self.say(
            "summary.keeps" if self.choice["meets"] else "summary.closest",
            id=chosen,
            metric=self.texts("metric.quality") if self._error_metric() else self.metric_name,
            retention=self.at(chosen, "retention.value", "share"),
            low=self.at(chosen, "retention.low", "share"),
            high=self.at(chosen, "retention.high", "share"),
            quality=self.at(chosen, "quality.value", "quality"),
        )
        second = self.say(
            "summary.gains",
            p50=self.at(chosen, "latency_ms.p50", "ms"),
            base_p50=self.at(base, "latency_ms.p50", "ms"),
            speedup=self.of("quantity", chosen, "speedup", unit="times"),
            gain=self.of("quantity", chosen, "throughput_gain", unit="times"),
            size=self.at(chosen, "bytes", "mb", 1e-6),
            base_size=self.at(base, "bytes", "mb", 1e-6),
        )
        return [first, second, self._summary_cost(chosen, base)]

    def _error_metric(self) -> bool:
        """Whether quality is an error: then the teacher's share of it is kept, not the error."""
        return self.baseline is not None and less_is_better(self.baseline)

    def _summary_cost(self, chosen: str, base: str) -> str:
        cost = {i: self.of("cost", i, "always-on", "yearly", unit="money") for i in (chosen, base)}
        per_day = self.page.of("load", "always-on", "per_day", unit="count")
        if isinstance(cost[chosen], Absent) or isinstance(cost[base], Absent):
            return self.say("summary.no_cost", per_day=per_day)
        same = cost[chosen].value == cost[base].value
        return self.say(
            "summary.same_cost" if same else "summary.cost",
            per_day=per_day,
            yearly=cost[chosen],
            base_yearly=cost[base],
            million=self.of("cost", chosen, "always-on", "per_million", unit="money"),
            base_million=self.of("cost", base, "always-on", "per_million", unit="money"),
            carries=self.of("cost", chosen, "always-on", "carries", unit="about"),
            base_carries=self.of("cost", base, "always-on", "carries", unit="about"),
        )

    def by_use(self) -> str | None:
        """Which candidate a choice names for single requests and which for batches, where it names both and they differ."""
        single, batch = (_id(self.choice.get(use)) for use in ("single", "batch"))
        return self.say("summary.by_use", single=single, batch=batch) if single and batch and single != batch else None

    def kind(self, m: Measurement) -> str:
        """What a candidate is marked as: choice, teacher, front or other."""
        if m.id == self.choice["id"]:
            return "choice"
        if m.id == self.results.baseline:
            return "teacher"
        return "front" if m.id in self.results.pareto else "other"

    def table(self) -> list[dict[str, Any]]:
        """A row per measurement: ``id``, ``kind``, ``cells`` (column, figure, interval or None)."""
        return [{"id": m.id, "kind": self.kind(m), "cells": [self._cell(m.id, *c) for c in COLUMNS]} for m in self.results.measurements]

    def _cell(self, identifier: str, key: str, where: str | tuple[str, str], unit: str, scale: float) -> dict[str, Any]:
        if isinstance(where, tuple):
            extra = (where[1],) if where[1] else ()
            return {"key": key, "figure": self.of(where[0], identifier, *extra, unit=unit), "interval": None}
        interval = None
        if key in _INTERVALS:
            low, high = (self.at(identifier, f"{_INTERVALS[key]}.{end}", unit) for end in ("low", "high"))
            interval = None if isinstance(low, Absent) or isinstance(high, Absent) else (low, high)
        return {"key": key, "figure": self.at(identifier, where, unit, scale), "interval": interval}

    def plots(self) -> list[dict[str, Any]]:
        """The Pareto plot three times: against latency, size and marginal cost; without those that lack a number."""
        found = []
        for key in ("latency", "size", "cost"):
            points = [p for m in self.results.measurements if (p := self._point(m, key)) is not None]
            if len(points) < 2:
                continue
            currency = self.page.source.prices.currency
            svg = plot(
                points,
                self.texts,
                x_label=self.texts(f"plot.{key}", currency=currency),
                y_label=self.metric_name,
                title=self.texts("plot.svg", x=self.texts(f"plot.{key}_short"), y=self.metric_name),
                share=self.quality_unit == "share",
                less_is_better=self.less_is_better,
            )
            found.append({"key": key, "svg": svg})
        return found

    def _point(self, m: Measurement, key: str) -> Point | None:
        x = {
            "latency": m.latency_ms.get("p50"),
            "size": m.bytes / 1e6 if m.bytes else None,
            "cost": self.page.of("cost", self.run, m.id, "always-on", "per_million").value,
        }[key]
        y = m.quality.get("value")
        if not x or y is None:
            return None
        several = len([1 for other in self.results.measurements if other.name == m.name]) > 1
        label = m.id if several else m.name
        return Point(m.id, label, x, y, m.quality.get("low"), m.quality.get("high"), self.kind(m))

    def scenarios(self) -> list[dict[str, Any]]:
        """Every scenario with its choice, the verdicts on all candidates, reasons and what would have to change."""
        return [self._scenario(name) for name in self.page.source.scenarios]

    def _scenario(self, name: str) -> dict[str, Any]:
        source = self.page.source
        scenario = source.scenarios[name]
        advice = advise(self.results, scenario, source.devices, texts=self.phrases("advice", self.run, name))
        first = next(iter(advice.verdicts.values()))["requirements"]
        texts = self.phrases("advice", self.run, name)
        rows = []
        for identifier, verdict in advice.verdicts.items():
            cells = []
            for index, r in enumerate(verdict["requirements"]):
                arguments = (name, identifier, index)
                shown = self.of("verdict", *arguments, "value", unit=_unit(r.quantity, self.quality_unit))
                flag = QUANTITIES[r.quantity].unit == "flag"
                margin = Absent() if flag else self.of("verdict", *arguments, "headroom", unit="signed")
                cells.append({"value": shown, "margin": margin, "status": r.status, "origin": r.origin})
            rows.append({"id": identifier, "overall": verdict["overall"], "cells": cells, "needs": verdict["needs"]})
        return {
            "name": name,
            "title": self.texts.among(scenario.about.get("title") or {}, name),
            "about": self.texts.among(scenario.about.get("text") or {}, ""),
            "asked": [self.texts.capital(requirement_text(r, texts)) for r in first],
            "sources": [r.source for r in first],
            "choice": advice.choice,
            "overall": advice.verdicts[str(advice.choice)]["overall"],
            "rows": rows,
            "reasons": advice.reasons,
            "brief": scenario.about.get("brief"),
        }

    def decision(self) -> list[dict[str, Any]]:
        """The tree of questions: nested nodes ``{question, options: [{answer, leaf | node}]}``; one leaf per path."""
        found = leaves(self.results, self.page.source.devices, texts=self.phrases("decision", self.run))
        return self._branch(found, 0)

    def _branch(self, found: Sequence[Leaf], depth: int) -> list[dict[str, Any]]:
        """Options of the question at ``depth``, for leaves that share the answers before it."""
        options_: list[dict[str, Any]] = []
        keys = [tuple(leaf.answers.items())[depth] for leaf in found]
        for question, answer in dict.fromkeys(keys):
            below = [leaf for leaf, key in zip(found, keys, strict=True) if key == (question, answer)]
            deeper = len(below[0].answers) > depth + 1
            options_.append({
                "question": question,
                "answer": answer,
                "options": self._branch(below, depth + 1) if deeper else [],
                "leaf": None if deeper else self._leaf(below[0]),
            })  # fmt: skip
        return options_

    def _leaf(self, leaf: Leaf) -> dict[str, Any]:
        chosen = str(leaf.advice.choice)
        verdict = leaf.advice.verdicts[chosen]
        texts = self.phrases("decision", self.run)
        return {
            "id": chosen,
            "overall": verdict["overall"],
            "asked": [requirement_text(r, texts) for r in verdict["requirements"]],
            "brief": leaf.brief,
            "quality": self.at(chosen, "quality.value", "quality"),
            "p50": None if leaf.scenario.about["target"] else self.at(chosen, "latency_ms.p50", "ms"),  # this machine's
            "size": self.at(chosen, "bytes", "mb", 1e-6),
            "reasons": leaf.advice.reasons,
        }


def _id(named: Any) -> str | None:
    """The id in a part of a choice: the id itself, or an object that holds it."""
    found = named.get("id") if isinstance(named, Mapping) else named
    return str(found) if found else None


def _unit(quantity: str, quality_unit: str) -> str:
    return quality_unit if quantity == "quality" else QUANTITIES[quantity].unit
