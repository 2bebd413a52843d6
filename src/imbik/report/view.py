"""One run of a report: its sections, as a template lays them out."""

from __future__ import annotations

from imbik.report.candidates import Candidates
from imbik.report.classes import Classes
from imbik.report.costs import Costs
from imbik.report.data import ReportData
from imbik.report.figures import Figures
from imbik.report.machine import Machine
from imbik.report.scenarios import Decision, Scenarios
from imbik.report.selective import Selectives
from imbik.report.summary import Summary


class View:
    """The sections of one run."""

    def __init__(self, figures: Figures, run: int, html: bool) -> None:
        self.data = ReportData(figures, run, html)
        self.summary = Summary(self.data)
        self.candidates = Candidates(self.data)
        self.scenarios = Scenarios(self.data)
        self.decision = Decision(self.data)
        self.costs = Costs(self.data)
        self.classes = Classes(self.data)
        self.selective = Selectives(self.data)
        self.machine = Machine(self.data)
