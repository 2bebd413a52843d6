"""The role ``{num}`name``` in the text of a notebook: a number that its stored outputs hold, written as the language does.

``{num}`accuracy:.1f``` formats as Python does; ``{num}`accuracy:.1%``` is a percentage. The numbers are those of the run whose outputs
the page shows (``notebooks/outputs``), so that text and output cannot differ.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx.application import Sphinx

OUTPUTS = Path(__file__).parents[2] / "notebooks" / "outputs"


@cache
def stored(name: str) -> dict[str, float]:
    """Return the numbers of one notebook's stored run."""
    found: dict[str, float] = json.loads((OUTPUTS / f"{name}.ipynb").read_text(encoding="utf-8"))["metadata"]["imbik"]["numbers"]
    return found


def written(name: str, text: str, language: str) -> str:
    """Write the number that ``key:format`` names.

    Raises:
        KeyError: the stored run has no such number.
    """
    key, _, form = text.partition(":")
    number = format(stored(name)[key], form or "g")
    if language != "tr":
        return number
    turkish = number.translate(str.maketrans({".": ",", ",": "."}))
    return f"%{turkish[:-1]}" if turkish.endswith("%") else turkish


def role(_name: str, raw: str, text: str, line: int, inliner: Inliner, *_: Any) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Read the role."""
    env = inliner.document.settings.env
    try:
        return [nodes.Text(written(Path(env.docname).name, text, env.config.language))], []
    except KeyError:
        message = inliner.reporter.error(f"no number {text!r} in the stored outputs of {env.docname}", line=line)
        return [inliner.problematic(raw, raw, message)], [message]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role."""
    app.add_role("num", role)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
