"""All that a report's figures are computed from, and the values that a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imbik.advise.advice import advise
from imbik.advise.choice import choose
from imbik.advise.scenario import Scenario
from imbik.advise.verdict import Advice, Verdict
from imbik.measure.measurement import ClassQuality
from imbik.measure.quantities import dev_retention, read
from imbik.measure.results import Results
from imbik.measure.values import Choice, Shortfall
from imbik.roi.cost import DAY_S, Cost, Load, Saving, cost_of, saving
from imbik.roi.prices import Prices


@dataclass
class Source:
    """Results, prices, loads and scenarios of a report, and every value that is a function of them.

    ``run`` is the place of a run in ``runs``, ``identifier`` the id of a candidate, ``mode`` a key of ``loads``. What is costly is
    computed once.
    """

    runs: Sequence[Results]
    prices: Prices
    loads: Mapping[str, Load]
    scenarios: Mapping[str, Scenario]
    devices: Sequence[Results] = ()
    _costs: dict[tuple[int, str, str], Cost | None] = field(default_factory=dict)
    _advice: dict[tuple[int, str], Advice] = field(default_factory=dict)

    def cost(self, run: int, identifier: str, mode: str) -> Cost | None:
        """Return the yearly cost of a candidate; None for an id that was not measured."""
        key = (run, identifier, mode)
        if key not in self._costs:
            m = self.runs[run].get(identifier)
            self._costs[key] = None if m is None else cost_of(m, self.prices, self.loads[mode], self.runs[run].environment)
        return self._costs[key]

    def capacity(self, run: int, identifier: str, mode: str) -> float | None:
        """Return the requests a second, or items a second, that one instance can take."""
        cost = self.cost(run, identifier, mode)
        return cost.rates[0] if cost and cost.rates else None

    def carries(self, run: int, identifier: str, mode: str) -> float | None:
        """Return the requests a day that one instance can take at this load's peak factor."""
        capacity = self.capacity(run, identifier, mode)
        return None if capacity is None else capacity * DAY_S / self.loads[mode].peak_factor

    def saving(self, run: int, identifier: str, mode: str) -> Saving | None:
        """Return what a candidate saves a year against the baseline."""
        baseline = self.runs[run].baseline
        cost = self.cost(run, identifier, mode)
        return saving(cost, self.cost(run, baseline, mode)) if cost and baseline else None

    def advice(self, run: int, scenario: str) -> Advice:
        """Return the advice in English, for its numbers."""
        key = (run, scenario)
        if key not in self._advice:
            self._advice[key] = advise(self.runs[run], self.scenarios[scenario], self.devices)
        return self._advice[key]

    def verdict(self, run: int, scenario: str, identifier: str, index: int) -> Verdict:
        """Return the verdict on the requirement at ``index`` of a scenario."""
        return self.advice(run, scenario).verdicts[identifier].requirements[index]

    def retention_dev(self, run: int, identifier: str) -> float | None:
        """Return quality on dev over the teacher's."""
        results = self.runs[run]
        m, baseline = results.get(identifier), results.get(results.baseline)
        return dev_retention(m, baseline) if m and baseline else None

    def quantity(self, run: int, identifier: str, name: str) -> float | None:
        """Return a derived quantity, see :func:`imbik.measure.quantities.read`."""
        results = self.runs[run]
        m = results.get(identifier)
        return read(name, m, results.get(results.baseline)).value if m else None

    def unsteadiness(self, run: int, identifier: str) -> float | None:
        """Return the rate of a candidate's fastest round over that of its slowest."""
        m = self.runs[run].get(identifier)
        return m.throughput.unsteadiness if m else None

    def class_quality(self, run: int, identifier: str, label: str) -> ClassQuality:
        """Return what a candidate's predictions of one label are worth; without figures where that was not measured."""
        m = self.runs[run].get(identifier)
        return (m.per_class if m else {}).get(label, ClassQuality())

    def class_gap(self, run: int, identifier: str, label: str) -> float | None:
        """Return a candidate's F1 of one label minus the baseline's."""
        own = self.class_quality(run, identifier, label).f1
        base = self.class_quality(run, str(self.runs[run].baseline), label).f1
        return None if own is None or base is None else own - base

    def choice(self, run: int) -> Choice:
        """Return the run's choice; for results that name none, that of :func:`imbik.advise.choice.choose` under its own limits."""
        results = self.runs[run]
        named = results.choice
        return named if named and named.id else choose(results.measurements, results.baseline)

    def shortfall(self, run: int, name: str) -> Shortfall | None:
        """Return by how much the run's choice misses a limit."""
        return self.choice(run).shortfall.get(name)
