"""A label column as it streams in, in chunks: codes, places, what is missing, and very many numbers."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from imbik.data import label_column
from imbik.data.label_column import LabelColumn, settle_nan
from imbik.errors import UserError

TABLE: Any = SimpleNamespace(names={}, at=lambda row: f"f.csv, row {row}")


def column(*chunks: Sequence[Any], few: bool = True) -> LabelColumn:
    made, row = LabelColumn("label", few_values=few), 2
    for chunk in chunks:
        made.add(chunk, np.arange(row, row + len(chunk)), TABLE)
        row += len(chunk)
    return made.close()


def test_codes_follow_the_first_appearance_over_all_chunks():
    made = column(["b", "a", " b"], ["c", "a "], [])
    assert made.values == ["b", "a", "c"] and made.codes.tolist() == [0, 1, 0, 2, 1]
    assert [made.where(code) for code in range(3)] == [f"f.csv, row {row}, column 'label'" for row in (2, 3, 5)]
    assert column().codes.tolist() == []


def test_a_name_is_one_class_in_every_unicode_form_and_a_text_of_its_own_stays_as_written():
    apart, together = "cafe\u0301", "caf\u00e9"
    assert column([apart, together]).values == [together]
    assert column([apart, together], few=False).values == [apart, together]


def test_cells_of_other_kinds_are_read_as_a_person_would_write_them():
    made = column([1, 1.5, None, "1", 2.0])
    assert made.codes.tolist() == [0, 1, 2, 0, 3] and made.values[:3] == ["1", "1.5", ""]


@pytest.mark.parametrize(
    ("cells", "known", "unlabelled"),
    [
        (["", ""], (), True),
        (["nan", ""], (), True),
        (["NaN", "<NA>"], (), True),
        (["-1", "-1"], (), True),
        (["-1.0"], (), True),
        (["-1", ""], (), False),  # some are labelled: the others are missing
        (["-1", "-1.0"], (), False),
        (["-1", "-1"], ("-1", "1"), False),  # a label of this name is known
        (["nan"], ("nan",), False),
        (["a"], (), False),
        (["0", "0"], (), False),
    ],
)
def test_a_test_file_without_labels(cells: list[str], known: tuple[str, ...], unlabelled: bool):
    assert column(cells).unlabelled(known) is unlabelled


def test_missing_labels_are_named_by_their_row():
    for empty in ("", "nan", "<NA>"):
        with pytest.raises(UserError, match="row 4, column 'label': a row without a label"):
            column(["1", "2", empty]).check_present()
    column(["a", "b"]).check_present()


def test_nan_is_a_name_among_names_and_missing_among_numbers():
    for cells, labels, named in (
        (["a", "nan"], None, True),
        (["1", "nan"], None, False),
        (["1", "nan"], ("NaN", "b"), True),
        (["a", "nan"], ("a",), False),
    ):
        train, test = column(cells), column(["nan"])
        settle_nan([[train], [test]], labels)
        assert train.is_missing("nan") is (not named) and test.is_missing("NaN") is (not named)
        assert train.is_missing("") and not train.is_missing("a")
    first, second, lone = column(["1"]), column(["a", "nan"]), column(["nan"])
    settle_nan([[first, second], [lone]], None)  # a split with fewer columns
    assert lone.is_missing("nan") and not second.is_missing("nan")
    assert column(["1", "a"]).has_names and not column(["1", "2.5", ""]).has_names


def test_very_many_different_numbers_become_an_array(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(label_column, "_MANY", 4)
    made = column(["1", "2", "3", "4"], ["1", "5.5"], ["7", "2"])
    assert made.numbers is not None and made.numbers.tolist() == [1, 2, 3, 4, 1, 5.5, 7, 2] and not made.unlabelled()
    few = column(["1", "2", "3", "4"], ["4", "1"])
    assert few.numbers is None and few.codes.tolist() == [0, 1, 2, 3, 3, 0], "as many as that are still told apart"
    for cells, place in ((["1", "2", "x", "4", "5"], "row 4"), (["1", "2", "3", "4", "inf"], "row 6")):
        with pytest.raises(UserError, match=f"{place}, column 'label': more than 4 different values"):
            column(cells)
    with pytest.raises(UserError, match="row 7, column 'label': more than 4 different values"):
        column(["1", "2", "3", "4", "5"], ["x"])
    assert column([f"text {i}" for i in range(9)], few=False).numbers is None, "texts of their own may be many"


def test_the_place_of_a_row_is_its_own_where_every_row_has_a_text_of_its_own():
    own = column(["a", "a"], ["b", "a", "a"], few=False)
    assert [own.place(row) for row in range(5)] == [f"f.csv, row {row}, column 'label'" for row in (2, 3, 4, 5, 6)]
    with pytest.raises(IndexError):
        own.place(5)
    shared = column(["a", "a"], ["b", "a"])
    assert [shared.place(row) for row in range(4)] == [f"f.csv, row {row}, column 'label'" for row in (2, 2, 4, 2)]


@pytest.mark.parametrize(
    ("cells", "rises", "by_one"),
    [
        (["1", "2", "3", "4"], True, True),
        (["0", "1", "2", "3"], True, True),
        (["1", "2", "4", "7"], True, False),
        (["1", "2", "3"], False, False),  # three may rise by chance
        (["1", "2", "2", "3"], False, False),
        (["1", "2", "4", "3"], False, False),
        (["1.5", "2.5", "3.5", "4.5"], False, False),
    ],
)
def test_whole_numbers_that_rise_from_row_to_row_count_rows(cells: list[str], rises: bool, by_one: bool, monkeypatch: pytest.MonkeyPatch):
    assert (column(cells).counts_rows(steps=False), column(cells).counts_rows(steps=True)) == (rises, by_one)
    monkeypatch.setattr(label_column, "_MANY", 2)
    assert (column(cells).counts_rows(steps=False), column(cells).counts_rows(steps=True)) == (rises, by_one), "as an array, too"
