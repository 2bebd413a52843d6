"""Instances, yearly cost and saving of every candidate."""

from __future__ import annotations

from dataclasses import dataclass

from imbik.report.data import ReportData
from imbik.report.figures import CostFigures
from imbik.roi.cost import options


@dataclass(frozen=True)
class CostRow:
    """A candidate of the cost table; ``why_not`` where no instance carries it."""

    id: str
    kind: str
    instance: str | None
    why_not: str | None
    figures: CostFigures


class Costs:
    """Instances, yearly cost and saving of every candidate."""

    def __init__(self, data: ReportData) -> None:
        self.data = data

    def rows(self, mode: str) -> list[CostRow]:
        """Return a row per candidate."""
        data, rows = self.data, []
        for m in data.results.measurements:
            cost = data.source.cost(data.run, m.id, mode)
            why_not = None if cost is None or cost.instance else cost.why_not
            figures = data.figures.cost(data.run, m.id, mode)
            rows.append(CostRow(m.id, data.kind(m), cost.instance if cost else None, why_not, figures))
        return rows

    def slider_data(self) -> dict[str, object]:
        """Return what the page's sliders compute from, as JSON: per mode the load, per candidate every machine that can carry it."""
        source, modes = self.data.source, {}
        for mode, load in source.loads.items():
            rows = []
            for m in self.data.results.measurements:
                # every machine that fits and not the cheapest alone: sliders change which one that
                # is
                fitting, _ = options(m, source.prices, load, self.data.results.environment)
                rows.append({"id": m.id, "options": [
                    {"instance": i.name, "hourly": i.hourly, "yearly": i.yearly, "billing_s": i.billing_minutes * 60, "rates": c.rates,
                     "per_million": c.per_million, "window_s": load.window_hours * 3600 * min(load.utilisation, i.sustained),
                     "cold_s": m.cold_start_s or 0.0} for i, c in fitting]})  # fmt: skip
            modes[mode] = {"per_day": load.per_day, "peak": load.peak_factor, "least": load.min_instances, "rows": rows}
        results, currency = self.data.results, source.prices.currency
        return {"modes": modes, "baseline": results.baseline, "currency": currency, "lang": self.data.texts.lang}
