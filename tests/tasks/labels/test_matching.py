"""Which label names count: train's, a teacher's, those that only dev has; how names are matched, what is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.tasks.label_cells import as_cell, json_list, natural_order, number_of, numbers_of
from imbik.tasks.labels.matching import MOST_UNLEARNABLE, listed, match_labels
from imbik.types import Note


class Column:
    """A label column: its cells, each a class of its own name."""

    name, numbers = "label", None

    def __init__(self, cells: Sequence[str], file: str = "d.csv") -> None:
        self.values = list(dict.fromkeys(cells))
        self.codes = np.array([self.values.index(cell) for cell in cells], np.int32)
        self.file = file

    def where(self, code: int) -> str:
        return f"{self.file}, row {int(np.argmax(self.codes == code)) + 2}"

    def is_missing(self, value: str) -> bool:
        return not value

    def check_present(self) -> None:
        return


def matched(*splits: Sequence[str], labels: Sequence[str] | None = None, exact: bool = False) -> tuple[Any, list[list[str]], list[Note]]:
    """The names, each row's label in them, and what was said."""
    columns = {name: Column(cells, f"{name}.csv") for name, cells in zip(("train", "dev", "test"), splits, strict=False)}
    rows: Any = {name: SimpleNamespace(labels=[column], where=f"{name}.csv") for name, column in columns.items()}
    said: list[Note] = []
    sets = [[[(value,) for value in column.values]] for column in columns.values()]
    names, known = match_labels(rows, sets, labels, said.append, exact=exact)
    found = [[cells[0][code][0] for code in column.codes] for cells, column in zip(known, columns.values(), strict=True)]
    return names, found, said


def test_names_are_those_of_train_in_natural_order():
    names, found, said = matched(["b10", "b9", "a"], ["a", "b9"])
    assert names == ("a", "b9", "b10") and found == [["b10", "b9", "a"], ["a", "b9"]] and said == []


@pytest.mark.parametrize("file", ["dev", "test"])
def test_a_fiftieth_of_rows_may_have_labels_that_train_lacks(file: str):
    """2 of 100 count as errors of every model and are told; 3 mean that the files do not belong together."""
    assert MOST_UNLEARNABLE == 0.02
    dev = ["a", "b"] * 49 + ["c", "d"]
    splits = (["a", "b"], dev) if file == "dev" else (["a", "b"], ["a", "b"], dev)
    names, found, said = matched(*splits)
    assert names == ("a", "b", "c", "d") and found[-1] == dev
    (note,) = said
    assert note.kind == "rare" and dict(note.values) == {"file": f"{file}.csv, row 100", "count": 2, "labels": "'c', 'd'"}
    with pytest.raises(UserError, match="a label that train does not have") as error:
        matched(*splits[:-1], [*dev[:97], "c", "c", "d"])
    assert f"{file}.csv, row 99" in str(error.value) and "'c'" in str(error.value)


def test_one_class_is_none_to_tell_apart():
    with pytest.raises(UserError, match=r"only one class. Found: 'a'\."):
        matched(["a", "a"], ["a", "b"])
    with pytest.raises(UserError, match="no labels at all"):
        matched([])


def test_a_teachers_names_stand_in_its_order_and_may_be_more():
    names, found, said = matched(["a", "c"], ["a"], labels=("c", "b", "a"))
    assert names == ("c", "b", "a") and found == [["a", "c"], ["a"]] and said == []
    with pytest.raises(UserError, match="only in the model: 'b'"):
        matched(["a", "c"], labels=("c", "b", "a"), exact=True)
    with pytest.raises(UserError, match="only in the data: 'z'"):
        matched(["a", "z"], labels=("c", "a"))
    assert matched(["a"], labels=("a",))[0] == ("a",), "a teacher's one class is its business"
    assert matched(["a", "c", "b"], labels=("c", "b", "a"), exact=True)[0] == ("c", "b", "a")


@pytest.mark.parametrize(
    ("data", "labels", "found", "kind"),
    [
        (["GOOD", "Bad"], ("bad", "good"), ["good", "bad"], "label_case"),
        (["1.0", "2.0"], ("1", "2"), ["1", "2"], "label_number"),
        (["cafe\u0301", "b"], ("caf\u00e9", "b"), ["caf\u00e9", "b"], "label_form"),
        (["0", "2"], ("LABEL_0", "LABEL_1", "LABEL_2"), ["LABEL_0", "LABEL_2"], "class_numbers"),
    ],
)
def test_names_that_are_written_otherwise_are_matched_and_told(data: list[str], labels: tuple[str, ...], found: list[str], kind: str):
    names, rows, said = matched(data, labels=labels)
    assert names == labels and rows == [found] and [note.kind for note in said] == [kind]


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        (["A", "b"], ("a", "A ", "b")),  # another name of the model is not meant
        (["X", "b"], ("x", "X.", "b")),
    ],
)
def test_a_name_that_one_label_alone_is_like_is_that_label(data: list[str], labels: tuple[str, ...]):
    assert matched(data, labels=labels)[1][0][0] == labels[0]


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        (["AA", "b"], ("aa", "Aa", "b")),  # two of the model's differ in case alone
        (["Good", "GOOD", "bad"], ("good", "bad")),  # two of the data's do
        (["good", "GOOD", "bad"], ("good", "bad")),
        (["0", "3"], ("LABEL_0", "LABEL_1", "LABEL_2")),  # no such class
        (["0", "1"], ("LABEL_0", "other")),  # names that were given are no numbers
    ],
)
def test_what_could_mean_two_labels_or_none_is_refused(data: list[str], labels: tuple[str, ...]):
    with pytest.raises(UserError, match="the data's labels are not the model's"):
        matched(data, labels=labels)


@pytest.mark.parametrize(
    ("data", "labels", "advice"),
    [
        (["a", "b", "c"], ("LABEL_0", "LABEL_1", "LABEL_2"), "write them into its config.json"),
        (["a", "b"], ("LABEL_0", "LABEL_1", "LABEL_2"), "trained on these labels$"),  # not the classes of that model
        (["a", "b"], ("LABEL_0", "c"), "trained on these labels$"),
    ],
)
def test_who_has_a_model_without_names_is_told_to_write_them(data: list[str], labels: tuple[str, ...], advice: str):
    with pytest.raises(UserError) as caught:
        matched(data, labels=labels)
    assert caught.value.fix is not None and re.search(advice, caught.value.fix)


def test_a_model_with_one_name_twice_is_refused():
    with pytest.raises(UserError, match="two labels of one name"):
        matched(["a", "b"], labels=("a", "b", "a"))


def test_names_of_dev_are_written_as_train_writes_them():
    names, found, said = matched(["1", "2"], ["1.0", "2"])
    assert names == ("1", "2") and found[1] == ["1", "2"] and [note.kind for note in said] == ["label_number"]


def test_names_that_look_alike_and_a_class_called_nan_are_told():
    said = matched(["Food", "food ", "tea"])[2]
    assert [note.kind for note in said] == ["labels_alike"] and said[0].values["pairs"] == ("'Food' / 'food '",)
    said = matched(["nan", "a", "nan", "b"])[2]
    assert [(note.kind, note.values["label"], note.values["count"]) for note in said] == [("nan_label", "nan", 2)]
    for error in ("#N/A", "#YOK", "#REF!", "#DIV/0!", "#DEĞER!", "#SAYI/0!", "#AD?"):  # of a spreadsheet
        said = matched([error, "a", "b"])[2]
        assert [(note.kind, note.values["label"]) for note in said] == [("nan_label", error)]
    assert not matched(["#1", "#topic", "n/a?"])[2]


def test_a_label_of_a_single_row_is_told_where_labels_have_ten():
    many = ["a", "b"] * 20
    said = matched([*many, "Total"])[2]
    assert [(note.kind, note.values["labels"], note.values["count"]) for note in said] == [("label_once", "'Total'", 1)]
    assert not matched(many)[2] and not matched([*many[:20], "Total"])[2], "of 21 rows and three labels one may be rare"


def test_a_long_list_of_names_is_cut():
    assert listed([str(i) for i in range(101)]).endswith("'99', ... (101 in all)") and listed(["a"] * 100).count("'a'") == 100
    assert listed([]) == "none" and listed(["a", "b"], 2) == "'a', 'b'"


@pytest.mark.parametrize(
    ("value", "names", "cell"),
    [
        ("a", None, "a"), (b"\xc3\xa7", None, "ç"), (None, None, ""), (float("nan"), None, ""), (np.float32("nan"), None, ""),
        (True, None, "true"), (np.bool_(False), None, "false"), (1, None, "1"), (1.0, None, "1.0"), (1.5, None, "1.5"),
        (np.int64(3), None, "3"), ([1, "a"], None, '["1", "a"]'), (np.array([1, 0]), None, '["1", "0"]'), ({"a": 1}, None, '{"a": 1}'),
        (1, ("no", "yes"), "yes"), (0, ("no", "yes"), "no"), (1.0, ("no", "yes"), "yes"), (-1, ("no", "yes"), ""), (2, ("no", "yes"), "2"),
        ([0, 1], ("no", "yes"), '["no", "yes"]'),
    ],
)  # fmt: skip
def test_cells_of_every_kind_as_text(value: Any, names: tuple[str, ...] | None, cell: str):
    assert as_cell(value, names) == cell


def test_names_are_sorted_as_people_do():
    assert natural_order(["b10", "B9", "-2", "10", "9", "a", "a"]) == ("-2", "9", "10", "a", "B9", "b10")
    assert natural_order(["10", "9a", "9"]) == ("9", "9a", "10")
    assert natural_order(["x1y2", "x1y10", "x1", "01", "1"]) == ("01", "1", "x1", "x1y2", "x1y10")


def test_numbers_in_cells():
    assert [number_of(text) for text in ("1.5", "1e3", "inf", "1_2", "", "x")] == [1.5, 1000.0, float("inf"), None, None, None]
    assert json_list('["a ", 1.5, null]') == ["a", "1.5", ""] and json_list('{"a": 1}') is None and json_list("[" * 100_000) is None
    found = numbers_of(Column(["1.5", "-2", "1.5"]))
    assert found.tolist() == [1.5, -2.0, 1.5] and found.dtype == np.float32
    for wrong in ("nan", "-inf", "3.5e38", "x"):
        with pytest.raises(UserError, match=r"d.csv, row 3: not a finite number"):
            numbers_of(Column(["1", wrong]))
    assert numbers_of(Column(["3.4e38", "-3.4e38"]))[0] > 3.3e38, "what float32 holds"
