"""Columns that programs give, and files as spreadsheets leave them: what is read is what stands there, or it is told."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.recommend.data.ratings import Ratings
from imbik.recommend.data.reading import read_pairs, read_ratings

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PLAIN = "user,item,rating\na,x,5\nb,y,3\n"


def read(folder: Path, text: str | bytes, name: str = "r.csv", **options: object) -> Ratings:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_ratings(folder / name, **options)  # type: ignore[arg-type]


def rows(ratings: Ratings) -> list[tuple[str, str, float]]:
    return list(zip(ratings.user_ids[ratings.users], ratings.item_ids[ratings.items], ratings.values.tolist(), strict=True))


TABLE = np.array([["a", "p"], ["b", "q"]])


@pytest.mark.parametrize("users", [{"a", "b"}, {"a": 1, "b": 2}, TABLE, None, 7])
def test_what_is_no_column_is_refused(users: object) -> None:
    with pytest.raises(UserError, match=r"users are no column.*one value a row, in an order"):
        Ratings.of(users, "xy", [5, 3])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="ratings are no column"):
        Ratings.of("ab", "xy", np.array([[5], [3]]))


def test_generators_are_columns() -> None:
    ratings = Ratings.of((u for u in "ab"), iter("xy"), map(float, (5, 3)))  # type: ignore[arg-type]
    assert rows(ratings) == [("a", "x", 5.0), ("b", "y", 3.0)]


@pytest.mark.parametrize("count", [0, -1])
def test_counts_in_memory_must_be_positive_as_in_files(count: float) -> None:
    with pytest.raises(UserError, match="row 2: an implicit count is not positive"):
        Ratings.of("ab", "xy", [5, count], implicit=True)


def test_one_id_in_two_unicode_forms_is_one(tmp_path: Path) -> None:
    ratings = read(tmp_path, "user,item,rating\nJose\u0301,x,5\nJosé,y,3\n")
    assert ratings.user_ids.tolist() == ["José"] and any("1 became equal" in note for note in ratings.notes)
    (tmp_path / "pairs.csv").write_text("user,item\nJose\u0301,x\n", "utf-8")
    assert read_pairs(tmp_path / "pairs.csv").users == ["José"]


def test_ids_that_may_not_be_meant_are_told(tmp_path: Path) -> None:
    assert any("None, nan" in note for note in read(tmp_path, "user,item,rating\nNone,x,5\nnan,y,3\n").notes)
    assert any("7.0 and 7 count as two" in note for note in read(tmp_path, "user,item,rating\n7.0,x,5\n7,y,3\n").notes)
    assert not any("as they stand" in note for note in read(tmp_path, PLAIN).notes)


def test_missing_dates_are_no_ids_and_whole_floats_have_no_exponent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the user id is empty"):
        Ratings.of(np.array(["2024-01-01", "NaT"], "datetime64[D]"), "xy", [5, 3])
    table = pa.table({"user": [1e15, 7.0, 3.5], "item": ["x", "y", "z"], "rating": [True, False, True]})
    pq.write_table(table, tmp_path / "r.parquet")
    ratings = read_ratings(tmp_path / "r.parquet")
    assert ratings.user_ids.tolist() == Ratings.of([1e15, 7.0, 3.5], "xyz", [1, 2, 3]).user_ids.tolist() == [str(10**15), "7", "3.5"]
    assert ratings.values.tolist() == [1, 0, 1]


@pytest.mark.parametrize("mark", [";", ",", "\t"])
def test_excels_first_line_names_the_separator(mark: str, tmp_path: Path) -> None:
    text = f"sep={mark}\r\n" + PLAIN.replace(",", mark).replace("\n", "\r\n")
    assert rows(read(tmp_path, text)) == [("a", "x", 5.0), ("b", "y", 3.0)]
    with pytest.raises(UserError, match=r"r.csv, row 4, column rating"):
        read(tmp_path, text.replace(f"{mark}3", f"{mark}three"))
    with pytest.raises(UserError, match=r"r.csv, row 4: 1 row\(s\) have another number"):
        read(tmp_path, text.replace(f"b{mark}", ""))


def test_packed_files_are_read_by_what_they_hold(tmp_path: Path) -> None:
    for name in ("r.csv.gz", "r.csv"):
        assert rows(read(tmp_path, gzip.compress(PLAIN.encode()), name)) == [("a", "x", 5.0), ("b", "y", 3.0)]
    with pytest.raises(UserError, match="cannot be unpacked"):
        read(tmp_path, gzip.compress(PLAIN.encode())[:-9], "r.csv.gz")


@pytest.mark.parametrize("empty", [",,", "   ", " , , "])
def test_rows_of_nothing_are_left_out_and_told(empty: str, tmp_path: Path) -> None:
    ratings = read(tmp_path, f"user,item,rating\na,x,5\n{empty}\nb,y,3\n{empty}\n")
    assert rows(ratings) == [("a", "x", 5.0), ("b", "y", 3.0)] and any("2 row(s) hold nothing" in note for note in ratings.notes)
    quoted = read(tmp_path, 'user,item,rating\na,"x\n,\ny",5\nb,y,3\n')
    assert quoted.item_ids.tolist() == ["x\n,\ny", "y"]


def test_a_header_among_the_rows_is_no_user(tmp_path: Path) -> None:
    ratings = read(tmp_path, "user,item\na,x\nb,y\nuser,item\nb,x\nUser, Item\n")
    assert ratings.user_ids.tolist() == ["a", "b"] and any("2 row(s) are the header again" in note for note in ratings.notes)
    with pytest.raises(UserError, match="there are no ratings"):
        read(tmp_path, "user,item\nuser,item\n")


def test_what_is_no_table_is_told_as_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this is JSON"):
        read(tmp_path, '{"user": 1, "item": 2, "rating": 3}\n', "r.jsonl")
    with pytest.raises(UserError, match=r"one column.*separated by ';'"):
        read(tmp_path, PLAIN, separator=";")
    table = pa.table([pa.array(["a"]), pa.array(["b"]), pa.array(["x"]), pa.array([5])], names=["user", "user", "item", "rating"])
    pq.write_table(table, tmp_path / "r.parquet")
    ratings = read_ratings(tmp_path / "r.parquet")
    assert ratings.user_ids.tolist() == ["a"] and any("could be it too" in note for note in ratings.notes)


def test_the_first_line_of_powershell_and_the_last_byte_of_dos_are_no_rows(tmp_path: Path) -> None:
    text = "#TYPE System.Management.Automation.PSCustomObject\r\n" + PLAIN.replace("\n", "\r\n")
    assert rows(read(tmp_path, text)) == rows(read(tmp_path, PLAIN + "\x1a")) == [("a", "x", 5.0), ("b", "y", 3.0)]
    with pytest.raises(UserError, match=r"r.csv, row 4, column rating"):
        read(tmp_path, text.replace(",3", ",three"))


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (["u1", "U1", "x"], "u1 and U1 count as two;"),
        (["7", "007", "x", "X"], "7 and 007 count as two, and so do 1 more pairs;"),
        (["7", "7.0", "8"], "7 and 7.0 count as two;"),
        (["1.23457E+15", "1.5E+15"], "such as 1.23457E+15 were rounded by a spreadsheet"),
        (["1E5", "b-1", "17", "1.5"], ""),
        (["ı", "i", "İ"], ""),
    ],
)
def test_ids_that_may_be_one_are_told_and_kept_apart(ids: list[str], told: str) -> None:
    ratings = Ratings.of(ids, ["x"] * len(ids), range(len(ids)))
    assert ratings.user_ids.tolist() == ids
    assert any(told in note for note in ratings.notes) if told else not any("user ids" in note for note in ratings.notes)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([-9.5, 3.25, 8, 99, 99], "2 ratings are 99, apart from the others, which go from -9.5 to 8"),  # Jester
        ([1, 5, 10, -1, -1, -1], "3 ratings are -1, apart"),  # 1 to 10 and "not rated"
        ([-999, 1, 2, -999, 3], "2 ratings are -999, apart"),
        ([0, 1, 5, 0], ""),  # a scale from 0
        ([-1, 0, 1, -1, 1], ""),  # dislikes
        ([-10, 5, 10, -10, 10], ""),
        ([10, 20, 30, 5000], ""),  # an amount that stands once
        ([1, 9, 1, 9], ""),
    ],
)
def test_a_value_that_stands_apart_and_repeats_is_told(values: list[float], told: str) -> None:
    ratings = Ratings.of(range(len(values)), range(len(values)), values)
    apart = [note for note in ratings.notes if "apart" in note]
    assert (len(apart) == 1 and told in apart[0]) if told else apart == []


def test_ratings_that_float32_takes_for_zero_are_refused() -> None:
    with pytest.raises(UserError, match=r"row 2: 2 rating\(s\) are too small"):
        Ratings.of("abc", "xyz", [0, 1e-310, -3e-16])
    assert Ratings.of("abc", "xyz", [1e-15, 2e-15, 3e-15]).values.any()
    assert Ratings.of("abc", "xyz", [5.0, 1e-17, 0]).values.tolist() == pytest.approx([5, 0, 0])
