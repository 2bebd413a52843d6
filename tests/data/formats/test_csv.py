"""Tables as spreadsheets and databases write them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from imbik.data.documents import open_documents
from imbik.data.formats.csv import open_table
from imbik.data.load import load_data, load_texts
from imbik.errors import UserError

ROWS = [(f"text number {i}", "ab"[i % 2]) for i in range(40)]
PLAIN = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)


def read(path: Path, said: list[str] | None = None) -> list[tuple[str, ...]]:
    table = open_table(path, say=(said if said is not None else []).append)
    return [row for chunk in table.stream(table.columns) for row in zip(*(chunk.columns[name] for name in table.columns), strict=True)]


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("|", "vertical bars"), ("\t", "tabs")])
@pytest.mark.parametrize("line", ["", "sep", '"sep"'])
def test_separators_are_found_and_said(tmp_path: Path, separator: str, name: str, line: str) -> None:
    first = {"": "", "sep": f"sep={separator}\r\n", '"sep"': f'"sep={separator}"\r\n'}[line]
    (tmp_path / "d.csv").write_bytes((first + PLAIN.replace(",", separator)).encode("utf-8-sig"))
    said: list[str] = []
    assert read(tmp_path / "d.csv", said) == ROWS and name in said[0]


def test_a_row_is_named_as_an_editor_counts_it_behind_excels_first_line(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("sep=;\ntext;label\nx;a\nb\n")
    with pytest.raises(UserError, match="row 4"):
        read(tmp_path / "d.csv")


def test_a_separator_within_names_is_none(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("text;the label, as given\n" + "".join(f"one{', two' * i};{'ab'[i % 2]}\n" for i in range(9)))
    assert open_table(tmp_path / "d.csv").columns == ("text", "the label, as given")
    (tmp_path / "e.csv").write_text('text,"label;kind"\n' + "".join(f"a;b,{i % 2}\n" for i in range(9)))
    assert open_table(tmp_path / "e.csv").columns == ("text", "label;kind")


def test_a_tsv_file_without_tabs(tmp_path: Path) -> None:
    (tmp_path / "d.tsv").write_text(PLAIN)
    said: list[str] = []
    assert read(tmp_path / "d.tsv", said) == ROWS and "no tab in the header" in said[0]


def test_what_excel_leaves_empty_is_left_out(tmp_path: Path) -> None:
    sheet = ";;;;\n" + "text;label;;;\n" + "".join(f"{text};{label};;;\n" for text, label in ROWS) + ";;;;\n" * 3
    (tmp_path / "d.csv").write_text(sheet)
    table = open_table(tmp_path / "d.csv")
    assert table.columns == ("text", "label") and read(tmp_path / "d.csv") == ROWS
    # the empty columns of some rows only
    (tmp_path / "e.csv").write_text("text,label\n" + "".join(f"{text},{label}{',,' * (i % 2)}\n" for i, (text, label) in enumerate(ROWS)))
    assert read(tmp_path / "e.csv") == ROWS
    (tmp_path / "f.csv").write_text("text,label\nx,a\ny,b,,left\n")
    with pytest.raises(UserError, match="row 3"):
        read(tmp_path / "f.csv")


def test_several_columns_without_a_name_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(",text,,label\n" + "".join(f"{i},{text},x,{label}\n" for i, (text, label) in enumerate(ROWS)))
    assert open_table(tmp_path / "d.csv").columns == ("column 1", "text", "column 3", "label")
    assert load_data(tmp_path / "d.csv").labels == ("a", "b")


@pytest.mark.parametrize("suffix", [".xlsx", ".ods"])
def test_a_workbook_is_told_what_to_do(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"d{suffix}").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match=r"save the sheet as CSV"):
        load_data(tmp_path / f"d{suffix}", say=lambda _: None)


def test_an_empty_text_in_a_table_of_one_column_stays(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text('text\nx\n""\ny\n')
    assert list(load_texts(tmp_path / "d.csv").texts) == ["x", "", "y"]


@pytest.mark.parametrize("again", ["text,label", "Text,Label", " TEXT , LABEL "])
def test_a_header_among_the_data_is_left_out_and_said(tmp_path: Path, again: str) -> None:
    (tmp_path / "d.csv").write_text(PLAIN + PLAIN.replace("text number", "another").replace("text,label", again, 1))
    said: list[str] = []
    splits = load_data(tmp_path / "d.csv", say=said.append)
    assert splits.labels == ("a", "b") and sum(len(part.texts) for part in (splits.train, splits.dev, splits.test)) == 80
    assert any("header stands again in row 42" in line for line in said)


@pytest.mark.parametrize("name", ["d.csv.gz", "d.CSV.GZ", "d.tsv.gz", "d.jsonl.gz", "d.txt.gz"])
def test_packed_files_are_unpacked(tmp_path: Path, name: str) -> None:
    text = PLAIN.replace(",", "\t") if ".tsv" in name else PLAIN
    if ".jsonl" in name:
        text = "".join(f'{{"text": "{text}", "label": "{label}"}}\n' for text, label in ROWS)
    if ".txt" in name:
        text = "".join(f"{text}\n" for text, _ in ROWS)
    (tmp_path / name).write_bytes(gzip.compress(text.encode("utf-8")))
    assert list(load_texts(tmp_path / name).texts) == [text for text, _ in ROWS]
    assert next(iter(open_documents(tmp_path / name).stream())).startswith("text number 0")


def test_packed_splits_of_a_folder(tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(PLAIN.replace("number", name).encode()))
    splits = load_data(tmp_path)
    assert (splits.train.texts[0], splits.dev.texts[0], splits.test.texts[0]) == ("text train 0", "text dev 0", "text test 0")


@pytest.mark.parametrize("damage", ["cut", "no gzip", "flipped", "bad byte"])
def test_a_damaged_packed_file_is_one_message(tmp_path: Path, damage: str) -> None:
    whole = gzip.compress((PLAIN * 2000).encode())
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    content = {
        "cut": whole[: len(whole) // 2],
        "no gzip": PLAIN.encode(),
        "flipped": bytes(flipped),
        "bad byte": gzip.compress(b"text,label\nx,\xff\n"),
    }
    (tmp_path / "d.csv.gz").write_bytes(content[damage])
    with pytest.raises(UserError, match="row 2" if damage == "bad byte" else "gzip|quoting|fields|UTF-8"):
        read(tmp_path / "d.csv.gz")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_type_that_powershell_names_is_no_header(separator: str, tmp_path: Path) -> None:
    rows = "".join(f'"{text}"{separator}"{label}"\r\n' for text, label in [("text", "label"), *ROWS])
    (tmp_path / "d.csv").write_text("#TYPE System.Management.Automation.PSCustomObject\r\n" + rows, "utf-8-sig", newline="")
    said: list[str] = []
    assert read(tmp_path / "d.csv", said) == ROWS and "PowerShell" in said[0]
    (tmp_path / "d.csv").write_text("#TYPE Selected.System.String\ntext,label\nx,a\nb\n")
    with pytest.raises(UserError, match="row 4"):
        read(tmp_path / "d.csv")
    (tmp_path / "d.csv").write_text("#TYPE,label\nx,a\n")  # a column of this name
    assert read(tmp_path / "d.csv") == [("x", "a")]


def test_the_end_of_a_file_of_dos_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(PLAIN + "\x1a")
    assert read(tmp_path / "d.csv") == ROWS


def test_the_line_below_the_header_of_a_table_in_markdown_is_no_row(tmp_path: Path) -> None:
    rows = "".join(f"| {text} | {label} |\n" for text, label in ROWS)
    for rule in ("|---|---|", "| :--- | ---: |"):
        (tmp_path / "d.csv").write_text(f"| text | label |\n{rule}\n{rows}")
        found = read(tmp_path / "d.csv")
        assert [[cell.strip() for cell in row if cell.strip()] for row in found] == [list(row) for row in ROWS]
    (tmp_path / "d.csv").write_text("text,label\n---,-\nx,a\n")  # of another separator it is one
    assert read(tmp_path / "d.csv") == [("---", "-"), ("x", "a")]
