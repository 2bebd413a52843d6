"""What looks at the site in Chromium, and what prints the survey: each notices what it is for. Without Chromium all but two are skipped."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "docs" / "site"
AXE = Path(os.environ.get("IMBIK_AXE", SITE.parents[1] / "build" / "node_modules" / "axe-core" / "axe.min.js"))
GOOD = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>t</title>{}</html>'


@pytest.fixture
def site(monkeypatch):
    monkeypatch.syspath_prepend(str(SITE))
    for name in ("accessible", "browser", "survey_pdf"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import accessible
    import browser
    import survey_pdf

    return {"accessible": accessible.accessible, "browser": browser, "pdf": survey_pdf}


def test_what_scrolls_takes_the_keyboard_and_a_signature_is_no_list_of_definitions(site):
    html = '<pre>1</pre><dl>\n\n<dd><em class="sig-param">a</em>,</dd>\n</dl><dl><dt>b</dt><dd>c</dd></dl>'
    found = site["accessible"](html)
    assert found.startswith('<pre tabindex="0">') and "<dt>b</dt><dd>c</dd>" in found
    assert '<div class="parameters"><div><em class="sig-param">a</em>,</div>' in found


def test_the_printed_survey_is_the_article_alone(site):
    link = '<a class="reference internal" href="x.html"><span>there</span></a>'
    article = f'<nav>menu</nav><article id="a"><h1>Title<a>¶</a></h1><p class="survey-pdf"><a>PDF</a></p><p>{link}</p></article>'
    found = site["pdf"].printable(article, "tr", "file:///site/tr/")
    assert "<title>Title</title>" in found and '<html lang="tr">' in found and "<span>there</span>" in found
    assert "menu" not in found and "PDF" not in found and "x.html" not in found


@pytest.mark.slow
def test_chromium_prints_as_many_pages_as_there_are(site, tmp_path):
    program = site["browser"].chromium()
    if program is None:
        pytest.skip("no Chromium")
    site["pdf"].print_pdf(program, "<p>1</p><p style='break-before: page'>2</p><p style='break-before: page'>3</p>", tmp_path / "a.pdf")
    assert site["pdf"].pages_of(tmp_path / "a.pdf") == 3


@pytest.mark.slow
def test_each_fault_of_a_page_is_seen(site, tmp_path):
    pytest.importorskip("playwright")
    if site["browser"].chromium() is None or not AXE.is_file():
        pytest.skip("no Chromium, or no axe-core")
    bodies = {
        "": "<main><h1>a</h1></main>",
        "console": "<main><h1>a</h1></main><script>console.error('b')</script>",
        "request to http://nowhere.invalid": "<main><h1>a</h1><img alt='c' src='http://nowhere.invalid/a.png'></main>",
        "wider than the window": "<main><h1>a</h1><div style='width: 2000px'>d</div></main>",
        "image-alt": "<main><h1>a</h1><img src='data:,'></main>",
        "color-contrast": "<style>@media (prefers-color-scheme: dark) { p { color: #eee } }</style><main><h1>a</h1><p>faint</p></main>",
    }
    axe = AXE.read_text(encoding="utf-8")
    with site["browser"].opened() as window:
        for number, (expected, body) in enumerate(bodies.items()):
            page = tmp_path / f"{number}.html"
            page.write_text(GOOD.format(body), encoding="utf-8")
            found = site["browser"].look(window, page, axe)
            assert any(expected in one for one in found) if expected else found == [], (expected, found)
    assert all(one.startswith("dark: ") for one in found)
