"""Figures inside sentences: ``{speed.ratio.median:.1f}`` is looked up in result files and written as the format says.

An expression has names (the sources of a page), ``.key``, ``["key"]``, ``[0]``, numbers, ``+ - * /`` and the functions of
:data:`FUNCTIONS`. A format is one of Python's for numbers, with ``p`` for per cent (``.1p`` of 0.98 is ``98.0``), or
``interval``: value, low and high in per cent, as ``98.0 % (97.3 – 98.7)``; ``interval2`` has two decimals.
"""

from __future__ import annotations

import ast
import operator
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

NUMBER = r"[-+]?\d(?:[\d.,]*\d)?"  # as English or as Turkish writes it
INTERVAL = rf"(?:{NUMBER} %|%{NUMBER}) \({NUMBER} – {NUMBER}\)"  # the same


def named(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the row whose ``name`` it is.

    Raises:
        LookupError: there is none.
    """
    for row in rows:
        if row["name"] == name:
            return row
    raise LookupError(f"no row is named {name!r}")


FUNCTIONS: dict[str, Callable[..., Any]] = {"median": median, "mean": fmean, "min": min, "max": max, "named": named}
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Figure:
    """One placeholder: its expression and its format."""

    expression: str
    format: str

    @property
    def pattern(self) -> str:
        """A regular expression for what may stand in its place on a page."""
        return INTERVAL if self.format.startswith("interval") else NUMBER

    def text(self, sources: Mapping[str, Any]) -> str:
        """Return the figure as it must stand on the page.

        Raises:
            LookupError: the sources do not hold it.
        """
        return written(evaluate(self.expression, sources), self.format)

    def names(self) -> set[str]:
        """Return the sources that it reads."""
        nodes = ast.walk(ast.parse(self.expression, mode="eval"))
        return {node.id for node in nodes if isinstance(node, ast.Name)} - set(FUNCTIONS)


def evaluate(expression: str, sources: Mapping[str, Any]) -> Any:
    """Return the value of an expression.

    >>> evaluate("a.rows[1] / a['two words']", {"a": {"rows": [1, 6], "two words": 4}})
    1.5
    """
    return _value(ast.parse(expression, mode="eval").body, sources)


def _value(node: ast.expr, sources: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return sources[name]
        case ast.Attribute(value=inner, attr=key):
            return _value(inner, sources)[key]
        case ast.Subscript(value=inner, slice=key):
            return _value(inner, sources)[_value(key, sources)]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_value(left, sources), _value(right, sources))
        case ast.Call(func=ast.Name(id=name), args=args) if name in FUNCTIONS:
            return FUNCTIONS[name](*(_value(arg, sources) for arg in args))
    raise LookupError(f"an expression cannot hold {ast.unparse(node)!r}")


def written(value: Any, form: str) -> str:
    """Return a value in a format.

    >>> written(0.98, ".1p"), written({"value": 0.98, "low": 0.973, "high": 0.987}, "interval")
    ('98.0', '98.0 % (97.3 – 98.7)')
    """
    if form.startswith("interval"):
        inner = f".{form.removeprefix('interval') or 1}p"
        return f"{written(value['value'], inner)} % ({written(value['low'], inner)} – {written(value['high'], inner)})"
    if form.endswith("p"):
        return format(100 * value, form[:-1] + "f")
    return format(value, form)


def parse(template: str) -> list[str | Figure]:
    """Return the parts of a sentence: literal text and figures by turns.

    >>> parse("keeps {a.b:.1p} % of it")
    ['keeps ', Figure(expression='a.b', format='.1p'), ' % of it']
    """
    parts: list[str | Figure] = []
    for literal, expression, form, _ in string.Formatter().parse(template):
        parts += [literal] if literal else []
        parts += [Figure(expression, form or "")] if expression is not None else []
    return parts


def sentence_pattern(parts: list[str | Figure]) -> re.Pattern[str]:
    """Return what finds the sentence on a page, whatever its figures and wherever its lines break; one group a figure."""
    out = []
    for part in parts:
        if isinstance(part, Figure):
            out.append(f"({part.pattern})".replace(" ", r"\s+"))
        else:
            out.append(re.sub(r"(\\?\s)+", lambda _: r"\s+", re.escape(part)))
    return re.compile("".join(out))
