"""The decision path: where the model runs, what matters more, how strong the device is; every leaf judged on
the measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imbik.advise.advice import advise
from imbik.advise.scenario import Scenario, decision_document, parse_scenario
from imbik.advise.verdict import Advice
from imbik.errors import UserError
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


def questions() -> Mapping[str, tuple[str, ...]]:
    """Every question with its answers, in the order they are asked.

    >>> questions()["where"]
    ('server', 'cpu', 'device')
    """
    found: dict[str, tuple[str, ...]] = {}

    def walk(node: Mapping[str, Any]) -> None:
        if "question" in node:
            found[node["question"]] = tuple(node["options"])
            for child in node["options"].values():
                walk(child)

    walk(decision_document())
    return found


def leaves(results: Results, devices: Sequence[Results] = (), lang: str = "en", texts: Phrases | None = None) -> tuple[Leaf, ...]:
    """Every path of answers with the candidate that the measurements lead to.

    Raises:
        UserError: no candidate was measured.
    """
    texts = texts or Phrases(lang)
    found = []
    for answers, bare, study in _paths(decision_document(), {}):
        title = " · ".join(texts(f"decision.{answer}") for answer in answers.values())
        scenario = replace(bare, title={texts.lang: title})
        found.append(Leaf(answers, scenario, advise(results, scenario, devices, lang, texts), study))
    return tuple(found)


def next_question(answers: Mapping[str, str | None]) -> str | None:
    """The first question along the path that has no answer yet; None at a leaf.

    Raises:
        UserError: an answer that the question does not offer, or an answer to a question that this path never
            asks.

    >>> next_question({"where": "device"}), next_question({"where": "cpu"})
    ('power', None)
    """
    node = decision_document()
    asked = set()
    while "question" in node:
        question = node["question"]
        asked.add(question)
        answer = answers.get(question)
        if answer is None:
            return str(question)
        if answer not in node["options"]:
            raise UserError("no such answer", where=f"--{question}", found=answer, expected=", ".join(node["options"]))
        node = node["options"][answer]
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
    """The leaf that these answers lead to (see :func:`next_question`)."""
    given = {q: a for q, a in answers.items() if a is not None}
    return next(leaf for leaf in all_leaves if dict(leaf.answers) == given)


def _paths(node: Mapping[str, Any], answers: Mapping[str, str]) -> Iterator[tuple[Mapping[str, str], Scenario, str | None]]:
    if "question" in node:
        for answer, child in node["options"].items():
            yield from _paths(child, {**answers, node["question"]: answer})
        return
    name = "/".join(answers.values())
    document = {"name": name, "requirements": node["requirements"], "prefer": node["prefer"], "target": node.get("target")}
    yield answers, parse_scenario(document, f"decision.yaml, {name}"), node.get("study")
