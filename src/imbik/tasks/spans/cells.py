"""Label cells of tagged texts: character spans, or a tag for each word, become entities."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from imbik.errors import UserError, shorten
from imbik.tasks.label_cells import LabelCells
from imbik.tasks.spans.places import begins_word
from imbik.tasks.spans.tags import OUTSIDE, Tag, entities_of, repairs, tag_of
from imbik.types import Note, TakeNote

_START = ("start", "begin", "start_offset", "start_char", "from")
_END = ("end", "stop", "end_offset", "end_char", "to")
_TYPE = ("label", "entity", "type", "tag", "slot", "entity_group", "labels")
_SPANS = 'a list of spans, [{"start": 0, "end": 5, "label": "city"}, ...], or a tag for each word, ["B-city", "O", ...]'


@dataclass(frozen=True)
class Entity:
    """A span of characters of a text with its type."""

    start: int
    end: int
    type: str


Row = tuple[Entity, ...]


def read_cells(column: LabelCells, texts: Sequence[str], say: TakeNote) -> list[Row]:
    """Return the entities of every text of a split, in order.

    Args:
        column: its cells.
        texts: the N texts; where cells are tags, their words are parted by single spaces.
        say: takes notes: how many tags were repaired, how many spans begin or end inside of a word.

    Raises:
        UserError: a cell that is no list of spans and no list of tags, a span outside of its text, spans that overlap, more or fewer
            tags than words, a tag of no known scheme.
    """
    column.check_present()
    parsed = [_items(column, code) for code in range(len(column.values))]
    codes = column.codes.tolist()
    if any(isinstance(item, dict | list) for items in parsed for item in items):
        rows = [_spans(parsed[code], text, column.place(row)) for row, (code, text) in enumerate(zip(codes, texts, strict=True))]
    else:
        rows = _from_tags(column, parsed, texts, say)
    inside = sum(_inside(entity, text) for row, text in zip(rows, texts, strict=True) for entity in row)
    if inside:
        say(Note.of("spans_inside_words", count=inside, total=sum(map(len, rows)), file=column.where(0).split(", ")[0]))
    return rows


def is_tagged(column: LabelCells) -> bool:
    """Return whether every cell is a list of tags, or all are lists of spans: what speaks for this kind of data."""
    if column.numbers is not None or not len(column.values):
        return False
    found = [_listed(value) for value in column.values]
    items = [item for row in found for item in row or ()]
    if not items or not all(row is not None for row in found):
        return False
    spans = all(isinstance(item, dict) and one_of(item, _START) is not None and one_of(item, _END) is not None for item in items)
    return spans or all(isinstance(item, str) and tag_of(item) is not None for item in items)


def _listed(value: str) -> list[Any] | None:
    """Return the items of a cell: those of a JSON list, or words between spaces; None for what is neither."""
    if not value.startswith("["):
        return None if value.startswith("{") else value.split()
    try:
        items = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return [_inner(item) for item in items]


def json_items(value: str) -> Any:
    r"""Return what a cell holds: a list or an object of JSON, with lists and objects inside of them, or the text itself.

    >>> json_items('["{\\"a\\": 1}"]'), json_items("[1")
    ([{'a': 1}], '[1')
    """
    found = _inner(value)
    return [_inner(item) for item in found] if isinstance(found, list) else found


def _inner(item: Any) -> Any:
    """Return an item, read once more where lists were written as texts in a list."""
    if not isinstance(item, str) or item[:1] not in ("{", "["):
        return item
    try:
        return json.loads(item)
    except (ValueError, RecursionError):
        return item


def _items(column: LabelCells, code: int) -> list[Any]:
    items = _listed(column.values[code])
    if items is None:
        raise UserError("neither spans nor tags", where=column.where(code), found=shorten(column.values[code]), expected=_SPANS)
    return items


def one_of(item: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the value of the first of some keys that an object has."""
    return next((item[name] for name in names if name in item), None)


# ---- spans -----------------------------------------------------------------------------------------------------------------------


def _spans(items: Sequence[Any], text: str, where: str) -> Row:
    found = sorted((_span(item, text, where) for item in items), key=lambda entity: (entity.start, entity.end))
    for before, after in pairwise(found):
        if after.start < before.end:
            raise UserError(
                "two spans overlap",
                where=where,
                found=f"{_shown(before, text)} and {_shown(after, text)}",
                expected="each character in one span at most",
                fix="keep one of the two",
            )
    return tuple(found)


def _shown(entity: Entity, text: str) -> str:
    return f"{entity.type} {entity.start}-{entity.end} {shorten(text[entity.start : entity.end])}"


def _span(item: Any, text: str, where: str) -> Entity:
    start, end, kind, stated = _fields(item)
    kind = kind[0] if isinstance(kind, list) and len(kind) == 1 else kind
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (start, end))
    if not whole or not isinstance(kind, str) or not kind:
        raise UserError("not a span", where=where, found=shorten(item), expected='{"start": 0, "end": 5, "label": "city"}, whole numbers')
    if not 0 <= start < end <= len(text):
        raise UserError(
            "a span outside of its text",
            where=where,
            found=f"{kind} {start}-{end}",
            expected=f"0 <= start < end <= {len(text)}, the characters of {shorten(text)}",
            fix="count characters from 0 (not bytes), the end is the first character behind",
        )
    if stated is not None and stated != text[start:end]:
        raise UserError(
            "the span does not hold what it states",
            where=where,
            found=f"{text[start:end]!r} at {start}-{end}",
            expected=repr(stated),
            fix="count characters from 0 (not bytes), the end is the first character behind",
        )
    # space at the ends is nobody's entity, and no model could answer with it
    inner = text[start:end].strip()
    lead = start + text[start:end].index(inner) if inner else start
    return Entity(lead, lead + len(inner) if inner else end, kind)


def _fields(item: Any) -> tuple[Any, Any, Any, str | None]:
    """Return start, end, type and, where it is stated, the text of a span."""
    if isinstance(item, list) and len(item) == 3:
        # a list inside of a list was written with every item as a text
        start, end = (int(one) if isinstance(one, str) and one.lstrip("-").isdecimal() else one for one in item[:2])
        return start, end, item[2], None
    if not isinstance(item, dict):
        return None, None, None, None
    stated = one_of(item, ("text", "word"))
    return one_of(item, _START), one_of(item, _END), one_of(item, _TYPE), stated if isinstance(stated, str) else None


def _inside(entity: Entity, text: str) -> bool:
    return not begins_word(text, entity.start) or (entity.end < len(text) and not begins_word(text, entity.end) and text[entity.end] != " ")


# ---- tags ------------------------------------------------------------------------------------------------------------------------


def _from_tags(column: LabelCells, parsed: Sequence[Sequence[Any]], texts: Sequence[str], say: TakeNote) -> list[Row]:
    bare = _bare(parsed)
    tags = [[_tag(item, column.where(code), bare=bare) for item in items] for code, items in enumerate(parsed)]
    parts = {tag.part for row in tags for tag in row}
    closes = bool(parts & set("ES"))
    if not bare and not _iob1(tags, parts):
        _note_repairs(column, tags, closes=closes, say=say)
    rows = []
    for row, (code, text) in enumerate(zip(column.codes.tolist(), texts, strict=True)):
        words = text.split(" ") if text else []
        if len(words) != len(tags[code]):
            raise UserError(
                "words and tags differ in number",
                where=column.place(row),
                found=f"{len(words)} words ({shorten(text)}), {len(tags[code])} tags",
                expected="a tag for each word; words are parted by single spaces and hold none",
                fix="name the column of words with --text, or fix the row",
            )
        rows.append(_entities(words, tags[code]))
    return rows


def _bare(parsed: Sequence[Sequence[Any]]) -> bool:
    """Return whether tags are types alone, without the letters of a scheme (``city city O``)."""
    distinct = {item for items in parsed for item in items if isinstance(item, str)}
    return OUTSIDE in distinct and not any(tag_of(item) for item in distinct - {OUTSIDE})


def _tag(item: Any, where: str, *, bare: bool) -> Tag:
    if bare and isinstance(item, str) and item:
        return Tag(OUTSIDE, "") if item == OUTSIDE else Tag("I", item)
    found = tag_of(item) if isinstance(item, str) else None
    if found is None:
        raise UserError(
            "a tag of no known scheme",
            where=where,
            found=shorten(item),
            expected="O, or B-type, I-type (BIO), E-type, S-type (BIOES), L-type, U-type (BILOU); or types alone in the whole file",
            fix="name the column of tags with --label, or fix the tag",
        )
    return found


def _iob1(tags: Sequence[Sequence[Tag]], parts: set[str]) -> bool:
    """Return whether B stands only where two entities of a type meet: IOB1, in which entities begin with I."""
    if not parts <= set("BIO"):
        return False
    pairs = Counter(
        (here.part == "B", before.part != OUTSIDE and before.type == here.type)
        for row in tags
        for before, here in zip([Tag(OUTSIDE, ""), *row], row, strict=False)
        if here.part != OUTSIDE
    )
    # not one entity begins with B after something else, and some begin with I there
    return pairs[True, False] == 0 and pairs[False, False] > 0


def _note_repairs(column: LabelCells, tags: Sequence[Sequence[Tag]], *, closes: bool, say: TakeNote) -> None:
    times = Counter(column.codes.tolist())
    broken = {code: repairs(row, closes=closes) for code, row in enumerate(tags)}
    count = sum(broken[code] * number for code, number in times.items())
    if count:
        first = next(code for code, number in broken.items() if number)
        say(Note.of("tags_repaired", count=count, scheme="BIOES" if closes else "BIO", file=column.where(first)))


def _entities(words: Sequence[str], tags: Sequence[Tag]) -> Row:
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    # the end of the last word, not the space behind it
    return tuple(Entity(starts[first], starts[last] - 1, kind) for first, last, kind in entities_of(tags))
