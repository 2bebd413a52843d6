"""Answers in files: what is written is what the model said, in each format, as one file or joined from parts."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path

import numpy as np
import pytest

from imbik.predict.answering import Answers
from imbik.predict.formats import FORMATS
from imbik.predict.sources import Rows
from imbik.tasks.registry import task_of

PROBABILITIES = np.array([[0.2, 0.7, 0.1], [0.5, 0.25, 0.25]], np.float32)
LABELS = ("no", "yes", "perhaps")


def answers(rows: Rows, top: int = 2) -> Answers:
    return Answers(rows, PROBABILITIES[: len(rows)], "classification", LABELS, top)


@pytest.fixture
def rows() -> Rows:
    return Rows(["where, is it?", 'a\r"b"'], None, {"id": ["7", "8"], "label": ["yes", "no"]})


@pytest.mark.parametrize("top", [1, 2, 5])
@pytest.mark.parametrize("task", ["classification", "multi-label"])
def test_columns_are_the_records_of_the_answers(task: str, top: int) -> None:
    rng = np.random.default_rng(0)
    decoded = rng.random((40, 4)).astype(np.float32)
    decoded[3] = decoded[5] = 0.25  # labels of one probability
    labels = ["a", "b", "c", "d"]
    known = task_of(task)
    records = [record for answer in known.answers(decoded, labels, [""] * 40, None, top) for record in known.records(answer)]
    columns = known.columns(decoded, labels, top)
    assert columns is not None
    assert [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] == records
    assert {name: type(value) for name, value in records[0].items()} == {
        name: known.record_types[name.partition("_")[0]] for name in columns
    }


def test_a_regression_has_its_value_as_a_column() -> None:
    decoded = np.array([[0.5], [-2.0]], np.float32)
    assert task_of("regression").columns(decoded, ["stars"], 3) == {"value": [0.5, -2.0]}


def test_csv_holds_what_was_said(rows: Rows, tmp_path: Path) -> None:
    header = FORMATS["csv"].write(answers(rows), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["text"] for row in read] == rows.texts
    assert read[0] == {
        "text": "where, is it?",
        "id": "7",
        "input_label": "yes",
        "label": "yes",
        "probability": "0.700000",
        "label_2": "no",
        "probability_2": "0.200000",
    }
    assert (tmp_path / "a.csv").read_bytes()[:header] == b"text,id,input_label,label,probability,label_2,probability_2\n"
    assert FORMATS["csv"].ours(tmp_path / "a.csv")


def test_json_lines_are_those_of_the_command(rows: Rows, tmp_path: Path) -> None:
    FORMATS["jsonl"].write(answers(rows), tmp_path / "a.jsonl")
    first = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
    assert first["labels"] == [{"label": "yes", "probability": pytest.approx(0.7)}, {"label": "no", "probability": pytest.approx(0.2)}]
    assert (first["text"], first["id"]) == (rows.texts[0], "7")
    assert FORMATS["jsonl"].ours(tmp_path / "a.jsonl")


def test_parquet_has_types(rows: Rows, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    FORMATS["parquet"].write(answers(rows), tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert {name: str(table.schema.field(name).type) for name in ("text", "label", "probability")} == {
        "text": "string",
        "label": "string",
        "probability": "float",
    }
    assert table.column("probability").to_pylist() == [float(np.float32(0.7)), 0.5]
    assert table.column("text").to_pylist() == rows.texts
    assert FORMATS["parquet"].ours(tmp_path / "a.parquet")


def tagged(texts: list[str]) -> Answers:
    spans = np.empty(len(texts), object)
    sure = np.empty(len(texts), object)
    for row, text in enumerate(texts):
        spans[row] = np.array([[0, 3, 0]] if text else [], np.int64).reshape(-1, 3)
        sure[row] = np.array([0.75] if text else [], np.float32)
    return Answers(
        Rows(texts, None, {"id": list(map(str, range(len(texts))))}),
        {"entities": spans, "probability": sure},
        "token-classification",
        ("O", "B-city", "I-city"),
        3,
    )


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_tagged_text_has_a_row_for_each_entity_and_one_without(form: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    known = FORMATS[form]
    parts = []
    for number, texts in enumerate([["", ""], ["Rom", ""]]):  # no entity in the whole first part
        path = tmp_path / f"{number}{known.suffix}"
        parts.append((path, known.write(tagged(texts), path)))
    known.join(parts, tmp_path / f"all{known.suffix}")
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    read = parquet.read_table if form == "parquet" else arrow_csv.read_csv
    table = read(tmp_path / f"all{known.suffix}")
    assert table.column_names == ["text", "id", "label", "start", "end", "entity", "probability"]
    assert table.column("end").to_pylist() == [None, None, 3, None]
    assert table.column("entity").to_pylist()[2] == "Rom"


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_joined_parts_are_the_whole(form: str, rows: Rows, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    known, parts = FORMATS[form], []
    for number in range(2):
        path = tmp_path / f"{number}{known.suffix}"
        one = Rows(rows.texts[number : number + 1], None, {name: cells[number : number + 1] for name, cells in rows.kept.items()})
        parts.append((path, known.write(Answers(one, PROBABILITIES[number : number + 1], "classification", LABELS, 2), path)))
    known.join(parts, tmp_path / "joined")
    known.write(answers(rows), tmp_path / "whole")
    if form == "parquet":
        assert parquet.read_table(tmp_path / "joined").equals(parquet.read_table(tmp_path / "whole"))
    else:
        assert (tmp_path / "joined").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_file_of_somebody_else_is_not_ours(form: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"id": 1}\n')
    with contextlib.suppress(OSError, ValueError):  # which refuse_foreign_file takes for a no
        assert not FORMATS[form].ours(tmp_path / "a")
