"""When two names are the same: Unicode forms, numbers, upper and lower case."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?")


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which equal texts have equal characters; macOS writes letters and accents apart.

    >>> composed("cafe\\u0301") == "café"
    True
    """
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return a name without what people leave out when they type it: case, accents, the dot of the Turkish i, width, repeated spaces.

    >>> folded("GÖRÜŞ"), folded("SINIF") == folded("sınıf"), folded("Ｌａｂｅｌ  x")
    ('gorus', True, 'label x')
    """
    parts = unicodedata.normalize("NFKD", name.replace("ı", "i")).casefold()
    visible = "".join(c for c in parts if unicodedata.category(c) not in ("Mn", "Cf"))
    return " ".join(visible.split())


def value_of(name: str) -> str:
    """Return a plain number in one form, and any other name as it is: ``1.0`` and ``01`` are the number that ``1`` is.

    >>> value_of("1.0"), value_of("01"), value_of("1.50"), value_of("-0.0"), value_of("1e3")
    ('1', '1', '1.5', '0', '1e3')
    """
    if not _NUMBER.fullmatch(name):
        return name
    whole, _, decimals = name.lstrip("+-").partition(".")
    number = (whole.lstrip("0") or "0") + "." + decimals.rstrip("0")
    number = number.rstrip(".")
    return f"-{number}" if name.startswith("-") and number != "0" else number


def matched(names: Iterable[str], known: Sequence[str], key: Callable[[str], str]) -> Mapping[str, str]:
    """Return, of the names that are not among ``known``, those which ``key`` makes equal to exactly one of these: name -> known name.

    >>> matched(["1.0", "a", "2"], ["1", "2", "A"], value_of)
    {'1.0': '1'}
    """
    by_key: dict[str, list[str]] = {}
    for name in known:
        by_key.setdefault(key(name), []).append(name)
    new = [name for name in names if name not in set(known)]
    return {name: by_key[key(name)][0] for name in new if len(by_key.get(key(name), ())) == 1}


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return groups of different names that a reader takes for the same: they differ in case (English or Turkish), accents left out,
    spaces or width only.

    >>> alike(["Food", "food ", "tea"]), alike(["HAYIR", "Hayır", "hayir"])
    ([('Food', 'food ')], [('HAYIR', 'hayir'), ('HAYIR', 'Hayır')])
    """
    there = [name for name in names if name.strip()]
    found: dict[tuple[str, ...], None] = {}
    for look in (_look, _turkish_look):
        groups: dict[str, list[str]] = {}
        for name in there:
            groups.setdefault(look(name), []).append(name)
        found |= {tuple(group): None for group in groups.values() if len(group) > 1}
    return list(found)


def _look(name: str) -> str:
    # accents stay: they tell words apart ("ölü", "olu")
    shown = unicodedata.normalize("NFKC", name).casefold()
    return " ".join("".join(c for c in shown if unicodedata.category(c) != "Cf").split())


def _turkish_look(name: str) -> str:
    # the capital of i is İ, that of ı is I
    return _look(unicodedata.normalize("NFKC", name).replace("I", "ı").replace("İ", "i"))
