"""Folders of queries, documents and judgments: read, split, refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from imbik.data.carving.apart import learned_apart
from imbik.data.evaluation import load_evaluation
from imbik.data.load import load_data
from imbik.data.splitting import MOST
from imbik.errors import UserError
from imbik.tasks.ranking.relevance import Collection
from imbik.tasks.registry import task_of

LABELS = tuple("0123")


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return path


def judged(path, rows, head="query-id\tcorpus-id\tscore"):
    return lines(path, [*([head] if head else []), *("\t".join(map(str, row)) for row in rows)])


@pytest.fixture
def folder(tmp_path):
    """Thirty documents, sixty queries; query N is answered by document N mod 30, and by the next one less well."""
    lines(tmp_path / "corpus.jsonl", [{"_id": f"d{n}", "title": f"title {n}", "text": f"document {n}", "metadata": {}} for n in range(30)])
    lines(tmp_path / "queries.jsonl", [{"_id": f"q{n}", "text": f"query {n}"} for n in range(60)])
    for split, numbers in (("train", range(40)), ("dev", range(40, 50)), ("test", range(50, 60))):
        rows = [(f"q{n}", f"d{(n + step) % 30}", 2 - step) for n in numbers for step in range(3)]
        judged(tmp_path / "qrels" / f"{split}.tsv", rows)
    return tmp_path


def read(folder, **named):
    return load_data(folder, labels=LABELS, say=lambda _: None, **named)


def test_rows_are_queries_and_documents(folder):
    said = []
    splits = load_data(folder, labels=LABELS, say=said.append)
    assert splits.task == "embedding" and splits.metric == "ndcg@10" and splits.labels == LABELS
    assert splits.train.targets is None and len(splits.train) == 30 + 40
    assert "title 3 document 3" in set(splits.train.texts), "a title stands before its text"
    assert {f"query {n}" for n in range(40)} <= set(splits.train.texts)
    assert not {f"query {n}" for n in range(40, 60)} & set(splits.train.texts), "what is asked in dev and test is not learned"
    for part, first in ((splits.dev, 40), (splits.test, 50)):
        assert len(part) == 10 + 30
        found = Collection.of(part.targets)
        assert len(found.documents) == 30 and len(found.queries) == 10
        for row, grades in zip(found.queries.tolist(), found.grades, strict=True):
            number = int(part.texts[row].split()[1])
            named = {int(part.texts[found.documents[place]].split()[-1]): grade for place, grade in grades.items()}
            assert number >= first and named == {number % 30: 2, (number + 1) % 30: 1}, "a grade of 0 is no answer"
    assert any("30 documents; dev: 10 queries over 30 of them, test: 10 queries over all" in line for line in said)
    assert learned_apart(splits).train.targets is None
    assert read(folder).fingerprint == splits.fingerprint


def test_perfect_vectors_have_a_perfect_score(folder):
    part = read(folder).test
    directions = np.eye(30, dtype=np.float32)
    vectors = []
    for text in part.texts:
        number = int(text.split()[-1])
        nearest = directions[number % 30]
        vectors.append(nearest + 0.5 * directions[(number + 1) % 30] if text.startswith("query") else nearest)
    assert task_of("embedding").score("ndcg@10", np.stack(vectors), part.targets) == 1.0


def test_what_is_missing_is_drawn_and_said(folder):
    (folder / "qrels" / "dev.tsv").unlink()
    splits = read(folder)
    assert [note.kind for note in splits.notes] == ["retrieval", "retrieval_drawn"]
    assert len(Collection.of(splits.dev.targets).queries) == 4 and len(splits.train) == 30 + 36
    (folder / "qrels" / "train.tsv").unlink()
    alone = read(folder)
    assert [len(Collection.of(part.targets).queries) for part in (alone.dev, alone.test)] == [2, 8]
    assert len(alone.train) == 30
    dev = {text for text in alone.dev.texts if text.startswith("query")}
    assert not dev & set(alone.test.texts)
    judged(folder / "qrels" / "dev.tsv", [(f"q{n}", "d1", 1) for n in range(40)])
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "train.tsv")
    assert "retrieval_reported" in [note.kind for note in read(folder).notes]


def test_one_file_of_judgments_in_trecs_form(folder):
    for path in (folder / "qrels").iterdir():
        path.unlink()
    (folder / "qrels").rmdir()
    judged(folder / "qrels.tsv", [(f"q{n}", 0, f"d{n % 30}", 1) for n in range(20)], head=None)
    splits = read(folder)
    assert len(Collection.of(splits.test.targets).queries) == 16 and len(Collection.of(splits.dev.targets).queries) == 4


def test_a_large_collection_is_drawn_from_for_dev_alone(folder, monkeypatch):
    monkeypatch.setitem(MOST, "dev", 15)
    splits = read(folder)
    found = Collection.of(splits.dev.targets)
    assert len(splits.dev) == 21 and len(found.queries) == 10, "queries and their answers stay, though they are more"
    assert len(splits.test) == 40


def test_measured_are_the_queries_of_test_and_all_documents(folder):
    found = load_evaluation(folder, labels=LABELS, task="embedding", say=lambda _: None)
    splits = read(folder)
    assert found.metric == "ndcg@10" and found.test.fingerprint == splits.test.fingerprint
    assert found.dev.fingerprint == splits.dev.fingerprint
    (folder / "qrels" / "test.tsv").unlink()
    assert [note.kind for note in load_evaluation(folder, labels=LABELS, task="embedding", say=lambda _: None).notes] == ["measured_on"]


def test_a_query_that_is_a_document_is_not_its_own_answer(folder):
    lines(folder / "queries.jsonl", [{"_id": f"d{n}", "text": f"title {n} document {n}"} for n in range(30)])
    for split in ("train", "dev"):
        (folder / "qrels" / f"{split}.tsv").unlink()
    judged(folder / "qrels" / "test.tsv", [(f"d{n}", f"d{(n + 1) % 30}", 1) for n in range(30)])
    part = read(folder).test
    assert all(any(grade < 0 for grade in grades.values()) for grades in Collection.of(part.targets).grades)


BROKEN = {
    "unknown query": (
        "qrels/test.tsv",
        lambda rows: [*rows, "q99\td1\t1"],
        r"test.tsv, row 32: a judgment of an id that is not there.*'q99'.*queries",
    ),
    "unknown document": ("qrels/test.tsv", lambda rows: [*rows, "q50\tx\t1"], r"row 32: .*'x'.*corpus.jsonl"),
    "twice": ("qrels/test.tsv", lambda rows: [*rows, rows[1]], r"row 32: duplicate judgment"),
    "score": ("qrels/test.tsv", lambda rows: [*rows, "q1\td9\tgood"], r"row 32: a score that is no whole number.*'good'"),
    "columns": ("qrels/test.tsv", lambda rows: [*rows, "q1\td9"], r"row 32: not a judgment.*query-id<TAB>corpus-id<TAB>score"),
    "no answer": (
        "qrels/test.tsv",
        lambda _: ["query-id\tcorpus-id\tscore", "q1\td1\t0"],
        r"test.tsv: no query has an answer.*1 judgments, none above 0",
    ),
    "no id": ("corpus.jsonl", lambda rows: [*rows, json.dumps({"text": "a"})], r"corpus.jsonl, row 31, field '_id': no id.*None"),
    "same id": ("queries.jsonl", lambda rows: [*rows, rows[0]], r"queries.jsonl, row 61, field '_id': duplicate id"),
    "no text": ("corpus.jsonl", lambda rows: [*rows, json.dumps({"_id": "z"})], r"corpus.jsonl, row 31, field 'text': not a text"),
    "fields": ("queries.jsonl", lambda _: ['{"name": "q1"}'], r"queries.jsonl, row 1: a field is missing.*name.*_id and text"),
    "json": ("queries.jsonl", lambda rows: [*rows, "{"], r"queries.jsonl, row 61, character 1: broken JSON"),
    "surrogate": ("corpus.jsonl", lambda rows: [*rows, '{"_id": "z", "text": "\\ud800"}'], r"row 31, field 'text': an unpaired surrogate"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_message_says_what_is_broken(folder, case):
    name, change, message = BROKEN[case]
    lines(folder / name, change((folder / name).read_text().splitlines()))
    with pytest.raises(UserError, match=message):
        read(folder)


def test_what_is_not_there_is_refused(folder):
    with pytest.raises(UserError, match=r"no data of this task.*task classification"):
        read(folder, task="classification")
    with pytest.raises(UserError, match="spearman, and queries with documents"):
        read(folder, metric="spearman")
    for path in (folder / "qrels").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"queries and documents without judgments.*qrels/train.tsv"):
        read(folder)
    judged(folder / "qrels" / "test.tsv", [("q1", "d1", 1)])
    with pytest.raises(UserError, match=r"too few queries to draw dev from.*1 with an answer"):
        read(folder)
