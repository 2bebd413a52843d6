"""``nanotoken``, a WordPiece tokenizer in Rust, in the place of the memory for words: an extra, checked when it is loaded."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence

from tokenizers import Tokenizer

_log = logging.getLogger(__name__)

Ids = list[list[int]]

_PROBES = (
    "Where is my card? It's 3 weeks late; I don't know...",
    "",
    "  two  spaces, a\ttab and\na line ",
    "IŞIK ışık Kartım nerede İLK GÜN",
    "cafe\u0301 café naïve Ångström Straße",
    "我的卡在哪里 のカード 카드",
    "[CLS] a [SEP] [PAD] [UNK] [MASK] [cls]",
    "x" * 300,
    "don't—stop… “quoted” £5.00 50% #1 a_b http://a.b/c?d=e&f=g",
    "\u200bzero\u00adwidth\ufeff \u00a0 no-break \x00\x07 control",
    "🙂🙃 👩‍👩‍👧 é́́ ﬁ ½ ²",
    "Привет, где моя карта? بطاقة כרטיס हिन्दी ไทย",
)
"""Texts on which both must give the same ids, alone and together, before the faster one is used."""


def encoder(tokenizer: Tokenizer, max_length: int, behind: int) -> Callable[[Sequence[str]], Ids] | None:
    """Return what turns texts into ids as a tokenizer does, in a fraction of the time; None where ``nanotoken`` is not installed, or
    does not give the same ids: then a warning says so, and the tokenizer itself is used.

    Args:
        tokenizer: cuts texts to ``max_length`` on the right, does not pad.
        max_length: tokens of a text, special ones included.
        behind: how many special ones stand behind a text; they are kept when it is cut.
    """
    if importlib.util.find_spec("nanotoken") is None:
        return None
    try:
        import nanotoken

        fast = nanotoken.Tokenizer(tokenizer)

        def encode(texts: Sequence[str]) -> Ids:
            if len(texts) == 1:
                return [_cut(fast.encode(texts[0]).tolist(), max_length, behind)]
            # on this thread: how many there are is the user's to say
            return [_cut(row, max_length, behind) for row in fast.encode_batch(list(texts), parallel=False).to_list()]

        wanted = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(_PROBES))]
        same = encode(_PROBES) == wanted and all(encode([text]) == [ids] for text, ids in zip(_PROBES, wanted, strict=True))
    # a package at its beginning may fail in any way, and the tokenizer is there
    except Exception as error:
        _log.warning("nanotoken is not used: %s: %s", type(error).__name__, error)
        return None
    if not same:
        _log.warning("nanotoken is not used: it gives other ids than the artefact's tokenizer")
        return None
    return encode


def _cut(ids: list[int], max_length: int, behind: int) -> list[int]:
    """Return the ids of a text cut as a tokenizer cuts: special ones stay.

    >>> _cut([101, 7, 8, 9, 102], 4, 1)
    [101, 7, 8, 102]
    """
    return ids if len(ids) <= max_length else ids[: max_length - behind] + ids[len(ids) - behind :]
