"""Files, folders and patterns become one stream of rows, cut into parts that follow from the rows alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imbik.data.columns import ColumnNames
from imbik.errors import UserError
from imbik.predict.parts import cut
from imbik.predict.sources import Rows, count_rows, find_inputs, stream_rows


def silent(line: str) -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.csv").write_text("id,text\n1,one\n2,two\n")
    (tmp_path / "a.jsonl").write_text('{"id": 3, "text": "three"}\n')
    (tmp_path / "deep" / "c.csv").write_text("id,text\n4,four\n")
    for mark in ("_answers.csv", ".hidden.csv", "notes.md"):
        (tmp_path / mark).write_text("id,text\n9,nine\n")
    return tmp_path


def test_a_folder_means_the_data_files_below_it_in_order(folder: Path) -> None:
    assert [path.relative_to(folder).as_posix() for path in find_inputs([folder])] == ["a.jsonl", "b.csv", "deep/c.csv"]


def test_a_pattern_means_what_it_matches_and_a_file_counts_once(folder: Path) -> None:
    assert find_inputs([folder / "b.csv", f"{folder}/**/*.csv"]) == [folder / "b.csv", folder / "_answers.csv", folder / "deep" / "c.csv"]


def test_the_output_is_no_input(folder: Path) -> None:
    assert folder / "b.csv" not in find_inputs([folder], but=folder / "b.csv")
    assert find_inputs([folder], but=folder / "deep") == [folder / "a.jsonl", folder / "b.csv"]


@pytest.mark.parametrize("source", ["missing.csv", "*.nothing", "empty"])
def test_what_stands_for_no_file_is_told(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no such file|no file is called|no data file"):
        find_inputs([f"{tmp_path}/{source}"])


def test_rows_of_all_formats_follow_each_other_with_the_kept_columns(folder: Path) -> None:
    rows = list(stream_rows(find_inputs([folder]), ColumnNames(), ["id"], silent))
    assert [text for some in rows for text in some.texts] == ["three", "one", "two", "four"]
    assert [cell for some in rows for cell in some.kept["id"]] == ["3", "1", "2", "4"]
    assert count_rows(find_inputs([folder])) == 4


def test_a_text_that_is_not_there_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": null}\n{"text": "b"}\n')
    assert [some.texts for some in stream_rows([tmp_path / "a.jsonl"], ColumnNames(), [], silent)] == [["", "b"]]


def test_parquet_is_read_and_counted(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"text": ["a", "b"], "n": [1, 2]}), tmp_path / "a.parquet")
    (rows,) = stream_rows([tmp_path / "a.parquet"], ColumnNames(), ["n"], silent)
    assert (rows.texts, rows.kept, count_rows([tmp_path / "a.parquet"])) == (["a", "b"], {"n": ["1", "2"]}, 2)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("id,text\n1,two,three\n", r"b\.csv, row 2: wrong number of fields"),
        ("id,sentence\n1,two\n", r"b\.csv: no column 'text'"),
    ],
)
def test_a_bad_row_is_told_with_its_place(tmp_path: Path, second: str, message: str) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,one\n")
    (tmp_path / "b.csv").write_text(second)
    stream = stream_rows(find_inputs([tmp_path]), ColumnNames(), [], silent)
    assert next(stream).texts == ["one"]
    with pytest.raises(UserError, match=message):
        next(stream)


def test_a_column_to_hand_on_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,one\n")
    with pytest.raises(UserError, match=r"no column 'name'.*--keep"):
        list(stream_rows([tmp_path / "a.csv"], ColumnNames(), ["name"], silent))


@pytest.mark.parametrize("cuts", [[3], [1, 2, 5], [2] * 6, [12]])
def test_parts_follow_from_the_rows_alone(cuts: list[int]) -> None:
    texts = [f"text {number}" for number in range(12)]
    places = [sum(cuts[:n]) for n in range(len(cuts))] + [sum(cuts)]
    chunks = [Rows(texts[a:b], texts[a:b], {"id": texts[a:b]}) for a, b in zip(places, [*places[1:], 12], strict=True) if a < b]
    parts = list(cut(chunks, 5))
    assert [part.rows.texts for part in parts] == [texts[:5], texts[5:10], texts[10:]]
    assert [(part.number, part.first) for part in parts] == [(0, 0), (1, 5), (2, 10)]
    assert [part.digest() for part in parts] == [part.digest() for part in cut([Rows(texts, texts, {"id": texts})], 5)]


def test_a_part_is_known_by_all_that_it_holds() -> None:
    different = [
        Rows(["a", "bc"]),
        Rows(["ab", "c"]),
        Rows(["ab", "c"], ["", ""]),
        Rows(["ab", "c"], None, {"id": ["", "1"]}),
        Rows(["ab", "c"], None, {"id": ["1", ""]}),
        Rows(["ab", "c"], None, {"no": ["1", ""]}),
    ]
    digests = {json.dumps([part.digest() for part in cut([rows], 9)]) for rows in different}
    assert len(digests) == len(different)
