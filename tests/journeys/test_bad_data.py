"""Broken inputs: each must give one UserError whose message says where and what."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from imbik.data.evaluation import load_evaluation
from imbik.data.load import load_data, load_texts
from imbik.errors import UserError

GOOD = "text,label\n" + "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(20))
NUMBERS = "text,score\n" + "".join(f"text number {i},{i / 8}\n" for i in range(20))


@dataclass(frozen=True)
class Bad:
    name: str
    files: dict[str, str | bytes]
    says: tuple[str, ...]
    source: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def lines(*items: object) -> str:
    return "\n".join(item if isinstance(item, str) else json.dumps(item) for item in items) + "\n"


def one(name: str, content: str | bytes, *says: str, file: str = "d.csv", **options: Any) -> Bad:
    return Bad(name, {file: content}, (file, *says), file, options)


def folder(name: str, files: dict[str, str | bytes], *says: str, **options: Any) -> Bad:
    return Bad(name, files, says, "", options)


CASES = [
    # the source
    Bad("missing file", {}, ("nothing.csv", "no such file"), "nothing.csv"),
    folder("empty folder", {}, "no train file", "an empty folder"),
    folder("folder without train", {"test.csv": GOOD, "dev.csv": GOOD}, "no train split", "dev, test", "train.csv"),
    folder("folder with other files", {"notes.md": "x"}, "no train file", "notes.md"),
    folder("two train files", {"a_train.csv": GOOD, "b_train.csv": GOOD}, "several files", "a_train.csv, b_train.csv"),
    folder("train is a folder", {"train.csv/x.csv": GOOD}, "no train file"),
    one("unknown suffix", "x", "unknown file format", ".xml", ".jsonl", file="d.xml"),
    one("no suffix", "x", "unknown file format", "no suffix", file="data"),
    # emptiness
    one("empty csv", "", "the file is empty"),
    one("blank csv", "\n\n  \n", "the file is empty"),
    one("only a header", "text,label\n", "no rows", "only a header"),
    one("empty jsonl", "", "the file is empty", file="d.jsonl"),
    one("empty array", "[]", "no rows", "an empty array", file="d.json"),
    one("every text empty", "text,label\n,a\n,b\n", "every text is empty", "'text'"),
    one("two rows", "text,label\nx,a\ny,b\n", "too few rows", "2 rows"),
    folder("empty dev", {"train.csv": GOOD, "dev.csv": ""}, "dev.csv", "the file is empty"),
    # encodings and bytes
    one("latin-1 bytes", b"text,label\nok,a\nse\xf1or,b\n", "row 3", "UTF-8", "0xf1", "offset 18", "--encoding"),
    one("bytes late in the file", GOOD.encode() * 4000 + b"\xfe,a\n", "UTF-8", "row 84001", "0xfe"),
    one("half a character at the end", b"text,label\nx,a\ny," + b"\xc4", "UTF-8", "row 3", "cut off"),
    one("latin-1 json", b'{"text": "x", "label": "a"}\n{"text": "\xe9", "label": "b"}\n', "row 2", "0xe9", file="d.jsonl"),
    Bad("unknown encoding", {"d.csv": GOOD}, ("--encoding", "'klingon'"), "d.csv", {"encoding": "klingon"}),
    Bad("no text encoding", {"d.csv": GOOD}, ("--encoding", "'base64'"), "d.csv", {"encoding": "base64"}),
    one("wrong encoding declared", "text,label\nşeker,a\n".encode("windows-1254"), "row 2", "ASCII", encoding="ascii"),
    one("utf-16 without a mark", GOOD.encode("utf-16-le"), "row 1", "0x00", "--encoding utf-16-le"),
    one("zero byte in a text", "text,label\nx,a\ny\x00z,b\n" + "p,a\n" * 3000, "0x00", "row 3"),
    one("zero byte far down", GOOD * 1 + "pad,a\n" * 4000 + "y\x00z,b\n", "row 4022", "zero byte", "'text'"),
    one("zip in disguise", b"PK\x03\x04" + b"\x00" * 50, "not a text file", "Excel"),
    one("pdf in disguise", b"%PDF-1.7\n" + b"x" * 50, "not a text file", "PDF"),
    one("gzip in disguise", gzip.compress(GOOD.encode()), "not a text file", "gzip"),
    one("random bytes", bytes(range(128, 256)) * 4, "row 1", "0x80"),
    one("not parquet", GOOD, "not a Parquet file", file="d.parquet"),
    one("cut parquet", b"PAR1" + b"\x01" * 64, "not a Parquet file", file="d.parquet"),
    # rows
    one("too many fields", "text,label\nx,a\nhello, you,b\n", "row 3", "3 fields", "2 fields", "'hello'"),
    one("too few fields", "text,label\nx,a\nhello\n", "row 3", "1 fields", "2 fields"),
    one("wrong row after a text of two lines", 'text,label\n"x\ny",a\nhello\n', "row 4", "1 fields"),
    one("quote never closed", 'text,label\nx,a\n"never closed,b\ny,a\n', "row 3", "broken quoting"),
    one("text after a quote", 'text,label\nx,a\n"said" he,b\n', "row 3", "broken quoting"),
    one("tsv with too few fields", "text\tlabel\nx\ta\ny\n", "row 3", "1 fields", file="d.tsv"),
    one("broken json line", lines({"text": "x", "label": "a"}, '{"text": "y", "lab'), "row 2", "broken JSON", file="d.jsonl"),
    one("json line is a list", lines({"text": "x", "label": "a"}, "[1, 2]"), "row 2", "not a JSON object", file="d.jsonl"),
    one("two objects on a line", '{"text": "x", "label": "a"} {"text": "y"}\n', "row 1", "character 29", file="d.jsonl"),
    one("broken array", '[{"text": "x", "label": "a"},\n{"text"]', "row 2", "broken JSON", file="d.json"),
    one("array of texts", '["x", "y"]', "item 1", "not a JSON object", file="d.json"),
    one("text is null", lines({"text": "x", "label": "a"}, {"text": None, "label": "b"}), "row 2", "missing", file="d.jsonl"),
    one("text left out", lines({"text": "x", "label": "a"}, {"label": "b"}), "row 2", "the text is missing", file="d.jsonl"),
    one("text is a number", lines({"text": "x", "label": "a"}, {"text": 5, "label": "b"}), "row 2", "not a text", file="d.jsonl"),
    one("half a surrogate", lines({"text": "x", "label": "a"}, {"text": "\ud83d", "label": "b"}), "row 2", "surrogate", file="d.jsonl"),
    # columns
    one("column twice", "text,text,label\nx,y,a\n", "row 1", "'text' twice"),
    one("named text missing", GOOD, "no column 'body'", "columns text, label", "--text", text="body"),
    one("named label missing", GOOD, "no column 'intent'", "--label", label="intent"),
    one("one of two labels missing", GOOD, "no column 'fine'", label="label,fine"),
    one("named pair missing", GOOD, "no column 'other'", "--text-pair", text_pair="other"),
    one("text is the label", GOOD, "one column in two roles", "text", text="text", label="text"),
    one("no text column", "a,b,label\nx,y,l\n", "which column is the text?", "columns a, b, label", "--text"),
    one("two text columns", "question,review,label\nx,y,l\n", "which column is the text?", "question and review"),
    one("no label column", "text,a,b\nx,y,z\n", "which column is the label?", "columns text, a, b", "--label"),
    one("two label columns", "text,intent,score\nx,y,1\n", "which column is the label?", "intent and score"),
    one("no header", "I like it a lot,good,x\nI hate it,bad,y\n", "which column is the label?", "first row"),
    folder("test lacks the text", {"train.csv": GOOD, "test.csv": "body,label\nx,a\n"}, "test.csv", "no column 'text'"),
    # labels
    one("empty label", "text,label\nx,a\ny,\nz,b\n", "row 3", "'label'", "a row without a label"),
    one("NaN label", "text,label\nx,1\ny,NaN\nz,0\n", "row 3", "'NaN'", "a row without a label"),
    one("null label", lines({"text": "x", "label": "a"}, {"text": "y", "label": None}), "row 2", "without a label", file="d.jsonl"),
    one("one class", GOOD.replace(",b", ",a"), "only one class", "'a'"),
    one("no labels at all", "text,label\nx,\ny,\n", "train has no labels", "'label'"),
    folder("new label in test", {"train.csv": GOOD, "test.csv": "text,label\nx,a\ny,zebra\n"}, "test.csv, row 3", "'zebra'"),
    folder("half labelled test", {"train.csv": GOOD, "test.csv": "text,label\nx,a\ny,\n"}, "test.csv, row 3", "without a label"),
    one("infinite class", "text,label\nx,1\ny,inf\nz,0\n", "row 3", "'inf'", "not a finite number"),
    one("label set differs", GOOD, "only in the data: 'b'", "only in the model: 'c'", "Expected: 'a', 'c'", labels=("a", "c")),
    one("model has more labels", GOOD, "only in the model: 'c'", labels=("a", "b", "c")),
    one("model has numbers", GOOD.replace(",a", ",x").replace(",b", ",y"), "'x', 'y'", "'0', '1'", labels=("0", "1")),
    one("two columns for classes", "text,l,m\nx,a,b\n", "one label column", "l, m", label="l,m", task="classification"),
    one("broken list", 'text,label\nx,"[""a"", "\n', "row 2", "broken list", task="multi-label"),
    one("empty cell in two columns", "text,l,m\nx,a,b\ny,c,\n", "row 3", "'m'", label="l,m"),
    one("too many labels", "text,label\n" + "".join(f"t,l{i}\n" for i in range(50_100)), "row 2", "50,000 different"),
    # regression
    one("NaN target", NUMBERS + "x,nan\n", "row 22", "'nan'", task="regression"),
    one("infinite target", NUMBERS + "x,-inf\n", "row 22", "'-inf'", "not a finite number"),
    one("beyond float32", NUMBERS + "x,1e60\n", "row 22", "'1e60'"),
    one("a word among numbers", NUMBERS + "x,high\n", "row 22", "'high'", "number", task="regression"),
    one("decimal comma", "text;score\n" + "a;1,5\nb;2,5\nc;3,5\nd;1,0\n", "row 2", "'1,5'", "point", task="regression"),
    one("empty target", NUMBERS + "x,\n", "row 22", "an empty cell", task="regression"),
    one("NaN deep among many numbers", "text,score\n" + "".join(f"t,{i / 7}\n" for i in range(60_000)) + "t,nan\n", "row 60002", "'nan'"),
    one("numbers for a classifier", NUMBERS, "numbers", "classes", labels=("a", "b"), task="regression"),
    # options
    Bad("unknown task", {"d.csv": GOOD}, ("--task", "'tagging'", "regression"), "d.csv", {"task": "tagging"}),
    Bad("unknown metric", {"d.csv": GOOD}, ("--metric", "bleu", "accuracy"), "d.csv", {"metric": "bleu"}),
    Bad("metric of another task", {"d.csv": GOOD}, ("--metric", "spearman"), "d.csv", {"metric": "spearman"}),
    Bad("a path that is no hub name", {}, ("no such file or folder", "a/b/c"), "a/b/c"),
]


def write(root: Path, case: Bad) -> Path:
    for name, content in case.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root / case.source


def check(error: UserError, says: tuple[str, ...]) -> None:
    message = str(error)
    assert "\n" not in message and "Traceback" not in message
    for part in says:
        assert part in message, f"{part!r} is not in: {message}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_message(case: Bad, tmp_path: Path) -> None:
    source = write(tmp_path, case)
    with pytest.raises(UserError) as caught:
        load_data(source, **case.options)
    check(caught.value, case.says)


def test_the_corpus_is_large_and_its_names_differ() -> None:
    assert len(CASES) >= 60 and len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.txt", b"", ("t.txt", "the file is empty")),
        ("t.txt", b"one\ntw\xff\n", ("t.txt, row 2", "0xff")),
        ("t.txt", b"a\n" * 6000 + b"b\x00c\n", ("t.txt, row 6001", "zero byte")),
        ("t.csv", b"a,b\n1,2\n", ("which column is the text?", "columns a, b")),
        ("t.bin", b"x", ("unknown file format", ".bin")),
    ],
)
def test_texts(name: str, content: bytes, says: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_texts(tmp_path / name)
    check(caught.value, says)


def test_unlabelled_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(GOOD)
    with pytest.raises(UserError) as caught:
        load_data(tmp_path / "d.csv", unlabelled=tmp_path)
    check(caught.value, (str(tmp_path), "a folder stands where a file is expected"))


def test_unlabelled_texts_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("sentence1,sentence2,label\n" + "".join(f"x{i},y{i},{'ab'[i % 2]}\n" for i in range(20)))
    (tmp_path / "u.txt").write_text("one\ntwo\n")
    with pytest.raises(UserError) as caught:
        load_data(tmp_path / "d.csv", unlabelled=tmp_path / "u.txt")
    check(caught.value, ("u.txt", "single texts", "pairs of texts"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("text,label\nx,a\ny,zebra\n", ("not the model's", "only in the data: 'zebra'")),
        ("text,label\nx,\ny,\n", ("no labels to measure against",)),
        ("text,x,y\na,b,c\n", ("which column is the label?",)),
    ],
)
def test_evaluation(content: str, says: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(content)
    with pytest.raises(UserError) as caught:
        load_evaluation(tmp_path / "e.csv", labels=("a", "b"), task="classification")
    check(caught.value, says)
