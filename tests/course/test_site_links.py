"""Links of the site's pages: to twins, to pages that are shown in their translation, and to the page in the other language."""

from __future__ import annotations

import re
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "docs" / "site"


@pytest.fixture
def assembling(monkeypatch):
    monkeypatch.syspath_prepend(str(SITE))
    for name in ("assemble", "translations"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import assemble

    return assemble


def relinked(assembling, tmp_path, text, translated):
    docs = assembling.ROOT / "docs"
    names = {docs / "minilm.md": "explanation/minilm", docs / "minilm.tr.md": "explanation/minilm"}
    page = docs / "any_module.md"
    return assembling.relink(text, "howto/any_module", page, names, tmp_path, {docs / "minilm.md"} if translated else set())


def test_a_link_to_a_twin_leads_to_the_page(assembling, tmp_path):
    assert relinked(assembling, tmp_path, "[a](minilm.tr.md#kayıp)", True) == "[a](../explanation/minilm.md#kayıp)"


def test_an_english_anchor_goes_where_the_page_is_shown_translated(assembling, tmp_path):
    assert relinked(assembling, tmp_path, "[a](minilm.md#the-loss)", False) == "[a](../explanation/minilm.md#the-loss)"
    assert relinked(assembling, tmp_path, "[a](minilm.md#the-loss)", True) == "[a](../explanation/minilm.md)"


def test_the_link_to_the_other_language_is_not_on_the_site(assembling):
    for text in ("# A\n\n([English](a.md))\n", "# A ([Türkçe](a.tr.md))\n"):
        assert "](" not in assembling.TWIN.sub("", text)


def test_no_turkish_page_is_older_than_its_english_one(assembling):
    import translations

    assert translations.faults(assembling.page_map()) == []


@pytest.mark.parametrize("index", ["index.md", "index.tr.md"])
def test_every_page_stands_in_a_list_of_contents(assembling, index):
    lists = re.findall(r"```{toctree}\n(.*?)```", (SITE / index).read_text(encoding="utf-8"), re.DOTALL)
    named = [line.strip() for each in lists for line in each.splitlines() if line.strip() and not line.startswith(":")]
    pages = [page for page in assembling.page_map() if page.startswith(("howto/", "explanation/", "results/", "house/"))]
    assert pages and [page for page in pages if not any(fnmatch(page, each) for each in named)] == []
