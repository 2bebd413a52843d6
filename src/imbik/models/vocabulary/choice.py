"""Which pieces of a vocabulary stay, from how often each occurs in a user's texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from imbik.errors import UserError
from imbik.models.tokenizers import Merges, Spec, bytes_of, characters, inside_mark, pieces_of, special_ids
from imbik.models.vocabulary.scripts import letters_of, script_of, scripts_of

Characters: TypeAlias = Literal["all", "scripts", "seen"]
"""Single characters that stay: ``all`` of the table, those of the ``scripts`` of the texts, or those ``seen`` and ASCII."""


@dataclass(frozen=True)
class Rule:
    """What stays beside special tokens.

    Attributes:
        min_count: a piece that the texts use less often is not needed.
        margin: pieces beyond those that are needed, the most frequent of the table first.
        characters: see :data:`Characters`; the characters of kept pieces stay in any case.
        most: pieces in all; None: as many as are needed.
    """

    min_count: int = 1
    margin: int = 0
    characters: Characters = "all"
    most: int | None = None


def kept_pieces(spec: Spec, counts: NDArray[np.int64], backend: Tokenizer, rule: Rule, first: int = 0) -> set[int]:
    """Return the old ids that stay.

    A text whose pieces all stay is cut as before. For BPE the parts of a piece stay with it; for Unigram the characters of a piece, and
    the piece of the lowest score, by which it rates what is unknown.

    Args:
        spec: of the tokenizer.
        counts: occurrences of each id in the texts, ``(V,)``.
        backend: the tokenizer itself.
        rule: what stays.
        first: so many ids stay whatever they are, see :func:`imbik.models.vocabulary.rows.fixed_rows`.

    Raises:
        UserError: another kind of tokenizer, or a limit that leaves no room for what must stay.
    """
    pieces, single, merges = pieces_of(spec), characters(spec), Merges.of(spec)
    names = merges.names
    alone: dict[str, set[int]] = {}
    for piece, index in single.items():
        alone.setdefault(piece[-1], set()).add(index)
    always = special_ids(spec) | set(range(min(first, len(counts)))) | _lowest(spec)
    always |= {single[piece] for piece in _chosen(spec, pieces, single, counts, rule.characters)}
    # most used first, so that a limit cuts the rarest; stable: the same pieces in every run
    used = np.flatnonzero(counts >= rule.min_count)
    order = used[np.argsort(-counts[used], kind="stable")]

    def with_parts(ids: Iterable[int]) -> set[int]:
        # what a merge is made of must stay with it, or the piece could never come about
        whole = merges.close(ids)
        letters = letters_of(names[index] for index in whole if index in names)
        return whole.union(*(alone.get(letter, ()) for letter in letters))

    base = with_parts(always)
    if rule.most is not None:
        return _at_most(base, (with_parts({int(index)}) for index in order), rule.most)
    needed = with_parts(base | set(order.tolist()))
    # single characters were decided on above: a margin is for longer pieces
    spare = (piece for piece in _frequent_first(spec) if pieces[piece] not in needed and piece not in single)
    more = islice((piece for piece in spare if _is_a_word(piece, spec, backend)), rule.margin)
    return with_parts(needed | {pieces[piece] for piece in more})


def _chosen(spec: Spec, pieces: dict[str, int], single: dict[str, int], counts: NDArray[np.int64], which: Characters) -> list[str]:
    """Return the single characters that stay."""
    whole = bytes_of(spec)
    if which == "all":
        return list(single)
    seen = letters_of(piece for piece, index in pieces.items() if counts[index])
    scripts = scripts_of(pieces, counts) | {""} if which == "scripts" else set()
    # [-1]: a mark such as ## or ▁ stands before the character
    return [p for p in single if p in whole or p[-1].isascii() or p[-1] in seen or (scripts and script_of(p[-1]) in scripts)]


def _lowest(spec: Spec) -> set[int]:
    """Return the piece whose score a Unigram tokenizer takes for what is unknown, less ten: with another one texts may be cut otherwise."""
    if spec["model"]["type"] != "Unigram":
        return set()
    return {int(np.argmin([score for _, score in spec["model"]["vocab"]]))}


def _at_most(base: set[int], additions: Iterator[set[int]], most: int) -> set[int]:
    if len(base) > most:
        raise UserError(
            "too few pieces for what must stay",
            where="--pieces",
            found=most,
            expected=f"at least {len(base)}: special tokens and single characters",
            fix="allow more, or keep fewer characters with --characters seen",
        )
    kept = set(base)
    # the first that does not fit ends it: a rarer piece never stays in the place of a more frequent one
    for addition in additions:
        if len(kept | addition) > most:
            break
        kept |= addition
    return kept


def _frequent_first(spec: Spec) -> list[str]:
    """Return the table's pieces, most frequent first: by score where it has scores, else in the order of the table."""
    pieces = pieces_of(spec)
    if spec["model"]["type"] == "Unigram":
        return [piece for piece, _ in sorted(spec["model"]["vocab"], key=lambda entry: -entry[1])]
    return sorted(pieces, key=pieces.__getitem__)


def _is_a_word(piece: str, spec: Spec, backend: Tokenizer) -> bool:
    """Return whether a text can give the piece, unlike a WordPiece entry such as ``[unused7]``."""
    inside = inside_mark(spec)
    if spec["model"]["type"] != "WordPiece" or (inside and piece.startswith(inside)):
        return True
    return bool(backend.encode(piece, add_special_tokens=False).tokens == [piece])
