"""Turkish texts beside English ones: cells are put in, and a text that is older than its English one is noticed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "docs" / "site"


@pytest.fixture
def translations(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("site_translations", SITE / "translations.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RECORD", tmp_path / "translations.yaml")
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
    pages = {"page": page, "other": tmp_path / "other.md"}
    assert translations.faults(pages) == []  # nothing is said to be translated
    (tmp_path / "page.tr.md").write_text("# Bir\n\n%%\n\niki\n\n%%\n", encoding="utf-8")
    assert len(translations.faults(pages)) == 1
    translations.record(pages, ["page"])
    assert translations.faults(pages) == []
    page.write_text(ENGLISH.replace("a = 1", "a = 3"), encoding="utf-8")
    assert translations.faults(pages) == []  # code is taken from the English anyway
    page.write_text(ENGLISH.replace("two", "three"), encoding="utf-8")
    assert "page" in translations.faults(pages)[0]
    (tmp_path / "page.tr.md").unlink()
    assert "no Turkish text" in translations.faults(pages)[0]


def test_numbers_are_written_as_the_language_does(translations, monkeypatch):
    monkeypatch.syspath_prepend(str(SITE))
    sys.modules.pop("numbers_of_outputs", None)
    import numbers_of_outputs as numbers

    monkeypatch.setattr(numbers, "stored", lambda _name: {"share": 0.9137, "count": 12345.6})
    assert numbers.written("x", "share:.1%", "en") == "91.4%" and numbers.written("x", "share:.1%", "tr") == "%91,4"
    assert numbers.written("x", "count:,.1f", "en") == "12,345.6" and numbers.written("x", "count:,.1f", "tr") == "12.345,6"
    with pytest.raises(KeyError):
        numbers.written("x", "none:.1f", "tr")
