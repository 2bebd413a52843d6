"""Several labels in one cell, in the notations of the programs that write them."""

from __future__ import annotations

import json
from collections import namedtuple

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.tasks.labels.cells import are_lists, label_cells
from imbik.tasks.labels.lists import are_vectors, items_of, separation
from imbik.types import Note

Cells = namedtuple("Cells", "values name where", defaults=("labels", lambda code: f"d.csv, row {code + 2}"))
LABELS = ["sport", 'it\'s "new"', "a, b", "çay"]


@pytest.mark.parametrize("size", range(5))
@pytest.mark.parametrize(
    "write",
    [
        json.dumps,
        lambda x: json.dumps(x, ensure_ascii=False),
        str,
        lambda x: str(tuple(x)),
        lambda x: repr(np.array(x)),
        lambda x: str(np.array(x)),
    ],
    ids=["json", "json unicode", "python list", "python tuple", "numpy repr", "numpy str"],
)
def test_what_a_program_wrote_is_read_back(write, size: int) -> None:
    assert items_of(write(LABELS[:size])) == LABELS[:size]


def test_sets_dictionaries_and_database_arrays() -> None:
    assert items_of(str({"b", "a"})) == ["a", "b"]
    assert items_of('{"a": true, "b": false, "c": 1}') == ["a", "c"]
    assert items_of('{sport,"art"}') == ["sport", "art"]
    assert items_of("[sport, art]") == ["sport", "art"]


@pytest.mark.parametrize("cell", ['{"name": "a"}', "{'name': 'a'}", '{"a": 0.7, "b": 0.3}', '{"labels": ["a", "b"]}', "{1: 'a'}"])
def test_a_dictionary_of_other_things_than_switches_is_no_list(cell: str) -> None:
    assert items_of(cell) is None


def test_switches_of_python_are_read_as_those_of_json() -> None:
    assert items_of(str({"a": True, "b": False, "c": 1})) == items_of('{"a": true, "b": false, "c": 1}') == ["a", "c"]


def test_a_separator_behind_a_single_label_is_no_part_of_it() -> None:
    """Forms write one behind every answer."""
    said: list[Note] = []
    read = label_cells([Cells(["a|", "b|", "a|b|"])], None, said.append)
    assert read == [[("a",), ("b",), ("a", "b")]]


def test_names_in_brackets_are_names() -> None:
    assert items_of("(other)") is None and items_of("sport") is None and items_of("[half") is None
    assert not are_lists(["[news]", "[sport]"]) and are_lists(["[news]", "[sport, art]"])


def test_an_item_runs_no_code() -> None:
    assert items_of("[__import__('os').getcwd()]") == ["__import__('os').getcwd()"]


@pytest.mark.parametrize("cast", [int, float, bool])
def test_vectors_of_zero_and_one_are_places(cast) -> None:
    rows = [[0, 1, 0], [1, 1, 0], [0, 0, 0]]
    said: list[Note] = []
    cells = [str([cast(value) for value in row]) for row in rows]
    assert label_cells([Cells(cells)], None, said.append) == [[("1",), ("0", "1"), ()]]
    assert [note.kind for note in said] == ["vectors"]
    assert label_cells([Cells(cells)], ("x", "y", "z"), said.append) == [[("y",), ("x", "y"), ()]]


def test_labels_named_by_numbers_are_no_vectors() -> None:
    assert are_vectors([["0", "1"], ["1"]]) is False and are_vectors([["3", "1"], ["1", "1"]]) is False
    with pytest.raises(UserError, match="vectors of 0 and 1, or the two labels"):
        label_cells([Cells(["[0, 1]", "[1, 0]"])], None, lambda _: None)
    assert label_cells([Cells(["[0.0, 2.0]"]), Cells(["[2]"])], None, lambda _: None) == [[("0", "2")], [("2",)]]


def test_lists_of_one_item_are_no_vectors() -> None:
    """A vector of one place would say nothing: these are the labels 0 and 1, one a text."""
    assert are_vectors([["0"], ["1"], ["1"]]) is False and are_vectors([[], []]) is False and are_vectors([]) is False
    said: list[Note] = []
    assert label_cells([Cells(["[0]", "[1]"])], None, said.append) == [[("0",), ("1",)]]


@pytest.mark.parametrize(
    ("written", "items"),
    [
        ("[1 0 1]", ["1", "0", "1"]),
        ("[1. 0.]", ["1.", "0."]),
        ("[1.5e-3\n 2.]", ["1.5e-3", "2."]),
        ("[ ]", []),
        ("['a' 'it\\'s']", ["a", "it's"]),
        ("[1, 0]", ["1", "0"]),
    ],
)
def test_numpys_notation_has_spaces(written: str, items: list[str]) -> None:
    assert items_of(written) == items


def test_probabilities_are_no_labels() -> None:
    with pytest.raises(UserError, match=r"row 3.*decimals"):
        label_cells([Cells(["[0, 1, 0]", "[0.2, 0.7, 0.1]"])], None, lambda _: None)


@pytest.mark.parametrize("separator", [",", ", ", "\n", "/", " + ", " "])
def test_a_separator_is_known_by_parts_that_recur(separator: str) -> None:
    values = [separator.join(some) for some in (["sport"], ["sport", "art"], ["art", "food"], ["food"])]
    said: list[Note] = []
    read = label_cells([Cells(values)], None, said.append)
    assert read == [[("sport",), ("sport", "art"), ("art", "food"), ("food",)]] and said[0].kind == "separated"


def test_pieces_of_names_do_not_recur() -> None:
    towns = ["Toys, games", "Food, drinks", "Home, garden", "Books, music", "Cars"]
    found = separation(towns)
    assert found is not None and found.recurring == 0 and not found.sure
    with pytest.raises(UserError, match="do the commas part labels"):
        label_cells([Cells(towns)], None, lambda _: None)
    assert label_cells([Cells(towns)], towns, lambda _: None) == [[(town,) for town in towns]]
    assert label_cells([Cells(["lost card", "stolen card", "top up"])], None, lambda _: None) == [
        [("lost card",), ("stolen card",), ("top up",)]
    ]
