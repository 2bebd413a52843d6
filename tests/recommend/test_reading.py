"""Files of ratings as people have them: what is read is what stands there, and every guess is told."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.recommend.data.ids import Place, encode, id_text
from imbik.recommend.data.ratings import Ratings
from imbik.recommend.data.reading import read_ratings

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def read(folder: Path, text: str, name: str = "r.csv", **options: object) -> Ratings:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return read_ratings(folder / name, **options)  # type: ignore[arg-type]


def triples(ratings: Ratings) -> list[tuple[str, str, float]]:
    ids = zip(ratings.user_ids[ratings.users], ratings.item_ids[ratings.items], ratings.values.tolist(), strict=True)
    return [(user, item, value) for user, item, value in ids]


QUOTES = {
    "a stray quote in a TSV": ("user\titem\trating\nu1\t\"heroes\t5\nu2\tx\t3\nu3\ty\"z\t4\n", ['"heroes', "x", 'y"z'], True),
    "a stray quote in a CSV": ('user,item,rating\nu1,"heroes,5\nu2,x,3\nu3,y"z,4\n', ['"heroes', "x", 'y"z'], True),
    "a quote that opens and one that closes": ('user,item,rating\nu1,"heroes,5\nu2,x,3\nu3,y",4\n', ['"heroes', "x", 'y"'], True),
    "the last quote never closed": ('user,item,rating\nu1,x,5\nu2,y,3\nu3,"z,4\n', ["x", "y", '"z'], True),
    "a stray quote between ::": ('u1::"h::5\nu2::x::3\nu3::y::4\n', ['"h', "x", "y"], True),
    "separators in quotes": ('user,item,rating\nu1,"a, b",5\nu2,"x",3\nu3,y,4\n', ["a, b", "x", "y"], False),
    "quotes in quotes": ('user,item,rating\nu1,"the ""best""",5\nu2,x,3\nu3,y,4\n', ['the "best"', "x", "y"], False),
    "everything in quotes": ('"user","item","rating"\n"u1","a","5"\n"u2","b","3"\n"u3","c","4"\n', ["a", "b", "c"], False),
    "line breaks in quotes": ('user,item,rating,said\nu1,a,5,"good\nvery, good"\nu2,b,3,"bad"\nu3,c,4,x\n', ["a", "b", "c"], False),
    "several letters as separator in quotes": ('"u1"::"a::b"::5\nu2::x::3\nu3::y::4\n', ["a::b", "x", "y"], False),
}  # fmt: skip


@pytest.mark.parametrize("what", QUOTES)
def test_quotes_swallow_no_rows(what: str, tmp_path: Path) -> None:
    text, items, told = QUOTES[what]
    ratings = read(tmp_path, text)
    assert triples(ratings) == [("u1", items[0], 5.0), ("u2", items[1], 3.0), ("u3", items[2], 4.0)]
    assert any("quote" in note for note in ratings.notes) == told


def test_a_quote_that_may_swallow_rows_stops_the_file_with_its_row(tmp_path: Path) -> None:
    head = 'user,item,rating\nu1,x,5\nu2,"a, b",3\n'
    for text in (head + 'u3,"c,4\nu4,d,2\n', head + 'u3,"c,4\nu4,e,1\nu5,d",2\n', head + 'u3,"c,4\nu4,d"e,2\nu5,f,1\n'):
        with pytest.raises(UserError, match=r"r.csv"):
            read(tmp_path, text)


SEPARATORS = {
    "colons in an id": ("a::b,x,5\na::c,y,3\na::b,y,1\n", ("a::b", "x", 5.0)),
    "a semicolon in an id": ("user,item,rating\nu;1,x,5\nu;2,y,3\n", ("u;1", "x", 5.0)),
    "a bar in an id": ("u|1,x,5\nu|2,y,3\n", ("u|1", "x", 5.0)),
    "blanks in ids": ("ann lee,song x,5\nbob ray,song y,3\n", ("ann lee", "song x", 5.0)),
    "blanks between": ("196 242 3\n186 302 4\n", ("196", "242", 3.0)),
    "MovieLens 1M": ("1::1193::5::978300760\n2::661::3::978302109\n", ("1", "1193", 5.0)),
}


@pytest.mark.parametrize("what", SEPARATORS)
def test_an_id_may_hold_what_separates_elsewhere(what: str, tmp_path: Path) -> None:
    text, first = SEPARATORS[what]
    assert triples(read(tmp_path, text))[0] == first


def test_a_second_separator_that_would_fit_is_told_and_one_can_be_named(tmp_path: Path) -> None:
    ratings = read(tmp_path, "a::b,x,5\na::c,y,3\n")
    assert any("'::' would cut every row alike" in note for note in ratings.notes)
    for typed, mark in ((r"\t", "\t"), ("tab", "\t"), (r"\x01", "\x01"), ("·", "·"), ("<>", "<>")):
        assert triples(read(tmp_path, f"u1{mark}x{mark}5\nu2{mark}y{mark}3\n", separator=typed)) == [("u1", "x", 5.0), ("u2", "y", 3.0)]
    for wrong in ("", '"', "\n"):
        with pytest.raises(UserError, match="impossible separator"):
            read(tmp_path, "u1,x,5\n", separator=wrong)


HEADERS = ("user_id,song_id", "session_id,item_id", "visitor,page", "User ID,Item ID", "user_id:token,item_id:token", "Kullanıcı,Ürün",
           "KULLANICI,FİLM", "user,what", "what,user")  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_is_no_user(header: str, tmp_path: Path) -> None:
    ratings = read(tmp_path, f"{header}\nann,s1\nann,s2\nbob,s1\nbob,s3\n")
    assert header.split(",")[0] not in {*ratings.user_ids, *ratings.item_ids} and len(ratings) == 4


def test_a_first_row_that_may_be_a_header_is_told(tmp_path: Path) -> None:
    ratings = read(tmp_path, "who,what\nann,s1\nbob,s2\n")
    assert "who" in ratings.user_ids and any("(who, what) is read as data" in note for note in ratings.notes)
    assert not any("header" in note and "read as data" in note for note in read(tmp_path, "u1,s1\nu2,s2\n").notes)
    # A user called film is one, since it comes again.
    assert "film" in read(tmp_path, "film,apple\nbob,pear\nfilm,pear\n").user_ids


def test_of_two_columns_for_one_role_the_likelier_is_taken_and_told(tmp_path: Path) -> None:
    ratings = read(tmp_path, "user_id,item_id,count,rating\nu1,i1,17,5\nu1,i2,3,2\n")
    assert ratings.values.tolist() == [5, 2] and any("'rating'; 'count' could be it too" in note for note in ratings.notes)
    ratings = read(tmp_path, "customer_id,user_id,product,item,rating\nc,u,p,i,5\nc,v,p,j,2\n")
    assert ratings.user_ids.tolist() == ["u", "v"] and ratings.item_ids.tolist() == ["i", "j"]
    assert [note.split()[1] for note in ratings.notes if "could be it too" in note] == ["user", "item"]
    with pytest.raises(UserError, match=r"same name.*3, 4"):
        read(tmp_path, "user,item,rating,rating\nu1,i1,5,1\n", rating="rating")
    assert read(tmp_path, "user,item,rating,rating\nu1,i1,5,1\nu2,i1,4,2\n", rating="4").values.tolist() == [1, 2]


def test_columns_without_a_name_that_is_known_are_told(tmp_path: Path) -> None:
    assert any("'liking'" in note for note in read(tmp_path, "user,item,liking\nu1,i1,5\nu2,i2,3\n").notes)
    assert any("no header" in note for note in read(tmp_path, "u1,i1,5\nu2,i2,3\n").notes)
    ratings = read(tmp_path, "session_id,thing,rating\ns1,a,3\ns2,b,4\n")
    assert ratings.item_ids.tolist() == ["a", "b"] and any("'thing', the only one left" in note for note in ratings.notes)


@pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan"), "", "  "])
def test_a_missing_id_is_no_user(missing: object) -> None:
    for users, items in ((["ann", missing], ["x", "y"]), (["ann", "bob"], ["x", missing])):
        with pytest.raises(UserError, match=r"row 2: the (user|item) id is empty"):
            Ratings.of(users, items, [5, 4])


def test_missing_ids_of_pandas_and_parquet_are_no_users(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    for users in (pd.Series([1, pd.NA], dtype="Int64"), pd.Series([1.0, None]), pd.Series(["a", None])):
        with pytest.raises(UserError, match="the user id is empty"):
            Ratings.of(users, ["x", "y"], [5, 4])
        pd.DataFrame({"user": users, "item": ["x", "y"], "rating": [5, 4]}).to_parquet(tmp_path / "r.parquet")
        with pytest.raises(UserError, match=r"r.parquet, row 2: the user id is empty"):
            read_ratings(tmp_path / "r.parquet")


def test_ids_of_any_type_have_one_text() -> None:
    assert Ratings.of([7, 7.0, "7", np.int64(7), np.float32(7)], "vwxyz", [1, 2, 3, 4, 5]).user_ids.tolist() == ["7"]
    assert [id_text(x) for x in (7.5, True, b"k\xc3\xb6y", 10**20)] == ["7.5", "True", "köy", str(10**20)]
    with pytest.raises(UserError, match="no text"):
        encode(["a\ud800"], "user", Place(None, 1))
    with pytest.raises(UserError, match="no text"):
        encode(pa.array([b"\xff"]), "user", Place(None, 1))


def test_ids_are_apart_by_their_last_letter_and_cost_their_own_length(tmp_path: Path) -> None:
    assert Ratings.of(["a\0", "a", "b"], "xxx", [5, 1, 3]).user_ids.tolist() == ["a\0", "a", "b"]
    many = [f"https://shop.example/{n}" for n in range(2000)] + ["x" * 100_000]
    assert Ratings.of(many, ["i"] * 2001, range(2001)).user_ids.nbytes < 100_000
    pq.write_table(pa.table({"user": ["a\0", "a"], "item": ["x", "x"], "rating": [5, 1]}), tmp_path / "r.parquet")
    assert len(set(read_ratings(tmp_path / "r.parquet").user_ids.tolist())) == 2


UTC = datetime.UTC
TIMES = {
    "2024-01-31": datetime.datetime(2024, 1, 31, tzinfo=UTC),
    "2024-01-31 10:00": datetime.datetime(2024, 1, 31, 10, tzinfo=UTC),
    "2024-01-31T10:00:00Z": datetime.datetime(2024, 1, 31, 10, tzinfo=UTC),
    "2024-01-31T10:00:00+03:00": datetime.datetime(2024, 1, 31, 7, tzinfo=UTC),
    "2024-01-31T10:00:00-0530": datetime.datetime(2024, 1, 31, 15, 30, tzinfo=UTC),
    " 2024-01-31T10:00:00.250 ": datetime.datetime(2024, 1, 31, 10, 0, 0, 250_000, tzinfo=UTC),
    "2024-01-31T10:00:00.250000123": datetime.datetime(2024, 1, 31, 10, 0, 0, 250_000, tzinfo=UTC),
    "1500-06-01": datetime.datetime(1500, 6, 1, tzinfo=UTC),
}


@pytest.mark.parametrize("text", TIMES)
def test_iso_times_are_seconds_since_1970_in_utc(text: str, tmp_path: Path) -> None:
    times = read(tmp_path, f"user,item,rating,time\na,x,5,{text}\nb,y,3,{text}\n").times
    assert times is not None and times.tolist() == pytest.approx([TIMES[text].timestamp()] * 2, abs=1e-5)


def test_times_of_parquet_in_every_unit(tmp_path: Path) -> None:
    when = datetime.datetime(2024, 1, 31, 10, 0, 0, tzinfo=UTC)
    columns = [pa.array([when, when], pa.timestamp(unit, zone)) for unit in ("s", "ms", "us", "ns") for zone in (None, "Europe/Istanbul")]
    columns += [pa.array(["2024-01-31T10:00:00Z"] * 2, kind) for kind in (pa.string(), pa.large_string())]
    columns.append(pa.array(["2024-01-31T10:00:00Z"] * 2).dictionary_encode())
    for column in columns:
        pq.write_table(pa.table({"user": ["a", "b"], "item": ["x", "y"], "rating": [5, 3], "time": column}), tmp_path / "r.parquet")
        times = read_ratings(tmp_path / "r.parquet").times
        assert times is not None and times.tolist() == [when.timestamp()] * 2, column.type
    day = pa.array([when.date(), when.date()])
    pq.write_table(pa.table({"user": ["a", "b"], "item": ["x", "y"], "rating": [5, 3], "date": day}), tmp_path / "r.parquet")
    assert read_ratings(tmp_path / "r.parquet").times[0] == when.timestamp() - 36_000  # type: ignore[index]


def test_a_missing_time_is_told_and_never_the_newest(tmp_path: Path) -> None:
    when = datetime.datetime(2024, 1, 31)
    for column in (pa.array([None, when]), pa.array([None, "2024-01-31"])):
        pq.write_table(pa.table({"user": ["a", "a"], "item": ["x", "x"], "rating": [5, 1], "time": column}), tmp_path / "r.parquet")
        with pytest.raises(UserError, match=r"r.parquet, row 1, column time: 1 time\(s\) are missing"):
            read_ratings(tmp_path / "r.parquet")
    for times in ([np.nan, 1.0], np.array(["NaT", "2024-01-31"], "datetime64[s]"), [float("inf"), 1.0]):
        with pytest.raises(UserError, match=r"row 1: 1 time\(s\) are missing"):
            Ratings.of("aa", "xx", [5, 1], times)
    for text in ("a,x,5,2024-01-31\na,x,1,\n", "a,x,5,\na,x,1,2024-01-31\n", "a,x,5,2024-01-31T10:00:00Z\na,x,1,2024-01-31T10:00:00\n"):
        with pytest.raises(UserError, match=r"row [23], column time"):
            read(tmp_path, f"user,item,rating,time\n{text}")


def test_dates_in_memory_are_seconds_too() -> None:
    pd = pytest.importorskip("pandas")
    days = ["2024-01-01", "2024-01-02"]
    first = datetime.datetime(2024, 1, 1, tzinfo=UTC).timestamp()
    aware = [datetime.datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2)]
    series = pd.Series(pd.to_datetime(days))
    for times in (np.array(days, "datetime64[D]"), series, series.dt.tz_localize("UTC"), aware):
        read_times = Ratings.of("ab", "xy", [5, 1], times).times
        assert read_times is not None and read_times.tolist() == [first, first + 86_400]


def test_an_unknown_rule_is_not_taken_as_another(tmp_path: Path) -> None:
    for attempt in (
        lambda: Ratings.of("aa", "xx", [5, 1], duplicates="newest"),  # type: ignore[arg-type]
        lambda: read(tmp_path, "user,item,rating\na,x,5\n", duplicates="first"),
    ):
        with pytest.raises(UserError, match=r"unknown rule for duplicates.*last, mean, sum, error"):
            attempt()
    for attempt in (
        lambda: Ratings.of("aa", "xy", [5, 1], implicit="no"),  # type: ignore[arg-type]
        lambda: read(tmp_path, "user,item,rating\na,x,5\n", implicit="no"),
    ):
        with pytest.raises(UserError, match="not a truth value"):
            attempt()


@pytest.mark.parametrize("cell", ["80%", "1_000", "3,5", "five", "1e999", "nan", ""])
def test_what_is_no_number_is_told_with_its_row(cell: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"r.csv, row 3, column rating"):
        read(tmp_path, f"user;item;rating\nu1;x;5\nu2;y;{cell}\n")


def test_line_ends_of_every_kind(tmp_path: Path) -> None:
    for end in ("\n", "\r\n", "\r"):
        assert triples(read(tmp_path, f"user,item,rating{end}u1,x,5{end}u2,y,3{end}")) == [("u1", "x", 5.0), ("u2", "y", 3.0)]


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    import os
    import threading

    os.mkfifo(tmp_path / "pipe")
    for content in (b"user,item,rating\nu1,x,5\nu2,y,3\n", "user,item,rating\nşu,x,5\n".encode("windows-1254")):
        writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
        writer.start()
        if b"u1" in content:
            assert len(read_ratings(tmp_path / "pipe")) == 2
        else:
            with pytest.raises(UserError, match=r"pipe, row 2: not valid UTF-8"):
                read_ratings(tmp_path / "pipe")
        writer.join()
