"""What every section of a report reads: one run, its figures and its texts."""

from __future__ import annotations

from markupsafe import Markup, escape

from imbik.locale.phrases import Phrases
from imbik.measure.measurement import Measurement
from imbik.measure.quantities import less_is_better
from imbik.measure.results import Results
from imbik.measure.values import names_of
from imbik.report.columns import COLUMNS
from imbik.report.figures import Argument, Figures, Shown, TracedPhrases
from imbik.report.source import Source
from imbik.tasks.registry import metric_named


class ReportData:
    """One run of a report."""

    def __init__(self, figures: Figures, run: int, html: bool) -> None:
        self.figures = figures
        self.source: Source = figures.source
        self.texts: Phrases = figures.texts
        self.run = run
        self.html = html
        self.results: Results = self.source.runs[run]
        self.name = names_of(self.source.runs)[run] or str(run)
        self.choice = self.source.choice(run)
        # as a text even where nothing was chosen: sentences are formatted with it
        self.chosen = str(self.choice.id)
        self.baseline = self.results.get(self.results.baseline)
        metric = (self.baseline or self.results.measurements[0]).quality.metric
        self.metric_name = self.texts.maybe(f"metric.{metric or 'quality'}", str(metric))
        known = metric_named(metric)
        self.less_is_better = known is not None and known.less_is_better
        self.quality_unit = "share" if known is not None and known.share else "number"

    @property
    def error_metric(self) -> bool:
        """Whether quality is an error: then the teacher's share of it is kept, not the error."""
        return self.baseline is not None and less_is_better(self.baseline)

    def say(self, key: str, **values: object) -> str:
        """Return a text with figures in it."""
        text = self.texts.texts[key]
        if not self.html:
            return text.format(**values)
        ids = {k: Markup("<code>{}</code>").format(v) for k, v in values.items() if k in ("id", "other", "single", "batch")}
        return Markup(escape(text)).format(**{**values, **ids})

    def phrases(self, fn: str, *arguments: Argument) -> Phrases:
        """Return phrases for sentences about ``fn``: traced in HTML."""
        return TracedPhrases(self.texts, fn, *arguments) if self.html else self.texts

    def cell(self, identifier: str, key: str) -> Shown:
        """Return a candidate's number in the column ``key`` of :data:`imbik.report.columns.COLUMNS`."""
        column = COLUMNS[key]
        return self.figures.column(self.run, identifier, column, self.unit(column.unit))

    def stored(self, identifier: str, path: str, unit: str) -> Shown:
        """Return a number that has no column, by its path in the measurement."""
        return self.figures.stored(self.run, identifier, path, self.unit(unit))

    def interval(self, identifier: str, key: str) -> tuple[Shown, Shown] | None:
        """Return the ends of the 95 % interval beside a column's number, where it has one."""
        column = COLUMNS[key]
        if column.interval is None:
            return None
        low, high = (self.stored(identifier, f"{column.interval}.{end}", column.unit) for end in ("low", "high"))
        return None if low.value is None or high.value is None else (low, high)

    def unit(self, unit: str) -> str:
        """Return the unit that is shown: a quality's is the metric's."""
        return self.quality_unit if unit == "quality" else unit

    def kind(self, m: Measurement) -> str:
        """Return what a candidate is marked as: choice, teacher, rival, front or other."""
        if m.id == self.choice.id:
            return "choice"
        if m.id == self.results.baseline:
            return "teacher"
        if m.rival:
            return "rival"
        return "front" if m.id in self.results.pareto else "other"
