"""Several labels in one cell: lists in the notations of JSON, Python, NumPy and Postgres, vectors of 0 and 1, names behind separators."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from imbik.tasks.label_cells import as_cell
from imbik.tasks.labels.names import composed

_LONGEST = 100_000  # characters of a cell that is read as a list of Python's
_CALL = re.compile(r"(?:np\.|numpy\.)?(?:array|tensor|frozenset|set|list|tuple|Index)\((.*?)(?:,\s*(?:dtype|device)=.*)?\)", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_NUMBERS = re.compile(r"[-+\d.\seE]+")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_ON = frozenset(("1", "1.0", "1.", "true", "True"))
_OFF = frozenset(("0", "0.0", "0.", "false", "False"))

SEPARATORS = ("|", ";", ",", "\n")
"""What stands between labels in one cell often enough to be looked for unasked."""

_ASKED = (*SEPARATORS, "\t", "/", "+", "&", "#", " ")  # where the user says that there are several


def items_of(value: str) -> list[str] | None:
    """Return the labels in a cell that holds a list, whichever program wrote it; None for what is no list.

    >>> items_of('["a", 1]'), items_of("['a', 'b']"), items_of("['a' 'b']"), items_of("[0. 1.]"), items_of("{a,b}"), items_of("a")
    (['a', '1'], ['a', 'b'], ['a', 'b'], ['0.', '1.'], ['a', 'b'], None)
    >>> items_of('{"a": 1, "b": 0}'), items_of("(a)"), items_of("[]")
    (['a'], None, [])
    """
    text = value.strip()
    called = _CALL.fullmatch(text)
    text = called[1].strip() if called else text
    if len(text) < 2 or _BRACKETS.get(text[0]) != text[-1]:
        return None
    found = _read(text)
    if isinstance(found, dict):
        items = _switched(found)
    elif found is not None:
        items = [as_cell(item, None) for item in found]
    elif text[0] in "[{":
        # a bare list, as databases write it
        items = [part.strip().strip("'\"") for part in text[1:-1].split(",")]
    else:
        return None
    return None if items is None else [composed(item.strip()) for item in items]


def _read(text: str) -> list[object] | dict[object, object] | None:
    """Return what a text in brackets holds for JSON, NumPy or Python; None where for none of them."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = _spaced(text[1:-1]) if text[0] == "[" else None
        found = _python(text) if found is None else found
    return found if isinstance(found, list | dict) else None


def _switched(found: Mapping[object, object]) -> list[str] | None:
    """Return the names that a dictionary switches on; None for one of other values, which is no list."""
    switches = {as_cell(name, None): as_cell(on, None) for name, on in found.items()}
    return [name for name, on in switches.items() if on in _ON] if set(switches.values()) <= _ON | _OFF else None


def _spaced(inner: str) -> list[str] | None:
    """Return the items of NumPy's notation, which has no commas: Python would join quoted texts that stand side by side."""
    if "," not in _QUOTED.sub("", inner):
        if _QUOTED.search(inner) and not _QUOTED.sub("", inner).strip():
            return [str(item) for quoted in _QUOTED.findall(inner) for item in _python(f"[{quoted}]") or ()]
        if inner.strip() and _NUMBERS.fullmatch(inner):
            return inner.split()
    return None


def _python(text: str) -> list[object] | dict[object, object] | None:
    if len(text) > _LONGEST:
        return None
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if isinstance(found, set):  # which has no order of its own
        return sorted(found, key=str)
    return list(found) if isinstance(found, tuple | list) else found if isinstance(found, dict) else None


def are_vectors(cells: Iterable[Sequence[str]]) -> bool | None:
    """Return whether lists are vectors of 0 and 1, a place a label; None where they may be that or the labels named 0 and 1.

    >>> are_vectors([["0", "1", "0"], ["1", "1", "0"]]), are_vectors([["0", "1"], ["1"]]), are_vectors([["0", "1"], ["1", "0"]])
    (True, False, None)
    """
    lists = list(cells)
    widths = set(map(len, lists))
    if len(widths) != 1 or min(widths) < 2 or not all(item in _ON | _OFF for items in lists for item in items):
        return False
    # nobody gives a text the same label twice
    return True if any(len(set(items)) < len(items) for items in lists) else None


def switched_on(items: Sequence[str]) -> list[str]:
    """Return the places of a vector that are 1, as names.

    >>> switched_on(["0", "1", "true"])
    ['1', '2']
    """
    return [str(place) for place, item in enumerate(items) if item in _ON]


def has_decimals(items: Iterable[str]) -> bool:
    """Return whether an item is a number with decimals, which names no label: it is a probability.

    >>> has_decimals(["1.0", "a"]), has_decimals(["0.5"])
    (False, True)
    """
    return any(re.fullmatch(r"[-+]?\d*\.\d*[1-9]\d*(e[-+]?\d+)?", item) for item in items)


@dataclass(frozen=True)
class Separation:
    """What speaks for a separator between the labels of a cell.

    Attributes:
        separator: between them.
        recurring: share of the parts that occur in several different cells: labels do, the pieces of a name do not.
        alone: whether a part also stands as a whole cell.
        cells: how many different cells it parts.
    """

    separator: str
    recurring: float
    alone: bool
    cells: int

    @property
    def sure(self) -> bool:
        """Whether the parts are labels beyond doubt."""
        return self.recurring >= 0.5 and self.alone


def parts_of(value: str, separator: str) -> list[str]:
    """Return the labels of a cell."""
    return [part for part in (piece.strip() for piece in value.split(separator)) if part]


def separation(values: Iterable[str], *, asked: bool = False) -> Separation | None:
    """Return the separator that parts cells into labels best, None where none parts any.

    Args:
        values: the different cells of a column.
        asked: whether the user says that cells hold several labels; separators that names hold as well are then looked for too.
    """
    found = [one for one in (_separation(list(values), separator) for separator in (_ASKED if asked else SEPARATORS)) if one is not None]
    return max(found, key=lambda one: (one.sure, one.separator in "|;", one.separator == ",", one.recurring), default=None)


def _separation(values: Sequence[str], separator: str) -> Separation | None:
    parted = {value: parts_of(value, separator) for value in values if separator in value}
    several = {value: set(parts) for value, parts in parted.items() if len(parts) > 1}
    if not several:
        return None
    # a separator behind a single label ("sport|") is no part of its name
    whole = {parted[value][0] if parted.get(value) else value.strip() for value in values if value not in several}
    places = Counter(part for parts in several.values() for part in parts)
    recurring = sum(count > 1 or part in whole for part, count in places.items()) / len(places)
    return Separation(separator, recurring, bool(whole & set(places)), len(several))
