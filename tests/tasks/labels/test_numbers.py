"""What a column of numbers holds, decided as a reader of the file would."""

from __future__ import annotations

import numpy as np
import pytest

from imbik.data.formats.table import Table
from imbik.data.label_column import LabelColumn
from imbik.tasks.labels.numbers import class_names, judge


def column(cells: list[str], name: str = "label") -> LabelColumn:
    made = LabelColumn(name)
    made.add(cells, np.arange(2, len(cells) + 2), Table("d.csv", ("text", name), lambda _: iter(())))
    return made.close()


def numbered(count: int, rows: int, start: int = 0) -> list[str]:
    return [str(start + i % count) for i in range(count * rows)]


@pytest.mark.parametrize(
    ("cells", "name", "kind"),
    [
        # codes: no program writes a number like this
        ([f"{i:05d}" for i in range(100, 130)] * 3, "label", "classes"),
        ([f"{i:02d}" for i in range(1, 13)] * 5, "y", "classes"),
        (["7", "12", "007"] * 9, "y", "classes"),
        ([f"{i}_{j}" for i in range(9) for j in range(9)] * 2, "y", "names"),
        ([f"{i}e{j}" for i in range(1, 6) for j in range(6)] * 4, "y", "classes"),
        ([f"+{i}" for i in range(30, 60)] * 4, "y", "classes"),
        ([f"{i:05d}" for i in range(100)], "y", "either"),
        # exponents as programs write them
        ([f"{i}e-05" for i in range(1, 40)], "y", "values"),
        ([f"{i}.5e3" for i in range(1, 40)], "y", "values"),
        # decimals
        ([str(i / 7) for i in range(60)], "label", "values"),
        (["0.5", "1.0", "1.5"] * 40, "label", "values"),
        (["0.5", "1.0", "1.5"] * 40, "category", "either"),
        (["1.1", "1.2", "1.10"] * 40, "version", "either"),
        (["9.9", "9.90", "12.5"] * 40, "price", "values"),
        # whole numbers: few of them, or many under a name
        (numbered(2, 30), "score", "classes"),
        (numbered(20, 6), "label", "classes"),
        (numbered(77, 10), "intent", "classes"),
        (numbered(150, 4, 1), "Label", "classes"),
        (numbered(40, 5), "SINIF", "classes"),
        (numbered(101, 10), "score", "values"),
        (numbered(77, 10), "target", "either"),
        (numbered(60, 30, 18), "y", "either"),
        (numbered(60, 30, 18), "age", "values"),
        ([str(i * 37 % 5000) for i in range(900)], "y", "values"),
        (numbered(61, 3, -30), "y", "values"),
        (numbered(60, 10, 18), "y", "either"),  # ten rows each are often
        (numbered(60, 9, 18), "y", "values"),
        (numbered(40, 5, 5), "label", "either"),  # classes are numbered from 0 or 1
        ([str(i * 37) for i in range(40)] * 4, "y", "values"),  # and without gaps: nine of ten at least
        ([str(i) for i in range(30) if i % 10 != 5] * 4, "y", "either"),
        ([str(i) for i in range(31) if i % 10 != 5 and i != 7] * 4, "y", "values"),
        # numbers as people write them
        ([f"{i},5" for i in range(40)], "score", "either"),
        ([f"1.{i}00,50 TL" for i in range(1, 10)] * 3, "fiyat", "either"),
        ([f"{i} %" for i in range(40)], "share", "either"),
        ([str(i / 7) for i in range(60)] + ["n/a"], "score", "either"),
        (["good", "bad", "1.5"] * 20, "label", "names"),
    ],
)
def test_numbers_are_judged_by_form_count_and_name(cells: list[str], name: str, kind: str) -> None:
    assert judge(column(cells, name)).kind == kind


def test_a_missing_cell_says_nothing() -> None:
    assert judge(column(["0.5", "nan", ""] * 20)).kind == "values"
    assert judge(column(["", "nan"])).kind == "names"


def test_the_same_number_is_the_same_class_in_every_split() -> None:
    assert class_names([column(["1.0", "2.0"]), column(["1", "2"])]) == [["1", "2"], ["1", "2"]]
    # one split holds a name: then no split is rewritten, or "1.0" would be two classes
    assert class_names([column(["1.0", "other"]), column(["1.0"])]) == [["1.0", "other"], ["1.0"]]
    assert class_names([column(["007", "7"])]) == [["007", "7"]]


def test_the_reason_names_the_first_cell_that_is_no_number() -> None:
    found = judge(column([str(i / 7) for i in range(60)] + ["n/a", "later"], "score"))
    assert found.kind == "either" and "n/a" in found.reason and "row 62" in found.reason and "60 different numbers" in found.reason
    found = judge(column(["1,5", "2,5", "3"] * 9, "score"))
    assert found.kind == "either" and found.reason.startswith("'1,5'")


def test_long_codes_are_counted_to_the_last_digit() -> None:
    """A float has 16 digits: of 10^17 + 0 ... 499 it knows thirty."""
    codes = [str(10**17 + i) for i in range(500)]
    assert judge(column(codes * 3, "y")).reason.startswith("500 different whole numbers, 3.0 rows each")
    assert judge(column([str(10**17 + i) for i in range(4)] * 9, "y")).reason.startswith("4 different")
