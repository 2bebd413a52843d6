"""Columns by name: who is named, what is guessed and said, what is a question to the user."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from imbik.data.columns import ColumnNames, Columns, choose
from imbik.errors import UserError


def chosen(columns: str, *, labelled: bool = True, task: Any = None, **names: str) -> Columns:
    return choose("f.csv", columns.split(), lambda _: None, ColumnNames(**names), labelled=labelled, task=task)


@pytest.mark.parametrize(
    ("columns", "text", "pair", "labels"),
    [
        ("text label", "text", None, ("label",)),
        ("label text", "text", None, ("label",)),
        ("id body title sentiment rating", "body", None, ("sentiment",)),  # an earlier tier wins, on both sides
        ("TEXT Label", "TEXT", None, ("Label",)),
        ("phrase gist category", None, None, None),  # phrase or gist?
        ("words category", "words", None, ("category",)),  # the one that is left
        ("text gist", "text", None, ("gist",)),
        ("premise hypothesis label", "premise", "hypothesis", ("label",)),
        ("premise label hypothesis id", "premise", "hypothesis", ("label",)),
        ("question sentence label", "question", "sentence", ("label",)),
        ("premise hypothesis text label", "text", None, ("label",)),  # a column called text is meant
        ("premise review label", "review", None, ("label",)),  # half a pair is none
        ("review comment label", None, None, None),  # two of one tier
        ("text label labels", None, None, None),
        ("text sentence label", None, None, None),
        ("Text text label", "Text", None, ("label",)),  # of names that differ in case the first is meant
        ("metin etiket", "metin", None, ("etiket",)),
        ("title topic", "title", None, ("topic",)),
    ],
)
def test_guesses(columns: str, text: str | None, pair: str | None, labels: tuple[str, ...] | None):
    if text is None:
        with pytest.raises(UserError, match="which column is the"):
            chosen(columns)
    else:
        assert chosen(columns) == Columns(text, pair, labels or ())


def test_what_is_named_is_not_guessed_again():
    assert chosen("a b c", text="b", label="c") == Columns("b", None, ("c",))
    assert chosen("a b label", text="b", text_pair="a") == Columns("b", "a", ("label",))
    assert chosen("text body label", text="body") == Columns("body", None, ("label",))
    assert chosen("premise hypothesis body label", text_pair="body", label="label", text="premise").pair == "body"
    assert chosen("x y a b", text="x", label="a, b") == Columns("x", None, ("a", "b"))
    assert choose("f", ["x", "a,b"], lambda _: None, ColumnNames(text="x", label="a,b")).labels == ("a,b",), "a name with a comma"
    # a pair is not guessed where the second text is named
    assert chosen("sentence1 sentence2 text2 label", text_pair="text2", text="sentence1").pair == "text2"


def test_without_labels_none_is_looked_for():
    assert chosen("text label", labelled=False) == Columns("text", None, ())
    assert chosen("whatever", labelled=False) == Columns("whatever", None, ())
    assert chosen("text label", labelled=False, label="label").labels == ("label",)
    with pytest.raises(UserError, match="which column is the label"):
        chosen("text")
    with pytest.raises(UserError, match="which column is the label"):
        chosen("label"), "a single column is the text, whatever it is called"


def test_what_was_found_is_said_with_the_columns_that_could_both_be_meant():
    with pytest.raises(UserError) as caught:
        chosen("x y z")
    assert caught.value.found == "columns x, y, z"
    with pytest.raises(UserError) as caught:
        chosen("text sentence label")
    assert caught.value.found is not None and "could both be the text (columns text, sentence, label)" in caught.value.found


@pytest.mark.parametrize("names", [{"text": "x"}, {"text_pair": "x"}, {"label": "x"}, {"label": "label,x"}, {"label": ","}])
def test_a_named_column_must_be_there(names: dict[str, str]):
    option = {"text": "--text", "text_pair": "--text-pair", "label": "--label"}[next(iter(names))]
    with pytest.raises(UserError, match=f"no column .*{option}"):
        chosen("text label", **names)


@pytest.mark.parametrize("names", [{"text": "text", "label": "text"}, {"text": "text", "text_pair": "text"}, {"label": "label,label"}])
def test_one_column_has_one_role(names: dict[str, str]):
    with pytest.raises(UserError, match="one column in two roles"):
        chosen("text label", **names)


def made_task(*labels: tuple[str, ...], pairs: bool = False) -> SimpleNamespace:
    return SimpleNamespace(name="made", label_names=labels, pairs=pairs, apart=False, reads="texts")


def test_a_task_may_name_its_labels_and_need_pairs():
    assert chosen("text label tags", task=made_task(("tags",), ("label",))).labels == ("tags",)
    assert chosen("text label tags", task=made_task()).labels == ("label",)
    with pytest.raises(UserError, match="made needs two texts a row"):
        chosen("text label", task=made_task(pairs=True))
    assert chosen("premise hypothesis label", task=made_task(pairs=True)).pair == "hypothesis"


def test_a_guess_is_said_and_what_was_named_is_not():
    told: list[str] = []
    choose("f.csv", ["premise", "hypothesis", "label"], told.append)
    choose("f.csv", ["a", "b"], told.append, ColumnNames(text="a", label="b"))
    choose("f.csv", ["a", "b"], told.append, ColumnNames(text="a"))
    assert told == [
        "f.csv: columns guessed: text = premise, text-pair = hypothesis, label = label (of premise, hypothesis, label)",
        "f.csv: columns guessed: label = b (of a, b)",
    ]


def test_every_column_that_is_read_is_wanted_once():
    assert Columns("t", None, ("a", "b")).wanted() == ("t", "a", "b") and Columns("t", "p", ()).wanted() == ("t", "p")
