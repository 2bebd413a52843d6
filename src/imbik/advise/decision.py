"""The decision path: where the model runs, what matters more, how strong the device is; every leaf judged on
the measurements."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Literal

from imbik.advise.advice import advise
from imbik.advise.requirement import Requirement
from imbik.advise.scenario import Preference, Scenario
from imbik.advise.verdict import Advice
from imbik.errors import UserError
from imbik.jobs.validated import parse_yaml, validated
from imbik.locale.phrases import Phrases
from imbik.measure.results import Results


@dataclass(frozen=True)
class Leaf:
    """Where a path of answers ends.

    Attributes:
        answers: question -> answer along the path, in order.
        scenario: what the leaf asks for.
        advice: the candidate, its verdicts and the reasons.
        study: the model that the study's own tree ends in here, or None.
    """

    answers: Mapping[str, str]
    scenario: Scenario
    advice: Advice
    study: str | None


@dataclass(frozen=True)
class Ending:
    """What a path of answers asks for; ``study`` is the model that the study's tree ends in."""

    requirements: tuple[Requirement, ...]
    prefer: tuple[Preference, ...]
    target: Literal["phone"] | None = None
    study: str | None = None


@dataclass(frozen=True)
class Question:
    """A question, and what each answer leads to."""

    question: str
    options: Mapping[str, Question | Ending]


@functools.cache
def decision_tree() -> Question:
    """Return the shipped tree of questions."""
    text = files("imbik.advise").joinpath("scenarios", "decision.yaml").read_text("utf-8")
    return validated(Question, parse_yaml(text, "decision.yaml"), "decision.yaml")


def questions() -> Mapping[str, tuple[str, ...]]:
    """Return every question with its answers, in the order they are asked.

    >>> questions()["where"]
    ('server', 'cpu', 'device')
    """
    asked: dict[str, tuple[str, ...]] = {}

    def walk(node: Question | Ending) -> None:
        if isinstance(node, Question):
            asked[node.question] = tuple(node.options)
            for child in node.options.values():
                walk(child)

    walk(decision_tree())
    return asked


def leaves(results: Results, devices: Sequence[Results] = (), lang: str = "en", texts: Phrases | None = None) -> tuple[Leaf, ...]:
    """Return every path of answers with the candidate that the measurements lead to.

    Raises:
        UserError: no candidate was measured.
    """
    texts = texts or Phrases(lang)
    found = []
    for answers, bare, study in _paths(decision_tree(), {}):
        title = " · ".join(texts(f"decision.{answer}") for answer in answers.values())
        scenario = replace(bare, title={texts.lang: title})
        found.append(Leaf(answers, scenario, advise(results, scenario, devices, lang, texts), study))
    return tuple(found)


def next_question(answers: Mapping[str, str | None]) -> str | None:
    """Return the first question along the path that has no answer yet; None at a leaf.

    Raises:
        UserError: an answer that the question does not offer, or an answer to a question that this path never
            asks.

    >>> next_question({"where": "device"}), next_question({"where": "cpu"})
    ('power', None)
    """
    node: Question | Ending = decision_tree()
    asked = set()
    while isinstance(node, Question):
        asked.add(node.question)
        answer = answers.get(node.question)
        if answer is None:
            return node.question
        if answer not in node.options:
            raise UserError("no such answer", where=f"--{node.question}", found=answer, expected=", ".join(node.options))
        node = node.options[answer]
    # an answer that does nothing would let the user think that it counted
    extra = [q for q, a in answers.items() if a is not None and q not in asked]
    if extra:
        path = ", ".join(f"{q} = {answers[q]}" for q in asked)
        raise UserError(
            "this path does not ask that",
            where=f"--{extra[0]}",
            found=answers[extra[0]],
            fix=f"leave it out ({path})",
        )
    return None


def leaf_at(all_leaves: Sequence[Leaf], answers: Mapping[str, str | None]) -> Leaf:
    """Return the leaf that these answers lead to (see :func:`next_question`)."""
    given = {q: a for q, a in answers.items() if a is not None}
    return next(leaf for leaf in all_leaves if dict(leaf.answers) == given)


def _paths(node: Question | Ending, answers: Mapping[str, str]) -> Iterator[tuple[Mapping[str, str], Scenario, str | None]]:
    """Yield every path of answers with the scenario that it ends in and the study's model."""
    if isinstance(node, Question):
        for answer, child in node.options.items():
            yield from _paths(child, {**answers, node.question: answer})
        return
    yield answers, Scenario("/".join(answers.values()), node.requirements, prefer=node.prefer, target=node.target), node.study
