"""The survey of the four families as a PDF of four pages, printed by Chromium from the page that the site has.

    python docs/site/survey_pdf.py [--out DIR]     build/site/en/survey.pdf and build/site/tr/survey.pdf (make survey)

It is the same Markdown: what ``survey.md`` says, the PDF says. Links to pages of the site keep their words alone, those to papers stay.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from pathlib import Path

from browser import SITE, chromium

PAGES = 4
STYLE = """
@page { size: A4; margin: 20mm 20mm 18mm; @bottom-center { content: counter(page); font: 9pt serif; } }
body { font: 10.4pt/1.36 "Liberation Serif", "DejaVu Serif", "Times New Roman", serif; margin: 0; hyphens: auto; text-align: justify; }
h1 { font-size: 17pt; margin: 0 0 3mm; text-align: left; } h2 { font-size: 12.5pt; margin: 3.6mm 0 1mm; break-after: avoid; }
p { margin: 0 0 1.8mm; orphans: 2; widows: 2; } ol { margin: 0; padding-left: 7mm; } li p { display: inline; margin: 0; }
section:last-of-type li { font-size: 8.8pt; line-height: 1.25; text-align: left; }
table { border-collapse: collapse; width: 100%; font-size: 9.4pt; break-inside: avoid; }
td, th { border-bottom: .3pt solid #777; padding: .7mm 1.2mm; text-align: left; }
p:has(> img) { text-align: center; margin: 2.5mm 0; break-inside: avoid; } img { width: 118mm; height: auto; }
a { color: inherit; text-decoration: none; } a.headerlink { display: none; } math { font-size: 1em; }
"""
ARTICLE = re.compile(r"<article[^>]*>(.*?)</article>", re.S)
INSIDE = re.compile(r'<a class="reference (?:internal|download)[^>]*>(.*?)</a>', re.S)


def printable(html: str, language: str, base: str) -> str:
    """Return the article of a built page as a document of its own, its pictures read from below ``base``.

    Raises:
        ValueError: the page has no article.
    """
    found = ARTICLE.search(html)
    if found is None:
        raise ValueError("the page has no <article>")
    title = re.sub(r"<[^>]+>|¶", "", html[html.index("<h1>") : html.index("</h1>")])
    body = re.sub(r'<p class="survey-pdf.*?</p>', "", INSIDE.sub(r"\1", found.group(1)), flags=re.S)
    head = f'<meta charset="utf-8"><base href="{base}"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="{language}">{head}<body>{body}</body></html>'


def print_pdf(program: str, document: str, to: Path) -> None:
    """Print a document.

    Raises:
        SystemExit: the browser wrote nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "survey.html"
        page.write_text(document, encoding="utf-8")
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # Chromium's sandbox refuses root, as in containers
        words = [program, "--headless", *root, "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={folder}/profile"]
        done = subprocess.run([*words, f"--print-to-pdf={to.resolve()}", page.as_uri()], capture_output=True, text=True, timeout=300)
    if not to.is_file():
        raise SystemExit(f"{to}: not printed: {done.stderr.strip()[-400:]}")


def pages_of(pdf: Path) -> int:
    """Return how many pages a PDF of Chromium has."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


def survey_pdf(site: Path, language: str) -> Path | None:
    """Print the survey of a built site beside its page; None where there is no Chromium.

    Raises:
        SystemExit: it does not have four pages.
    """
    program = chromium()
    if program is None:
        return None
    folder = (site / language).resolve()
    page, pdf = folder / "survey.html", folder / "survey.pdf"
    pdf.unlink(missing_ok=True)
    print_pdf(program, printable(page.read_text(encoding="utf-8"), language, f"{folder.as_uri()}/"), pdf)
    if pages_of(pdf) != PAGES:
        raise SystemExit(f"{pdf}: {pages_of(pdf)} pages; the survey has {PAGES}: shorten it, or change STYLE")
    return pdf


def main() -> None:
    """Print both languages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=SITE, help="a built site")
    options = parser.parse_args()
    for language in ("en", "tr"):
        print(survey_pdf(options.out, language) or "no Chromium on this system: survey.pdf is not made")


if __name__ == "__main__":
    main()
