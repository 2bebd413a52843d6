"""Splits of queries and documents: a row is a text, a query or a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from imbik.data.retrieval.reading import Grades, Retrieval, read_retrieval
from imbik.data.rows import examples
from imbik.data.splitting import MOST, SHARE
from imbik.data.text_store import TextStore
from imbik.errors import UserError
from imbik.tasks.outputs import ragged
from imbik.tasks.ranking.relevance import document_target, query_target
from imbik.tasks.registry import task_of
from imbik.tasks.task import Task
from imbik.types import Examples, Note

TASK = "embedding"
_DEV_QUERIES = 500
_FROM_ONE_FILE = 0.2  # of the queries of the only file of judgments: they are dev's, for train needs none


@dataclass(frozen=True)
class Rankings:
    """Splits of queries and documents.

    Attributes:
        task: whose models rank.
        parts: split -> its rows; those of train have no targets.
        notes: what a reader of results must know.
    """

    task: Task
    parts: Mapping[str, Examples]
    notes: tuple[Note, ...]


def rankings_to_learn(source: str | Path, task: str | None, encoding: str | None, seed: int) -> Rankings:
    """Read a folder of queries and documents as train, dev and test.

    Students learn from the documents and the queries of train, whose judgments nothing is learned from. Test ranks all documents for its
    queries. Dev ranks as many as make 2,000 rows, those that answer its queries among them: it is asked after every epoch.

    Args:
        source: the folder.
        task: whose models are to rank; None: the one of embeddings.
        encoding: of the files, where it is neither UTF-8 nor marked UTF-16.
        seed: of what is drawn where a file of judgments is not there.

    Raises:
        UserError: a task whose models cannot rank, too few queries, see :func:`imbik.data.retrieval.reading.read_retrieval`.
    """
    kind = _ranking_task(source, task)
    data = read_retrieval(source, encoding)
    judged, drawn = _completed(data, seed)
    dev, test = (_part(data, judged[name], seed, most) for name, most in (("dev", MOST["dev"]), ("test", None)))
    texts = chain(data.documents, (data.queries[number] for number in sorted(judged["train"])))
    asked = {name: len(judged[name]) for name in ("dev", "test")}
    ranked = len(dev) - asked["dev"]
    note = Note.of("retrieval", documents=len(data.documents), dev=asked["dev"], rows=ranked, test=asked["test"])
    return Rankings(kind, {"train": examples(TextStore.of(texts), None, None), "dev": dev, "test": test}, (note, *drawn))


def rankings_to_measure(source: str | Path, task: str, encoding: str | None) -> Rankings:
    """Read what a finished artefact is measured on: the queries of test (else those of dev, or all that there are) and all documents.

    Raises:
        UserError: see :func:`rankings_to_learn`.
    """
    kind = _ranking_task(source, task)
    data = read_retrieval(source, encoding)
    first = next(name for name in ("test", "all", "dev", "train") if name in data.judged)
    parts = {"test": _part(data, data.judged[first], 0, None)}
    if first == "test" and "dev" in data.judged:
        parts["dev"] = _part(data, data.judged["dev"], 0, MOST["dev"])
    return Rankings(kind, parts, () if first in ("test", "all") else (Note.of("measured_on", split=first),))


def _ranking_task(source: str | Path, name: str | None) -> Task:
    """Return the task, which must be one whose models can rank."""
    kind = task_of(name or TASK)
    if not kind.ranking_metrics:
        raise UserError(
            "queries and documents are no data of this task",
            where=source,
            found=f"corpus.jsonl, queries.jsonl and task {kind.name}",
            expected="a model that gives vectors (embedding)",
            fix="name a sentence encoder as the teacher, or other data",
        )
    return kind


def _completed(data: Retrieval, seed: int) -> tuple[dict[str, Grades], list[Note]]:
    """Return judgments of train, dev and test; dev and test are drawn from what there is where their files are not.

    Raises:
        UserError: there are too few queries.
    """
    judged, notes = dict(data.judged), list[Note]()
    if "all" in judged or set(judged) == {"test"} or set(judged) == {"dev"}:
        (origin,) = judged
        judged["test"], judged["dev"] = _drawn(data, judged.pop(origin), _FROM_ONE_FILE, seed)
        notes.append(Note.of("retrieval_drawn", count=len(judged["dev"]), origin=origin, split="dev", seed=seed))
    elif "test" not in judged and "dev" in judged:
        judged["test"] = judged.pop("dev")
        notes.append(Note.of("retrieval_reported", count=len(judged["test"])))
    for split in ("test", "dev"):
        if split not in judged:
            judged["train"], judged[split] = _drawn(data, judged["train"], SHARE, seed)
            notes.append(Note.of("retrieval_drawn", count=len(judged[split]), origin="train", split=split, seed=seed))
    return {"train": {}, **judged}, notes


def _drawn(data: Retrieval, grades: Grades, share: float, seed: int) -> tuple[Grades, Grades]:
    """Return the queries that stay, and those that are drawn."""
    numbers = sorted(grades)
    if len(numbers) < 2:
        raise UserError(
            "too few queries to draw dev from",
            where=data.folder,
            found=f"{len(numbers)} with an answer",
            expected="2 or more",
            fix="judge more queries, or add a file of judgments for dev",
        )
    chosen = np.random.default_rng(seed).permutation(numbers)[: min(max(1, round(share * len(numbers))), _DEV_QUERIES)]
    leaving = set(chosen.tolist())
    return tuple({query: grades[query] for query in numbers if (query in leaving) == side} for side in (False, True))  # type: ignore[return-value]


def _part(data: Retrieval, grades: Grades, seed: int, most: int | None) -> Examples:
    """Return queries, each before the documents that answer it and no query before, and then the others.

    So the first rows of a split hold answers too, wherever it is cut.

    Args:
        seed: of the other documents that are drawn.
        most: rows, unless queries and answers alone are more; None: all documents.
    """
    rows: list[tuple[bool, int]] = []
    placed: set[int] = set()
    for query in sorted(grades):
        rows.append((True, query))
        answers = [number for number in sorted(grades[query]) if number not in placed]
        placed.update(answers)
        rows += [(False, number) for number in answers]
    others = np.array([number for number in range(len(data.documents)) if number not in placed], np.int64)
    if most is not None and len(rows) + len(others) > most:
        others = np.sort(np.random.default_rng(seed).permutation(others)[: max(0, most - len(rows))])
    rows += [(False, number) for number in others.tolist()]
    targets = ragged(query_target(grades[number], data.copies.get(number)) if query else document_target(number) for query, number in rows)
    return examples(TextStore.of(_texts(data, rows)), None, targets)


def _texts(data: Retrieval, rows: Iterable[tuple[bool, int]]) -> Iterable[str]:
    return (data.queries[number] if query else data.documents[number] for query, number in rows)
