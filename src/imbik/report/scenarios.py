"""Every candidate against every scenario, and the decision path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imbik.advise.advice import advise
from imbik.advise.decision import Leaf, leaves
from imbik.advise.sentences import requirement_text
from imbik.advise.verdict import CandidateVerdict, Verdict
from imbik.report.data import ReportData
from imbik.report.figures import Absent, Shown


@dataclass(frozen=True)
class Judged:
    """A requirement on one candidate: what was judged, how far the limit is, the verdict and where the number comes from."""

    value: Shown
    margin: Shown
    status: str
    origin: str


@dataclass(frozen=True)
class JudgedCandidate:
    """A candidate's row of one scenario."""

    id: str
    overall: str
    cells: Sequence[Judged]
    needs: Sequence[str]


@dataclass(frozen=True)
class ScenarioView:
    """One scenario with its choice, the verdicts on all candidates, the reasons and what would have to change."""

    name: str
    title: str
    about: str
    asked: Sequence[str]
    sources: Sequence[str]
    choice: str
    overall: str
    rows: Sequence[JudgedCandidate]
    reasons: Sequence[str]
    of_study: bool


class Scenarios:
    """Deployment scenarios."""

    def __init__(self, data: ReportData) -> None:
        self.data = data

    def all(self) -> list[ScenarioView]:
        """Return every scenario of the report."""
        return [self._scenario(name) for name in self.data.source.scenarios]

    def _scenario(self, name: str) -> ScenarioView:
        data, scenario = self.data, self.data.source.scenarios[name]
        texts = data.phrases("advice", data.run, name)
        advice = advise(data.results, scenario, data.source.devices, texts=texts)
        first = next(iter(advice.verdicts.values())).requirements
        return ScenarioView(
            name=name,
            title=data.texts.among(scenario.title, name),
            about=data.texts.among(scenario.text, ""),
            asked=[data.texts.capital(requirement_text(r, texts)) for r in first],
            sources=[r.source for r in first],
            choice=advice.choice,
            overall=advice.verdicts[advice.choice].overall,
            rows=[self._row(name, identifier, verdict) for identifier, verdict in advice.verdicts.items()],
            reasons=advice.reasons,
            of_study=scenario.study is not None,
        )

    def _row(self, scenario: str, identifier: str, verdict: CandidateVerdict) -> JudgedCandidate:
        cells = [self._cell(scenario, identifier, index, r) for index, r in enumerate(verdict.requirements)]
        return JudgedCandidate(identifier, verdict.overall, cells, verdict.needs)

    def _cell(self, scenario: str, identifier: str, index: int, r: Verdict) -> Judged:
        data = self.data
        unit = data.unit("quality") if r.quantity == "quality" else r.unit
        flag = r.unit == "flag"
        return Judged(
            value=data.figures.verdict(data.run, scenario, identifier, index, unit),
            margin=Absent() if flag else data.figures.headroom(data.run, scenario, identifier, index),
            status=r.shown,
            origin=r.origin,
        )


@dataclass(frozen=True)
class LeafView:
    """Where a path of answers ends; ``study`` is the model that the study's own tree ends in, ``p50`` None on another device."""

    id: str
    overall: str
    asked: Sequence[str]
    study: str | None
    quality: Shown
    p50: Shown | None
    size: Shown
    reasons: Sequence[str]


@dataclass(frozen=True)
class Branch:
    """An answer to a question: the options of the next question, or the leaf."""

    question: str
    answer: str
    options: Sequence[Branch]
    leaf: LeafView | None


class Decision:
    """The decision path as a tree."""

    def __init__(self, data: ReportData) -> None:
        self.data = data

    def tree(self) -> list[Branch]:
        """Return the options of the first question."""
        data = self.data
        return self._branches(leaves(data.results, data.source.devices, texts=data.phrases("decision", data.run)), 0)

    def _branches(self, below: Sequence[Leaf], depth: int) -> list[Branch]:
        """Return the options of the question at ``depth``, for leaves that share the answers before it."""
        branches = []
        keys = [tuple(leaf.answers.items())[depth] for leaf in below]
        for question, answer in dict.fromkeys(keys):
            behind = [leaf for leaf, key in zip(below, keys, strict=True) if key == (question, answer)]
            deeper = len(behind[0].answers) > depth + 1
            options = self._branches(behind, depth + 1) if deeper else []
            branches.append(Branch(question, answer, options, None if deeper else self._leaf(behind[0])))
        return branches

    def _leaf(self, leaf: Leaf) -> LeafView:
        data, chosen = self.data, leaf.advice.choice
        verdict = leaf.advice.verdicts[chosen]
        texts = data.phrases("decision", data.run)
        return LeafView(
            id=chosen,
            overall=verdict.overall,
            asked=[requirement_text(r, texts) for r in verdict.requirements],
            study=leaf.study,
            quality=data.cell(chosen, "quality"),
            p50=None if leaf.scenario.target else data.cell(chosen, "p50"),  # this machine's
            size=data.cell(chosen, "megabytes"),
            reasons=leaf.advice.reasons,
        )
