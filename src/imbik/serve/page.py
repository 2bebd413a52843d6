"""The page at ``/``: a field for a text and the answer of each model, without anything from other servers."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from imbik.locale.phrases import Phrases


def page(lang: str) -> str:
    """Return the page in a language.

    Args:
        lang: en or tr.

    Raises:
        UserError: no such language.
    """
    shelf = PackageLoader("imbik.serve", "templates")
    environment = Environment(loader=shelf, undefined=StrictUndefined, autoescape=select_autoescape())
    return environment.get_template("page.html").render(t=Phrases(lang), lang=lang)
