"""Every measured figure of README and docs equals its file, or says why it has none (``benchmarks/figures.py``)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").rglob("*.json"))

sys.path.insert(0, str(ROOT))
from benchmarks import figures, turkish  # noqa: E402
from benchmarks.expressions import evaluate, parse, sentence_pattern, written  # noqa: E402


@pytest.mark.parametrize("path", figures.PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_equals_its_sources(path):
    page, _ = figures.read(path)
    assert page.faults == []
    assert page.text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.relative_to(ROOT / "benchmarks" / "results").as_posix())
def test_a_result_says_where_it_comes_from(path):
    document = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert document["name"] == path.relative_to(ROOT / "benchmarks" / "results").with_suffix("").as_posix()
    assert {"recorded", "commit", "dirty", "environment", "command", "date", "numbers"} <= set(document)
    if document["recorded"]:
        assert len(document["commit"]) == 40
        assert document["environment"]["cpu"]
        assert document["command"].startswith("python -m benchmarks.")
    else:
        assert len(document["commit"]["stored_by"]) == 40
        assert document["dirty"] is None
        assert (document["environment"] is None) == (document["environment_from"] is None)


def a_page(tmp_path, monkeypatch, text, ledger=None, name="page"):
    """Return what :func:`figures.read` finds on a page of its own."""
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    monkeypatch.setattr(figures, "LEDGERS", tmp_path)
    (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
    if ledger:
        (tmp_path / f"{name}.yaml").write_text(ledger, encoding="utf-8")
    monkeypatch.setattr(figures, "read_result", lambda name: {"ratio": 5.654})
    monkeypatch.setattr(figures, "files_named", lambda names: ", ".join(names))
    return figures.read(tmp_path / f"{name}.md")[0]


def test_a_wrong_figure_is_named_with_page_line_and_source(tmp_path, monkeypatch):
    ledger = 'sources: {speed: training/speed}\nfigures: ["runs at {speed.ratio:.1f} times theirs"]\n'
    page = a_page(tmp_path, monkeypatch, "# Title\n\nIt runs at 5.8\ntimes theirs.\n", ledger)
    assert page.faults == ["page.md:3: has '5.8', not '5.7' (source: training/speed: speed.ratio)"]
    assert page.text == "# Title\n\nIt runs at 5.7\ntimes theirs.\n"


def test_a_turkish_page_has_its_own_sentences_and_turkish_numbers(tmp_path, monkeypatch):
    ledger = 'sources: {speed: training/speed}\nfigures: ["onlarınkinin %{speed.ratio:,.1p}"]\n'
    page = a_page(tmp_path, monkeypatch, "# Başlık\n\nonlarınkinin %5,8 kadar\n", ledger, name="page.tr")
    assert page.text == "# Başlık\n\nonlarınkinin %565,4 kadar\n"


@pytest.mark.parametrize("number", ["%97", "%97,5", "0,97", "3 ms", "2,5 katı", "12 puan", "1.234,5"])
def test_a_turkish_number_without_a_source_is_named(tmp_path, monkeypatch, number):
    text = f"# Başlık\n\nburada {number} var\n\n<!-- figures: settings -->\n{number}\n"
    assert len(a_page(tmp_path, monkeypatch, text, name="page.tr").faults) == 1


def test_a_turkish_table_has_turkish_heads_sentences_and_numbers(monkeypatch):
    known = {"time": "süre", "teacher": "öğretmen", "head, {} epochs": "baş, {0} devir", "On {} texts at {}.": "{1} koşulunda {0} metinde."}
    monkeypatch.setattr(turkish, "words", lambda: turkish.patterns(known))
    rows = ["| | time |", "|---|---:|", "| teacher | 1,234.5 ms |", "| `a-1.5` | 98.0 % (-97.3 – 98.7) |", "| head, 2 epochs | 1 |"]
    lines, unknown = turkish.table([*rows, "", "On 1,500", "texts at 2.5 %."])
    assert lines[2:] == [
        "| öğretmen | 1.234,5 ms |",
        "| `a-1.5` | %98,0 (-97,3 – 98,7) |",
        "| baş, 2 devir | 1 |",
        "",
        "%2,5 koşulunda 1.500 metinde.",
    ]
    assert lines[0] == "|  | süre |"
    assert unknown == []
    assert turkish.table(["| time | size |", "|---|---|", "", "It is so."])[1] == ["size", "It is so."]


def test_a_sentence_that_left_the_page_is_named(tmp_path, monkeypatch):
    ledger = 'sources: {speed: training/speed}\nfigures: ["runs at {speed.ratio:.1f} times theirs"]\n'
    assert "0 places read" in a_page(tmp_path, monkeypatch, "Nothing here.\n", ledger).faults[0]


@pytest.mark.parametrize(
    "text",
    [
        "It keeps 98.0 % of it.\n",
        "| a | b |\n|---|---|\n| x | 7.1 |\n",
        "It takes 4.1 ms.\n",
        "It is 12 times as fast.\n",
        "It reaches RMSE 0.885.\n",
    ],
)
def test_a_number_without_a_source_is_a_fault(tmp_path, monkeypatch, text):
    assert "has no source" in a_page(tmp_path, monkeypatch, text).faults[0]


def test_names_and_versions_are_no_figures(tmp_path, monkeypatch):
    text = "Python 3.11 to 3.13, SQuAD 2.0, arXiv 1909.10351, TextBrewer 0.2.1, v1.2 and `0.5`.\n"
    assert a_page(tmp_path, monkeypatch, text).faults == []


@pytest.mark.parametrize("kind", ["published", "settings", "tested"])
def test_a_mark_says_what_a_number_is_up_to_the_next_heading(tmp_path, monkeypatch, kind):
    page = a_page(tmp_path, monkeypatch, f"<!-- figures: {kind} -->\nIt keeps 98.0 % of it.\n\n## Next\n\nIt keeps 97.0 %.\n")
    assert [fault.split(" has")[0] for fault in page.faults] == ["page.md:6: 97.0 %"]


def test_what_was_measured_and_has_no_file_cannot_stand_on_a_page(tmp_path, monkeypatch):
    text = "<!-- figures: not stored -->\nWritten down in commit `abc1234`: it keeps 98.0 %.\n"
    assert "unknown kind 'not stored'" in a_page(tmp_path, monkeypatch, text).faults[0]


def test_a_table_is_made_anew_from_its_file(tmp_path, monkeypatch):
    page = a_page(tmp_path, monkeypatch, "<!-- table: pretraining/memory -->\n| corpus |\n<!-- /table -->\n\nEnd.\n")
    assert page.faults[0].startswith("page.md:2: has ")
    assert "| 101 MB |" in page.text
    assert page.text.endswith("<!-- /table -->\n\nEnd.\n")


def test_a_table_without_its_file_says_so_and_has_no_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "result_path", lambda name: tmp_path / name)
    page = a_page(tmp_path, monkeypatch, "<!-- table: compress/banking77 -->\n| 98.0 |\n<!-- /table -->\n")
    assert "98.0" not in page.text
    said = "<!-- table: compress/banking77 -->\nNot measured yet (no compress/banking77).\n<!-- /table -->\n"
    page = a_page(tmp_path, monkeypatch, said)
    assert (page.faults, page.text) == ([], said)


def test_expressions_look_up_compute_and_refuse_everything_else():
    sources = {"a": {"two words": [1.0, 3.0], "b": 4}}
    assert evaluate("median(a['two words']) / a.b", sources) == 0.5
    for hostile in ("__import__('os')", "a.b if a else 1", "(lambda: 1)()", "open('x')"):
        with pytest.raises(LookupError):
            evaluate(hostile, sources)


def test_formats_are_those_of_the_pages():
    assert written(0.97986, ".1p") == "98.0"
    assert written(0.055, "+.1p") == "+5.5"
    assert written({"value": 0.98, "low": 0.973, "high": 1.0}, "interval") == "98.0 % (97.3 – 100.0)"


def test_a_sentence_is_found_whatever_its_figures_and_line_breaks():
    pattern = sentence_pattern(parse("keeps {x:.1p} % of [the teacher](a.md)"))
    assert pattern.search("it keeps 1,234.5\n  % of [the\nteacher](a.md).")
    assert not pattern.search("it keeps most % of [the teacher](a.md)")


def test_the_list_has_every_page_and_no_figure_without_a_source(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["figures", "--list"])
    assert figures.main() == 0
    listed = capsys.readouterr().out
    pages = {line.split(":")[0] for line in listed.splitlines()}
    assert {"README.md", "docs/distillation.md", "docs/results/low_rank.md", "docs/site/survey.md"} <= pages
    assert "WITHOUT A SOURCE" not in listed
