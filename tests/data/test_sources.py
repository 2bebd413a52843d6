"""Which files of a folder are read, and which columns of a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imbik.data.evaluation import load_evaluation
from imbik.data.load import load_data, load_texts
from imbik.errors import UserError
from imbik.locale.notes import sentence

ROWS = [(f"text number {i}", "ab"[i % 2]) for i in range(60)]


def table(header: str = "text,label", word: str = "text") -> str:
    return header + "\n" + "".join(f"{text.replace('text', word)},{label}\n" for text, label in ROWS)


@pytest.mark.parametrize(
    ("names", "dev", "test", "unread"),
    [
        (("train", "eval", "holdout"), "eval", "holdout", ()),
        (("train", "evaluation", "held_out"), "evaluation", "held_out", ()),
        (("train", "my-hold-out"), None, "my-hold-out", ()),
        (("train", "dev", "test", "eval", "extra"), "dev", "test", ("eval.csv", "extra.csv")),
        (("train", "eval", "test"), "eval", "test", ()),
        (("eğitim", "doğrulama", "SINAMA"), "doğrulama", "SINAMA", ()),
    ],
)
def test_files_of_a_folder_are_read_or_named(
    tmp_path: Path, names: tuple[str, ...], dev: str | None, test: str, unread: tuple[str, ...]
) -> None:
    for name in names:
        (tmp_path / f"{name}.csv").write_text(table(word=name))
    said: list[str] = []
    splits = load_data(tmp_path, say=said.append)
    assert splits.test.texts[0] == f"{test} number 0" and (dev is None or splits.dev.texts[0] == f"{dev} number 0")
    told = [line for line in said if "not read:" in line]
    assert bool(told) == bool(unread) and all(name in told[0] for name in unread)


@pytest.mark.parametrize(
    ("header", "cell"),
    [
        ("id,text", "{i}"),
        ("text,ID", "{i}"),
        ("text,no", "{i}"),
        (",text", "{i}"),
        ("text,user_id", "u{i}"),
        ("text,key", "{i}"),
        ("text,position", "{i}7"),
        ("text,label", "{i}"),
    ],
)
def test_the_number_of_a_row_is_no_label(tmp_path: Path, header: str, cell: str) -> None:
    first = header.split(",")[0] == "text"
    rows = [(text, cell.format(i=i + 1)) for i, (text, _) in enumerate(ROWS)]
    (tmp_path / "d.csv").write_text(header + "\n" + "".join(f"{a},{b}\n" if first else f"{b},{a}\n" for a, b in rows))
    with pytest.raises(UserError, match="label"):
        load_data(tmp_path / "d.csv")
    named = next(name for name in header.split(",") if name != "text")
    if named and cell != "u{i}":
        assert load_data(tmp_path / "d.csv", label=named, task="regression").task == "regression", "a user who names it means it"


def test_an_id_beside_text_and_label_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("id,utterance of a customer,verdict\n" + "".join(f"{i},{t},{y}\n" for i, (t, y) in enumerate(ROWS)))
    splits = load_data(tmp_path / "d.csv", text="utterance of a customer")
    assert splits.labels == ("a", "b")
    (tmp_path / "e.csv").write_text("id,what they said\n" + "".join(f"{i},{t}\n" for i, (t, _) in enumerate(ROWS)))
    assert load_texts(tmp_path / "e.csv").texts[0] == "text number 0"


@pytest.mark.parametrize("header", ["metin,sınıf", "GÖRÜŞ,DURUM", "Yorum,SINIF", "gorus,sinif", "Text,Label"])
def test_names_of_columns_as_people_type_them(tmp_path: Path, header: str) -> None:
    (tmp_path / "d.csv").write_text(table(f"{header},note").replace(",a\n", ",a,x\n").replace(",b\n", ",b,y\n"), "utf-8")
    splits = load_data(tmp_path / "d.csv")
    assert splits.labels == ("a", "b") and splits.train.texts[0].startswith("text number")


@pytest.mark.parametrize("missing", [None, float("nan"), "left out"])
def test_a_missing_text_leaves_its_row_out(tmp_path: Path, missing: object) -> None:
    rows = [{"text": text, "label": label} for text, label in ROWS]
    rows[7] = {"label": "a"} if missing == "left out" else {"text": missing, "label": "a"}
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    splits = load_data(tmp_path / "d.jsonl")
    texts = [text for part in (splits.train, splits.dev, splits.test) for text in part.texts]
    assert sorted(texts) == sorted(text for i, (text, _) in enumerate(ROWS) if i != 7)
    assert any("1 rows without a text are left out" in sentence(note) and "row 8" in sentence(note) for note in splits.notes)
    found = load_evaluation(tmp_path / "d.jsonl", labels=("a", "b"), task="classification")
    assert len(found.test) == 59 and any("row 8" in sentence(note) for note in found.notes)
    # every text asked has an answer, in its row
    assert [len(text) > 0 for text in load_texts(tmp_path / "d.jsonl", text="text").texts] == [i != 7 for i in range(60)]


def test_many_missing_texts_are_refused(tmp_path: Path) -> None:
    rows = [{"text": text if i % 5 else None, "label": label} for i, (text, label) in enumerate(ROWS)]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match=r"row 1.*the text is missing"):
        load_data(tmp_path / "d.jsonl")
