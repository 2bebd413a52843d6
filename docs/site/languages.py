"""The language switch, the way to the survey's PDF, and a line on the pages of the code, which are English in the Turkish site."""

from __future__ import annotations

import os
from typing import Any

from browser import chromium
from docutils import nodes
from sphinx.application import Sphinx

OF_THE_CODE = "Bu sayfa kodu değiştirenler içindir ve kodun dilinde, İngilizcedir."


def add_context(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Tell the templates where the same page stands in the other language."""
    context["site_languages"] = [("en", "English"), ("tr", "Türkçe")]
    context["site_language"] = app.config.language
    context["to_languages"] = "../" * (page.count("/") + 1)
    context["this_page"] = "search.html" if page == "search" else f"{page}.html"


def say_english(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Put the line at the top of a page that is not in Turkish."""
    if app.config.language != "tr" or page in os.environ["IMBIK_SITE_COMPLETE"].split():
        return
    note = nodes.note("", nodes.paragraph("", OF_THE_CODE), classes=["not-translated"])
    section = next(iter(doctree.findall(nodes.section)), None)
    (section if section is not None else doctree).insert(1, note)


def lead_to_pdf(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Put a link to the PDF below the survey's title, where this system can print one."""
    if page == "survey" and chromium() is not None:
        words = "Dört sayfalık PDF" if app.config.language == "tr" else "As a PDF of four pages"
        link = nodes.paragraph("", "", nodes.reference("", words, refuri="survey.pdf"), classes=["survey-pdf"])
        next(iter(doctree.findall(nodes.section))).insert(1, link)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all three."""
    app.connect("html-page-context", add_context)
    app.connect("doctree-resolved", say_english)
    app.connect("doctree-resolved", lead_to_pdf)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
