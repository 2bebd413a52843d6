"""Measures of the house's language: typing, docstrings, comments, bags. ``python tests/house/measures.py`` prints them by package."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from layout import SOURCE, module_name, room

Function = ast.FunctionDef | ast.AsyncFunctionDef

_TOOL_COMMENT = re.compile(r"#\s*(noqa|type: ignore|fmt: |pragma|ruff: )")
"""Comments that speak to a tool and tell a reader nothing."""


@dataclass(frozen=True)
class Measures:
    """Counts over some files of ``src``.

    Attributes:
        lines: lines of text, blank ones too.
        comments: lines that carry a comment for a reader.
        parameters: parameters of all functions, without ``self`` and ``cls``.
        any_parameters: those of them that are annotated exactly ``Any``.
        bag_parameters: those whose annotation holds ``Mapping[str, Any]`` or ``dict[str, Any]``.
        gets: how often ``.get("`` stands there.
        public: public functions and methods.
        documented: those of them that have a docstring.
    """

    lines: int
    comments: int
    parameters: int
    any_parameters: int
    bag_parameters: int
    gets: int
    public: int
    documented: int

    def __add__(self, other: Measures) -> Measures:
        return Measures(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})

    @property
    def comment_share(self) -> float:
        return self.comments / max(1, self.lines)

    @property
    def any_share(self) -> float:
        return self.any_parameters / max(1, self.parameters)

    @property
    def documented_share(self) -> float:
        return self.documented / max(1, self.public)


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method of a module, inner ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def parameters(function: Function) -> list[ast.arg]:
    """The parameters of a function, ``*args`` and ``**kwargs`` among them, without ``self`` and ``cls``."""
    spec = function.args
    rest = [one for one in (spec.vararg, spec.kwarg) if one is not None]
    return [one for one in [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *rest] if one.arg not in ("self", "cls")]


def public_functions(tree: ast.Module) -> Iterator[Function]:
    """Public functions of a module and public methods of its public classes; inner functions are nobody's business.

    ``forward`` and ``backward`` are PyTorch's names: what they compute is told by their class.
    """
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (
                part
                for part in node.body
                if isinstance(part, Function) and not part.name.startswith("_") and part.name not in ("forward", "backward")
            )


def comment_lines(text: str) -> int:
    """Lines that carry a comment, those for tools (``noqa``, ``type: ignore``, ``fmt:``) left out.

    >>> comment_lines("x = 1  # why\\ny = 2  # noqa: E501\\nz = '# no comment'\\n")
    1
    """
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return len({token.start[0] for token in tokens if token.type == tokenize.COMMENT and not _TOOL_COMMENT.match(token.string)})


@functools.cache
def measure(path: Path) -> Measures:
    """Measure one file."""
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    annotations = [ast.unparse(one.annotation) for f in functions(tree) for one in parameters(f) if one.annotation is not None]
    public = list(public_functions(tree))
    return Measures(
        lines=len(text.splitlines()),
        comments=comment_lines(text),
        parameters=sum(len(parameters(f)) for f in functions(tree)),
        any_parameters=annotations.count("Any"),
        bag_parameters=sum("Mapping[str, Any]" in one or "dict[str, Any]" in one for one in annotations),
        gets=text.count('.get("'),
        public=len(public),
        documented=sum(ast.get_docstring(f) is not None for f in public),
    )


def total(measured: Iterable[Measures]) -> Measures:
    """Add measures up."""
    return sum(measured, Measures(0, 0, 0, 0, 0, 0, 0, 0))


def by_room() -> dict[str, Measures]:
    """Measures of every package of ``src/imbik``, by its name."""
    found: dict[str, Measures] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = room(module_name(path))
        found[name] = measure(path) if name not in found else found[name] + measure(path)
    return found


def table(rows: dict[str, Measures]) -> str:
    """Write measures as a table, one package a line, the sum last.

    >>> print(table({"jobs": Measures(100, 3, 10, 1, 0, 2, 5, 5)}).splitlines()[1])
    jobs             100     3.0 %          10    1  10.0 %     0     2   100 %
    """
    lines = [f"{'package':14s}{'lines':>6s}{'comments':>10s}{'parameters':>12s}{'Any':>5s}{'':8s}{'bags':>6s}{'gets':>6s}{'doc.':>8s}"]
    for name, one in [*rows.items(), ("all", total(rows.values()))]:
        lines.append(
            f"{name:14s}{one.lines:6d}{100 * one.comment_share:8.1f} %"
            f"{one.parameters:12d}{one.any_parameters:5d}{100 * one.any_share:6.1f} %"
            f"{one.bag_parameters:6d}{one.gets:6d}{100 * one.documented_share:6.0f} %"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(by_room()))  # noqa: T201
