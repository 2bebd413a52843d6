"""What the theme and MyST-NB leave to mend in a page before everyone can use it, found by ``browser.py``."""

from __future__ import annotations

import re

MENDED = {
    r'<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    r'<summary aria-label="Toggle hidden content">': "<summary>",  # its own words say more, in the page's language
    r"<pre>": '<pre tabindex="0">',  # what scrolls must be reached by the keyboard
    r'<div class="formula">': '<div class="formula" tabindex="0">',
    r'<div class="(table-wrapper[^"]*)">': r'<div class="\1" tabindex="0">',
}


PARAMETERS = re.compile(r'<dl>\s*(<dd><em class="sig-param">.*?)</dl>', re.S)
"""A signature of several lines: Sphinx writes a list of definitions that defines nothing."""


def accessible(html: str) -> str:
    """Return a page with these places mended.

    >>> accessible("<pre>1</pre>")
    '<pre tabindex="0">1</pre>'
    """
    for found, better in MENDED.items():
        html = re.sub(found, better, html)
    return PARAMETERS.sub(lambda found: f'<div class="parameters">{found[1]}</div>'.replace("dd>", "div>"), html)
