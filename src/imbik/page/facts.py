"""What a browser must know of a tokenizer to make the same ids; what it does with single characters is asked of itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from imbik.errors import UserError
from imbik.runtime.manifest import TOKENIZER_FILE

_APART = " zqz "  # a word that no single character between two a's can be
_PLANES = (range(0xD800), range(0xE000, 0x40000), range(0xE0000, 0xE1000), range(0xF0000, sys.maxunicode + 1))
"""Where Unicode has characters, surrogates aside."""


def tokenizer_facts(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``templates/model.mjs`` builds its tokenizer from.

    Args:
        folder: of an artefact.
        manifest: its manifest.

    Raises:
        UserError: the tokenizer is not of BERT's kind.
    """
    path = folder / TOKENIZER_FILE
    tokenizer = Tokenizer.from_file(str(path))
    state = json.loads(tokenizer.to_str())
    normal, model = state["normalizer"] or {"type": None}, state["model"]
    kinds = (normal["type"], (state["pre_tokenizer"] or {"type": None})["type"], model["type"])
    if kinds != ("BertNormalizer", "BertPreTokenizer", "WordPiece"):
        raise _other(path, " · ".join(map(str, kinds)))
    # special tokens stand in texts as they are written; other rules would each need code of their own in the browser
    added = state["added_tokens"]
    plain = [not (token["single_word"] or token["lstrip"] or token["rstrip"] or token["normalized"]) for token in added]
    if not all(plain):
        raise _other(path, f"the token {added[plain.index(False)]['content']!r}, which is sought in another way")
    before, after = _frame(path, tokenizer, state["post_processor"])
    dropped, marks = _characters(tokenizer)
    return {
        "vocabulary": model["vocab"],
        "unknown": model["vocab"][model["unk_token"]],
        "inside": model["continuing_subword_prefix"],
        "most": model["max_input_chars_per_word"],
        "special": {token["content"]: token["id"] for token in added},
        "before": before,
        "after": after,
        "length": manifest["max_length"],
        "side": manifest["truncation_side"],
        "ideographs": normal["handle_chinese_chars"],
        # None: as BERT does it, accents go where capitals go
        "decomposed": normal["lowercase"] if normal["strip_accents"] is None else normal["strip_accents"],
        "lowercase": normal["lowercase"],
        "dropped": _classes(dropped),
        "marks": _classes(marks),
    }


def _other(path: Path, found: str) -> UserError:
    expected = "WordPiece as BERT has it: BertNormalizer, BertPreTokenizer, WordPiece"
    return UserError("a page cannot read texts as this tokenizer does", where=path, found=found, expected=expected)


def _frame(path: Path, tokenizer: Tokenizer, post: Mapping[str, Any] | None) -> tuple[list[int], list[int]]:
    """Return the ids before and after a text, found around a word."""
    if post is not None and post["type"] not in ("TemplateProcessing", "BertProcessing"):
        raise _other(path, str(post["type"]))
    # cut to one token, the word would not be there
    tokenizer.no_truncation()
    tokenizer.no_padding()
    bare, whole = tokenizer.encode("a", add_special_tokens=False).ids, tokenizer.encode("a").ids
    start = next(place for place in range(len(whole)) if whole[place : place + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]


def _characters(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the numbers of the characters that are dropped, and of those that are words of their own (ideographs aside)."""
    numbers = list(chain.from_iterable(_PLANES))
    normalizer: Any = tokenizer.normalizer
    # all in one call: hundreds of thousands would take ten times as long
    normal = normalizer.normalize_str(_APART.join(f"a{chr(number)}a" for number in numbers)).split(_APART)
    dropped = [number for number, text in zip(numbers, normal, strict=True) if text == "aa"]
    cutter: Any = tokenizer.pre_tokenizer
    # white space ends words for both; only what is left can stand alone
    singles = [number for number in numbers if not chr(number).isspace()]
    words = {place[0]: word for word, place in cutter.pre_tokenize_str("".join(f"a{chr(number)}a " for number in singles))}
    # four characters each: the word that begins at the first is a lone "a" where the second stands apart
    return dropped, [number for row, number in enumerate(singles) if words[4 * row] == "a"]


def _classes(numbers: Iterable[int]) -> str:
    """Return ascending numbers as the inside of a character class of JavaScript.

    >>> _classes([97, 98, 99, 120])
    '\\\\u{61}-\\\\u{63}\\\\u{78}'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return "".join(f"\\u{{{first:x}}}" + (f"-\\u{{{last:x}}}" if last > first else "") for first, last in ranges)


__all__ = ["tokenizer_facts"]
