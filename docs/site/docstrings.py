"""Docstrings as reStructuredText: bars and trailing underscores of formulas are text there, not markup."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

LITERAL = re.compile(r"(``.*?``|:[\w:]+:`[^`]*`|`[^`]*`|^\s*>>>.*$)")
MARKUP = re.compile(r"(?<!\\)\||(?<=\w)_(?=\W|$)|(?<!\w)\*\*?(?=\w)")


def escape(_app: Sphinx, _what: str, _name: str, _value: object, _options: Any, lines: list[str]) -> None:
    """Escape what would be markup, outside literals; an indented formula is shown as it is written."""
    for place in range(len(lines) - 2, 0, -1):
        if lines[place].startswith(" ") and not lines[place - 1].strip() and re.match(r"\S.*\S$", lines[place - 2] or ""):
            lines[place - 1 : place] = ["", "::", ""]
    for number, line in enumerate(lines):
        parts = LITERAL.split(line)
        parts[::2] = [MARKUP.sub(lambda found: "".join("\\" + one for one in found.group()), part) for part in parts[::2]]
        lines[number] = "".join(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the change, before napoleon reads sections."""
    app.connect("autodoc-process-docstring", escape, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
