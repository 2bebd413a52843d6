"""Reading, merging and splitting of ratings; every bad file gives its message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.recommend.data.ratings import Ratings
from imbik.recommend.data.reading import read_pairs, read_ratings
from imbik.recommend.data.splits import k_folds, leave_last_out, random_split, time_split

ROWS = [("ada l", "x", 5, 10), ("bob", "x", 3, 20), ("ada l", "y", 4, 30)]


def _text(mark: str, header: str = "") -> str:
    return header + "\n".join(mark.join(map(str, row)) for row in ROWS) + "\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", _text(",", "userId,movieId,rating,timestamp\n")),
        ("b.tsv", _text("\t")),
        ("c.dat", _text("::")),
        ("d.csv", _text(";", "user;item;rating;time\n").replace("\n", "\r\n")),
        ("e.csv", "\ufeffrating,item,user,time\n5,x,ada l,10\n3,x,bob,20\n4,y,ada l,30\n"),
        ("f.csv", 'user,item,rating,time\n"ada l",x,5,10\nbob,x,3,20\n  ada l  ,y,4,30\n'),
    ],
)
def test_every_form_of_text_gives_the_same_triples(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    read = read_ratings(tmp_path / name)
    assert read.user_ids.tolist() == ["ada l", "bob"] and read.item_ids.tolist() == ["x", "y"]
    assert read.users.tolist() == [0, 1, 0] and read.items.tolist() == [0, 0, 1]
    assert read.values.tolist() == [5, 3, 4] and read.times is not None and read.times.tolist() == [10, 20, 30]
    assert ("blanks around" in " ".join(read.notes)) == (name == "f.csv")


def test_parquet_and_integer_ids(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"user": [7, 8, 7], "item": [1, 1, 2], "rating": [5.0, 3.0, 4.0]})
    pq.write_table(table, tmp_path / "r.parquet")
    read = read_ratings(tmp_path / "r.parquet")
    assert read.user_ids.tolist() == ["7", "8"] and read.values.tolist() == [5, 3, 4]
    (tmp_path / "broken.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a Parquet file"):
        read_ratings(tmp_path / "broken.parquet")


def test_columns_by_name_and_by_number(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("who,what,how\nada,x,5\nbob,y,3\n")
    by_name = read_ratings(tmp_path / "r.csv", user="who", item="what", rating="how")
    assert by_name.values.tolist() == [5, 3] and by_name.user_ids.tolist() == ["ada", "bob"]
    with pytest.raises(UserError, match="no column 'whom' for the user"):
        read_ratings(tmp_path / "r.csv", user="whom", item="what", rating="how")
    (tmp_path / "n.csv").write_text("5,ada,x\n3,bob,y\n")
    assert read_ratings(tmp_path / "n.csv", user="2", item="3", rating="1").values.tolist() == [5, 3]


def test_a_column_has_one_role(tmp_path: Path) -> None:
    (tmp_path / "r.tsv").write_text("a\tx\t5\t1\nb\ty\t3\t2\n")
    assert read_ratings(tmp_path / "r.tsv", rating="4").values.tolist() == [1, 2]  # and so the fourth is no time
    with pytest.raises(UserError, match=r"r.tsv: one column for both user and item\..*--user-column and --item-column"):
        read_ratings(tmp_path / "r.tsv", user="2")
    with pytest.raises(UserError, match=r"no column '0'.*from 1 to 4"):
        read_ratings(tmp_path / "r.tsv", user="0")
    with pytest.raises(UserError, match="a folder, not a file"):
        read_ratings(tmp_path)


def test_parquet_columns_of_lists_are_refused_and_pairs_are_named_as_ratings(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"user": [1.0, 2.0], "item": ["x", "y"], "rating": [[5], [3]]}), tmp_path / "r.parquet")
    with pytest.raises(UserError, match=r"r.parquet, column rating: .*list"):
        read_ratings(tmp_path / "r.parquet")
    pq.write_table(pa.table({"user": [1.0, 2.0], "item": ["x", "y"], "rating": [5, 3]}), tmp_path / "r.parquet")
    assert read_pairs(tmp_path / "r.parquet").users == read_ratings(tmp_path / "r.parquet").user_ids.tolist() == ["1", "2"]


def test_dates_become_seconds_and_order_them(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item,rating,date\na,x,1,2020-01-02\na,y,2,2020-01-01\n")
    times = read_ratings(tmp_path / "r.csv").times
    assert times is not None and times[0] - times[1] == 86400


def test_events_without_a_rating_column(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("user,item\na,x\na,x\nb,y\n")
    read = read_ratings(tmp_path / "e.csv")
    assert read.implicit and sorted(read.values.tolist()) == [1, 2]
    assert any("event" in note for note in read.notes) and any("repeat" in note for note in read.notes)


@pytest.mark.parametrize(("rule", "value"), [("last", 2.0), ("mean", 3.0), ("sum", 6.0)])
def test_rules_for_duplicates(rule: str, value: float) -> None:
    read = Ratings.of(["a", "b", "a"], ["x", "x", "x"], [4, 1, 2], duplicates=rule)  # type: ignore[arg-type]
    assert len(read) == 2 and value in read.values.tolist() and "1 row(s) repeat" in read.notes[0]


def test_newest_duplicate_wins_by_time_not_by_row() -> None:
    assert Ratings.of("aa", "xx", [4, 2], [9, 1]).values.tolist() == [4]


def test_duplicates_can_be_refused() -> None:
    with pytest.raises(UserError, match="rated twice"):
        Ratings.of("aba", "xxx", [4, 1, 2], duplicates="error")


def test_constant_columns_are_reported() -> None:
    notes = Ratings.of("ab", "xy", [3, 3], [1, 1]).notes
    assert "every rating is 3" in notes[0] and "time stamp" in notes[1]


BAD = {
    "missing.csv": (None, "file not found"),
    "empty.csv": ("", "empty"),
    "word.csv": ("user,item,rating\na,x,5\nb,y,good\n", "row 3, column rating.*'good'"),
    "nan.csv": ("user,item,rating\na,x,NaN\n", "row 2, column rating"),
    "hole.csv": ("user,item,rating\na,x,\n", "row 2, column rating"),
    "comma.csv": ("user;item;rating\na;x;3,5\n", "point as decimal"),
    "noid.csv": ("user,item,rating\na,x,5\n  ,x,5\n", "row 3: the user id is empty"),
    "large.csv": ("user,item,rating\na,x,5\na,y,1e300\n", r"row 3: 1 rating\(s\) are too large"),
    "unread.csv": ("who,what,how\na,x,5\n", "row 1.*if this row is a header.*--rating-column"),
    "twice.csv": ("\nuser,item,rating\na,x,5\n", "starts with an empty line"),
    "short.csv": ("user,item,rating\na,x,5\nb,y\n", "another number of columns"),
    "nocolumn.csv": ("user,stars\na,5\n", "no item column.*--item-column"),
    "header.csv": ("user,item,rating\n", "no ratings"),
    "date.csv": ("user,item,rating,time\na,x,5,2024-01-31\na,y,3,2024-02-01\nb,x,4,yesterday\n", "row 4, column time.*'yesterday'"),
    "binary.csv": ("a\x00b", "zero bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_one_clear_message(tmp_path: Path, name: str) -> None:
    text, message = BAD[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_ratings(tmp_path / name)
    assert name in str(caught.value)


def test_other_encodings_are_read_or_named(tmp_path: Path) -> None:
    text = "kullanıcı,ürün,puan\nşule,x,5\nali,x,3\n"
    (tmp_path / "marked.csv").write_text(text, encoding="utf-16")
    (tmp_path / "turkish.csv").write_text(text, encoding="windows-1254")
    for read in (read_ratings(tmp_path / "marked.csv"), read_ratings(tmp_path / "turkish.csv", encoding="windows-1254")):
        assert read.user_ids.tolist() == ["şule", "ali"] and read.values.tolist() == [5, 3]
    with pytest.raises(UserError, match=r"turkish.csv, row 1: not valid UTF-8.*--encoding"):
        read_ratings(tmp_path / "turkish.csv")
    assert read_pairs(tmp_path / "turkish.csv", "windows-1254")[0] == ["şule", "ali"]


def test_bad_columns_in_memory() -> None:
    for columns, message in [((["a"], ["x", "y"], [1]), "length"), ((["a"], ["x"], [np.inf]), "not numbers"), (([], [], []), "no ratings")]:
        with pytest.raises(UserError, match=message):
            Ratings.of(*columns)


def test_counts_must_be_positive(tmp_path: Path) -> None:
    (tmp_path / "negative.csv").write_text("user,item,count\na,x,2\na,y,-1\n")
    with pytest.raises(UserError, match=r"negative.csv, row 3: .*not positive"):
        read_ratings(tmp_path / "negative.csv", implicit=True)


def test_pairs(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("item,user\nx, ada\n")
    assert read_pairs(tmp_path / "p.csv") == (["ada"], ["x"], 2)
    with pytest.raises(UserError, match="file not found"):
        read_pairs(tmp_path / "q.csv")


def test_splits_partition_the_rows(ratings: Ratings) -> None:
    timed = Ratings(*(getattr(ratings, n) for n in ("users", "items", "values", "user_ids", "item_ids")), np.arange(len(ratings))[::-1])
    cell = ratings.users.astype(int) * 1000 + ratings.items
    for split in (random_split(timed, 0.2, 3), time_split(timed, 0.2), leave_last_out(timed)):
        held = np.concatenate([s.users.astype(int) * 1000 + s.items for s in split])
        assert sorted(held) == sorted(cell)
    train, test = time_split(timed, 0.25)
    assert train.times is not None and test.times is not None and train.times.max() < test.times.min()
    train, test = leave_last_out(timed)
    assert np.bincount(test.users).max() == 1 and len(test) == len(np.unique(ratings.users))
    for user in range(5):
        assert train.times is not None and test.times is not None
        assert train.times[train.users == user].max() < test.times[test.users == user].min()


def test_who_has_no_more_ratings_than_are_held_out_keeps_them_all() -> None:
    data = Ratings.of("abbccc", "xxyxyz", [1, 2, 3, 4, 5, 6])
    for count, left in ((1, [1, 1, 2]), (2, [1, 2, 1])):
        split = leave_last_out(data, count)
        assert np.bincount(split.train.users, minlength=3).tolist() == left
    assert leave_last_out(data, 2).test.values.tolist() == [5, 6]


def test_folds_cover_every_row_once_and_seeds_matter(ratings: Ratings) -> None:
    assert sum(len(s.test) for s in k_folds(ratings, 4)) == len(ratings)
    same, other = (random_split(ratings, 0.1, seed).test.items.tolist() for seed in (1, 2))
    assert same == random_split(ratings, 0.1, 1).test.items.tolist() and same != other


def test_impossible_splits(ratings: Ratings) -> None:
    small = Ratings.of("ab", "xy", [1, 2])
    for attempt in (
        lambda: random_split(ratings, 1.5), lambda: random_split(small, 0.1), lambda: time_split(ratings),
        lambda: list(k_folds(small, 5)), lambda: leave_last_out(small),
    ):  # fmt: skip
        with pytest.raises(UserError):
            attempt()
