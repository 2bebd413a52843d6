"""Which column of a file holds users, items, ratings and times: by the user's word, by its name, by its place."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imbik.errors import UserError
from imbik.recommend.data.remarks import remark

if TYPE_CHECKING:
    import pyarrow as pa

ROLES = ("user", "item", "rating", "time")
NAMES = {
    "user": ("user", "userid", "uid", "customer", "customerid", "client", "clientid", "visitor", "visitorid", "member", "memberid",
             "reviewer", "reviewerid", "username", "kullanici", "kullaniciid", "musteri", "musteriid", "session", "sessionid"),
    "item": ("item", "itemid", "iid", "movie", "movieid", "product", "productid", "asin", "sku", "song", "songid", "track", "trackid",
             "artist", "artistid", "book", "bookid", "isbn", "article", "articleid", "page", "pageid", "joke", "jokeid", "game", "gameid",
             "film", "filmid", "urun", "urunid", "sarki", "kitap"),
    "rating": ("rating", "ratings", "score", "stars", "star", "overall", "puan", "value", "weight", "count", "plays"),
    "time": ("timestamp", "time", "ts", "unixreviewtime", "datetime", "date", "zaman", "tarih"),
}  # fmt: skip
"""Names of columns as :func:`normalized` writes them, the likeliest first: of ``count`` and ``rating`` the rating is the rating."""

Places = dict[str, int | None]
"""Role -> index of its column."""


def normalized(name: str) -> str:
    """Return a column's name in small letters and digits alone, without accents and without RecBole's type.

    >>> [normalized(name) for name in ("userId", "user_id:token", " User ID", "Kullanıcı", "ÜRÜN")]
    ['userid', 'userid', 'userid', 'kullanici', 'urun']
    """
    text = name.split(":")[0].lower().replace("ı", "i")
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if letter.isascii() and letter.isalnum())


def known_names(cells: Sequence[str]) -> int:
    """Return how many cells are names of columns."""
    known = {name for names in NAMES.values() for name in names}
    return sum(normalized(cell) in known for cell in cells)


def find_header(rows: Sequence[Sequence[str]], named: Sequence[str]) -> tuple[bool, tuple[str, ...]]:
    """Decide whether the first row names the columns, and say so where it is a guess.

    Args:
        rows: cells of the first rows.
        named: columns that the user names.
    """
    first = [cell.strip().strip('"') for cell in rows[0]]
    lower = [cell.lower() for cell in first]
    if any(name.lower() in lower and not name.isdigit() for name in named):
        return True, ()
    known = known_names(first)
    if known >= min(2, len(first)):
        return True, ()
    # A name stands once, and is no number; an id mostly comes again, or holds a digit.
    again = any(cell == row[place].strip() for row in rows[1:] for place, cell in enumerate(first) if place < len(row))
    digits = any(any(letter.isdigit() for letter in cell) for cell in first)
    if known and not again and not any(_is_number(cell) for cell in first):
        return True, (remark(f"the first row is read as the names of the columns: {', '.join(first)}"),)
    if len(first) == 2 and not again and not digits and len(rows) > 1:
        told = remark(f"the first row ({', '.join(first)}) is read as data; if it is a header, use --user-column and --item-column")
        return False, (told,)
    return False, ()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def find_places(
    table: pa.Table, asked: Mapping[str, str | None], header: bool, path: Path, has_ratings: bool = True
) -> tuple[Places, tuple[str, ...]]:
    """Find the column of each role, and say what was guessed.

    Args:
        table: the columns.
        asked: role -> name or number of its column, None to guess: by its name, else (without a header) by the order
            of the roles, else the one column that is left for a user or an item.
        header: whether the columns have names.
        path: the file, for messages.
        has_ratings: whether ratings and times are wanted too.

    Raises:
        UserError: a user or item without a column, one column for two roles, a column that holds no single values.
    """
    names = list(table.column_names)
    places: Places = {}
    notes: list[str] = []
    for order, role in enumerate(ROLES if has_ratings else ROLES[:2]):
        name = asked.get(role)
        if name is not None:
            places[role] = _named(names, role, name, path)
        elif header:
            candidates = _by_name(names, role)
            places[role] = candidates[0] if candidates else None
            if len(candidates) > 1:
                others = ", ".join(repr(names[number]) for number in candidates[1:])
                notes.append(remark(f"the {role} is column {names[candidates[0]]!r}; {others} could be it too (--{role}-column)"))
        else:
            places[role] = order if order < len(names) else None
    taken = [place for role, place in places.items() if role != "time"]
    if asked.get("time") is None and places.get("time") in taken:
        places["time"] = None  # guessed by order, and named for something else
    # Of two columns one may be named and the other not: there is but one thing that it can be.
    if header:
        notes += _take_the_last(names, places)
    elif not any(asked.values()):
        roles = [role for role, place in places.items() if place is not None]
        notes.append(remark(f"no header: columns are read as {', '.join(roles)}, in this order"))
    _check_places(table, places, path)
    return places, tuple(notes)


def _by_name(names: list[str], role: str) -> list[int]:
    """Return the columns whose names stand for a role, the likeliest first."""
    ranked = [(NAMES[role].index(normalized(name)), number) for number, name in enumerate(names) if normalized(name) in NAMES[role]]
    return [number for _, number in sorted(ranked)]


def _take_the_last(names: list[str], places: Places) -> list[str]:
    """Give the one column without a role to the user or the item, where one of them has none; say so."""
    missing = [role for role in ("user", "item") if places[role] is None]
    left = [number for number in range(len(names)) if number not in places.values()]
    if len(missing) != 1 or len(left) != 1:
        return []
    places[missing[0]] = left[0]
    return [remark(f"the {missing[0]} is column {names[left[0]]!r}, the only one left (--{missing[0]}-column)")]


def _check_places(table: pa.Table, places: Places, path: Path) -> None:
    """Refuse a role without a column, two roles for one column, and columns that do not hold one value a row."""
    names = table.column_names
    for role in ("user", "item"):
        if places[role] is None:
            raise UserError(
                f"no {role} column",
                where=path,
                found=", ".join(names),
                expected=f"a column named {role} or similar",
                fix=f"name it with --{role}-column",
            )
    taken: dict[int, str] = {}
    for role, place in places.items():
        if place is None:
            continue
        kind = table.schema.field(place).type
        if not _is_plain(kind):
            raise UserError(
                "a column that cannot be read", where=f"{path}, column {names[place]}", found=kind, expected="one text or number a row"
            )
        if place in taken:
            raise UserError(
                f"one column for both {taken[place]} and {role}",
                where=path,
                found=f"column {place + 1} of {', '.join(names)}",
                expected="two columns",
                fix=f"name both with --{taken[place]}-column and --{role}-column",
            )
        taken[place] = role


def _is_plain(kind: pa.DataType) -> bool:
    """Return whether a Parquet column of this type has a text for each row."""
    import pyarrow as pa

    try:
        pa.array([], kind).cast(pa.string())
    except pa.ArrowNotImplementedError:
        return False
    return True


def _named(names: list[str], role: str, name: str, path: Path) -> int:
    """Return the index of the column that a user names, or numbers from 1."""
    matches = [number for number, known in enumerate(names) if known.lower() == name.lower()]
    if len(matches) > 1:
        raise UserError(
            "two columns have the same name", where=path, found=f"{name!r} in columns {', '.join(str(m + 1) for m in matches)}",
            fix=f"give its number to --{role}-column",
        )  # fmt: skip
    if matches:
        return matches[0]
    if name.isdigit() and 1 <= int(name) <= len(names):
        return int(name) - 1
    expected = f"one of these names, or a number from 1 to {len(names)}"
    raise UserError(f"no column {name!r} for the {role}", where=path, found=", ".join(names), expected=expected)
