"""Turkish texts beside English ones: cells are put in, and a text that is older than its English one is noticed."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"
TWINS = sorted(path for folder in ("", "results") for path in (ROOT / "docs" / folder).glob("*.tr.md") if path.name != "README.tr.md")

sys.path.insert(0, str(ROOT))
from benchmarks import figures  # noqa: E402


@pytest.fixture
def translations(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("site_translations", SITE / "translations.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RECORD", tmp_path / "translations.yaml")
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    monkeypatch.setattr(figures, "LEDGERS", tmp_path)
    return module


ENGLISH = """---
file_format: mystnb
---

# One

```{code-cell} python
a = 1
```

two

```{code-cell} python
:tags: [hide-cell]

b = 2
```
"""


def test_cells_stand_in_the_place_of_their_marks(translations):
    found = translations.with_cells("# Bir\n\n%%\n\niki\n\n%%\n", ENGLISH, "one")
    assert found == ENGLISH.replace("# One", "# Bir").replace("two", "iki")


def test_another_number_of_marks_is_refused(translations):
    with pytest.raises(SystemExit, match="one: 1 marks"):
        translations.with_cells("# Bir\n\n%%\n", ENGLISH, "one")


def test_a_page_that_is_no_notebook_is_taken_as_it_is(translations):
    assert translations.with_cells("# Bir\n", "# One\n", "one") == "# Bir\n"


def test_a_turkish_text_older_than_the_english_is_noticed(translations, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(ENGLISH, encoding="utf-8")
    pages = {"page": page, "house/other": tmp_path / "other.md"}
    assert [one.split(";")[0] for one in translations.faults(pages)] == ["page: no Turkish text"]  # a page of the code needs none
    (tmp_path / "page.tr.md").write_text("# Bir\n\n%%\n\niki\n\n%%\n", encoding="utf-8")
    assert len(translations.faults(pages)) == 1
    translations.record(pages, ["page"])
    assert translations.faults(pages) == []
    page.write_text(ENGLISH.replace("a = 1", "a = 3"), encoding="utf-8")
    assert translations.faults(pages) == []  # code is taken from the English anyway
    page.write_text(ENGLISH.replace("two", "three"), encoding="utf-8")
    assert "page" in translations.faults(pages)[0]
    (tmp_path / "page.tr.md").unlink()
    assert len(translations.faults(pages)) == 2 and all("no Turkish text" in one for one in translations.faults(pages))


def test_new_measurements_do_not_make_a_turkish_text_old(translations, tmp_path):
    page = tmp_path / "page.md"
    text = "# One\n\nIt keeps 97.5 % in 3 layers.\n\n<!-- table: room/one -->\n| a |\n|---|\n| 1.5 |\n<!-- /table -->\n"
    page.write_text(text, encoding="utf-8")
    (tmp_path / "page.tr.md").write_text("# Bir\n", encoding="utf-8")
    (tmp_path / "page.yaml").write_text("sources: {}\nfigures: ['keeps {x:.1p} % in']\n", encoding="utf-8")
    pages = {"page": page}
    translations.record(pages, ["page"])
    page.write_text(text.replace("97.5", "98.25").replace("| 1.5 |", "| 2.5 |\n| 3 |"), encoding="utf-8")
    assert translations.faults(pages) == []
    for old, new in (("3 layers", "4 layers"), ("room/one", "room/two"), ("keeps", "holds")):
        page.write_text(text.replace(old, new), encoding="utf-8")
        assert len(translations.faults(pages)) == 1, old


PARTS = {
    "code": r"^```.*?^```",
    "formulas": r"^\$\$.*?\$\$",
    "tables": r"<!-- table: \S+ -->",
    "kinds of figures": r"<!-- figures: \w+ -->",
    "levels of headings": r"^#+(?= )",
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("path", TWINS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_turkish_page_shows_what_the_english_one_shows(path, part):
    english = path.with_name(path.name.replace(".tr.md", ".md"))
    shown, expected = (re.findall(PARTS[part], one.read_text(encoding="utf-8"), re.S | re.M) for one in (path, english))
    assert shown == expected


def test_numbers_are_written_as_the_language_does(translations, monkeypatch):
    monkeypatch.syspath_prepend(str(SITE))
    sys.modules.pop("numbers_of_outputs", None)
    import numbers_of_outputs as numbers

    monkeypatch.setattr(numbers, "stored", lambda _name: {"share": 0.9137, "count": 12345.6})
    assert numbers.written("x", "share:.1%", "en") == "91.4%" and numbers.written("x", "share:.1%", "tr") == "%91,4"
    assert numbers.written("x", "count:,.1f", "en") == "12,345.6" and numbers.written("x", "count:,.1f", "tr") == "12.345,6"
    with pytest.raises(KeyError):
        numbers.written("x", "none:.1f", "tr")
