"""The table and the line on the terminal: the columns of the page, numbers by hand, both languages."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO

import plausible
import pytest
from rich.console import Console

from imbik.locale.catalogue import texts
from imbik.measure.measurement import Measurement
from imbik.measure.values import Use
from imbik.report.columns import COLUMNS, MARKDOWN, TERMINAL, TIPPED
from imbik.report.terminal import choice_line, results_table


def _printed(run: plausible.Results, lang: str = "en") -> str:
    out = StringIO()
    Console(file=out, width=180).print(results_table(run, lang))
    return out.getvalue()


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.split("│")[1:-1]]


def test_every_column_has_a_heading_and_every_choice_of_columns_names_some() -> None:
    for lang in ("en", "tr"):
        assert {f"table.{key}" for key in COLUMNS} <= set(texts(lang))
        assert {f"terminal.{key}" for key in TERMINAL} <= set(texts(lang))
    assert set(COLUMNS) >= {*MARKDOWN, *TERMINAL, *TIPPED}


def test_a_row_by_hand() -> None:
    row = next(line for line in _printed(plausible.results()).splitlines() if "layers-1+int8/onnx" in line)
    # dev: 0.9240 / 0.9300; batches: 3690 / 102; single requests: 38.0 / 0.71
    expected = "►● layers-1+int8/onnx 0.9225 0.913–0.932 98.9_% 99.4_% 0.71 1.14 3690 36.2 53.5 14.6"
    assert [cell.replace(" ", "_") for cell in _cells(row)] == expected.split()


def test_what_was_not_measured_is_a_dash() -> None:
    run = plausible.results()
    bare = Measurement(id="bare/onnx", name="bare", engine="onnx")
    table = _printed(replace(run, measurements=(*run.measurements, bare)))
    row = next(line for line in table.splitlines() if "bare/onnx" in line)
    assert _cells(row) == ["", "bare/onnx", "–", "–––", *["–"] * 8]


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        (
            "en",
            ["Choice: layers-1+int8/onnx. 6 of 8", "keeps 99.4% of the baseline", "For batches int8/onnx is the fastest: 906"],
        ),
        ("tr", ["Seçim: layers-1+int8/onnx. 8 adaydan 6 tanesi", "%99,4 kadarını", "Toplu işlemede en hızlısı int8/onnx: saniyede 906"]),
    ],
)
def test_the_choice_in_both_languages(lang: str, words: list[str]) -> None:
    run = plausible.results()
    assert run.choice is not None
    line = choice_line(replace(run, choice=replace(run.choice, batch=Use("int8/onnx", items_per_s=906.0))), lang)
    for part in words:
        assert part in line
    assert "aday" in _printed(run, "tr")


@pytest.mark.parametrize(("lang", "rate", "head"), [("en", "906 images/s", "images/s"), ("tr", "saniyede 906 görsel", "görsel/sn")])
def test_what_images_are_is_said_of_images(lang: str, rate: str, head: str) -> None:
    run = replace(plausible.results(), task="image-classification")
    assert run.choice is not None
    line = choice_line(replace(run, choice=replace(run.choice, batch=Use("int8/onnx", items_per_s=906.0))), lang)
    assert rate in line and head in _printed(run, lang)


def test_what_is_said_of_images_stands_in_the_place_of_something_about_texts() -> None:
    for lang in ("en", "tr"):
        own = {key.removeprefix("of_images."): text for key, text in texts(lang).items() if key.startswith("of_images.")}
        assert own and own.keys() <= texts(lang).keys()
        assert all(set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", texts(lang)[key])) for key, text in own.items())


def test_a_table_without_a_baseline_names_none() -> None:
    """A cascade's run has no teacher: its title said "speed against None"."""
    run = replace(plausible.results(), baseline=None)
    for lang in ("en", "tr"):
        title = _printed(run, lang).split("\n")[0]
        assert "None" not in title and "accuracy" in title
