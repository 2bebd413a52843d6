"""The texts of ``locale/*.yaml``, and numbers with the marks of a language."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files

import yaml

LANGUAGES = ("en", "tr")
_TURKISH_MARKS = str.maketrans(",.", ".,")


@functools.cache
def texts(lang: str) -> Mapping[str, str]:
    """Return the texts of a language by dotted key.

    >>> texts("tr")["unit.yes"]
    'evet'
    """
    flat: dict[str, str] = {}

    def walk(prefix: str, node: object) -> None:
        if isinstance(node, dict):
            for key, child in node.items():
                walk(f"{prefix}.{key}" if prefix else str(key), child)
        else:
            flat[prefix] = str(node)

    walk("", yaml.safe_load(read_locale_file(lang)))
    return flat


def read_locale_file(name: str) -> str:
    """Return the text of ``locale/<name>.yaml``."""
    return files("imbik.locale").joinpath(f"{name}.yaml").read_text("utf-8")


def with_marks(number: str, lang: str) -> str:
    """Rewrite a number as Python formats it with the marks of a language; Turkish puts the percent sign first.

    >>> with_marks("1,234.5", "tr"), with_marks("96.2%", "tr"), with_marks("96.2%", "en")
    ('1.234,5', '%96,2', '96.2%')
    """
    if lang != "tr":
        return number
    return ("%" if number.endswith("%") else "") + number.removesuffix("%").translate(_TURKISH_MARKS)
