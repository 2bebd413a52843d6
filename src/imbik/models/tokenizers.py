"""Pruned tokenizers: a WordPiece, BPE or Unigram model rewritten with fewer pieces.

The ``tokenizers`` JSON is changed so that nothing in it contradicts. A text whose pieces are all
kept is cut exactly as before (up to the new ids):

* WordPiece takes the longest piece at each place; taking away other pieces leaves it the longest.
* BPE merges the pair of lowest rank; every kept piece keeps all merges that build it, and those
  that are left keep their order.
* Unigram takes the most probable cut; taking away other pieces leaves it the most probable.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from imbik.errors import UserError
from imbik.images.processor import ImageProcessor
from imbik.types import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Spec = dict[str, Any]
"""``json.loads(tokenizer.to_str())``."""

KINDS = ("WordPiece", "BPE", "Unigram")


def pieces_of(spec: Spec) -> dict[str, int]:
    """Return piece -> id of the model's table, without the tokens added behind it.

    Raises:
        UserError: another kind of tokenizer, or a BPE that marks the inside or the end of words.
    """
    model = spec["model"]
    kind = model.get("type")
    marked = kind == "BPE" and bool(model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"))
    if kind not in KINDS or marked:
        raise UserError(
            "the vocabulary of this tokenizer cannot be pruned",
            where="vocabulary",
            found=f"{kind} with marked word parts" if marked else str(kind),
            expected=", ".join(KINDS) + " (BPE without marks inside or at the end of words)",
            fix="leave the vocabulary as it is",
        )
    if kind == "Unigram":  # a list of (piece, log probability), the id is the place
        return {piece: index for index, (piece, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def _unknown_of(unigram: dict[str, Any]) -> set[int]:
    """Return the id of a Unigram model for what is unknown; empty where it has none."""
    given = unigram.get("unk_id")
    return set() if given is None else {int(given)}


def special_ids(spec: Spec) -> set[int]:
    """Return the ids that always stay.

    These are added tokens (padding, class, separator, mask, …) and the one for what is unknown.
    """
    model, ids = spec["model"], {int(token["id"]) for token in spec["added_tokens"]}
    if model["type"] == "Unigram":
        return ids | _unknown_of(model)
    # WordPiece and BPE name the piece for what is unknown, Unigram gives its id.
    unknown = model.get("unk_token")
    return ids | ({int(model["vocab"][unknown])} if unknown in model["vocab"] else set())


def inside_mark(spec: Spec) -> str:
    """Return what stands before a piece inside a word (``##``); empty where nothing does."""
    return spec["model"].get("continuing_subword_prefix") or ""


def characters(spec: Spec) -> dict[str, int]:
    """Return the pieces that are a single character, at the start of a word or inside.

    With them nothing is unknown that was not before.

    >>> characters({"model": {"type": "WordPiece", "vocab": {"a": 0, "##b": 1, "card": 2}, "continuing_subword_prefix": "##"}})
    {'a': 0, '##b': 1}
    """
    prefix = inside_mark(spec)
    # Byte fallback of BPE and Unigram: a character without a piece is spelled by its bytes.
    byte = {f"<0x{value:02X}>" for value in range(256)}
    # Unigram marks the start of a word in the piece: "▁a" is the character a there.
    marks = ("▁",) if spec["model"]["type"] == "Unigram" else ()
    out = {}
    for piece, index in pieces_of(spec).items():
        bare = piece.removeprefix(prefix) if prefix else piece
        bare = next((bare[len(mark) :] for mark in marks if bare.startswith(mark) and len(bare) > 1), bare)
        if len(bare) == 1 or piece in byte:
            out[piece] = index
    return out


def bytes_of(spec: Spec) -> set[str]:
    """Return the pieces that spell bytes, which any text may need.

    These are the 256 letters of byte-level BPE, or ``<0x00>`` to ``<0xFF>``.
    """
    byte_level = '"type": "ByteLevel"' in json.dumps([spec.get("pre_tokenizer"), spec.get("normalizer")])
    spelled = set(pre_tokenizers.ByteLevel.alphabet()) if byte_level else set()
    return (spelled | {f"<0x{value:02X}>" for value in range(256)}) & set(pieces_of(spec))


@dataclass(frozen=True)
class Merges:
    """How a BPE builds its pieces; for other kinds nothing is built.

    Attributes:
        vocabulary: piece -> id.
        names: id -> piece.
        ranks: rank of every merge; empty for other kinds.
    """

    vocabulary: Mapping[str, int]
    names: Mapping[int, str]
    ranks: Mapping[tuple[str, str], int]

    @classmethod
    def of(cls, spec: Spec) -> Merges:
        """Read them from a tokenizer."""
        vocabulary = pieces_of(spec)
        names = {index: piece for piece, index in vocabulary.items()}
        return cls(vocabulary, names, _ranks(spec) if spec["model"]["type"] == "BPE" else {})

    def close(self, ids: Iterable[int]) -> set[int]:
        """Return ``ids`` and the parts of every merge on the way to them."""
        kept = set(ids)
        for index in list(kept) if self.ranks else ():
            for left, right in _derivation(self.names.get(index, ""), self.ranks):
                kept |= {self.vocabulary[left], self.vocabulary[right], self.vocabulary[left + right]}
        return kept


def keep_pieces(spec: Spec, kept: Iterable[int]) -> tuple[Spec, list[int]]:
    """Return the tokenizer with the pieces ``kept`` only, and the old id of every new one.

    Args:
        spec: not changed.
        kept: closed under merges (:meth:`Merges.close`), :func:`special_ids` among them.
    """
    # In the order of the old ids, so that row i of the new table is row old[i] of the old one.
    old = sorted(set(kept))
    new_id = {before: after for after, before in enumerate(old)}
    spec = copy.deepcopy(spec)
    model = spec["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [entry for index, entry in enumerate(model["vocab"]) if index in new_id]
        if _unknown_of(model):
            model["unk_id"] = new_id[model["unk_id"]]
    else:
        names = {index: piece for piece, index in model["vocab"].items()}
        model["vocab"] = {names[before]: after for before, after in new_id.items() if before in names}
    if model["type"] == "BPE":
        ranks = _ranks(spec)
        used = {pair for piece in model["vocab"] for pair in _derivation(piece, ranks)}
        # In their old order: the place of a merge in the list is its rank.
        model["merges"] = [merge for merge in model["merges"] if _pair(merge) in used]
    spec["added_tokens"] = [{**token, "id": new_id[token["id"]]} for token in spec["added_tokens"]]
    if spec.get("post_processor"):
        spec["post_processor"] = _processor(spec["post_processor"], new_id)
    if spec.get("padding"):
        spec["padding"]["pad_id"] = new_id[spec["padding"]["pad_id"]]
    return spec, old


def _processor(processor: Mapping[str, Any], new_id: Mapping[int, int]) -> dict[str, Any]:
    """Return a post-processor with the new ids of the tokens that it adds."""
    out = dict(processor)
    if out["type"] == "Sequence":
        out["processors"] = [_processor(part, new_id) for part in out["processors"]]
    elif out["type"] == "TemplateProcessing":
        out["special_tokens"] = {
            name: {**token, "ids": [new_id[index] for index in token["ids"]]} for name, token in out["special_tokens"].items()
        }
    elif out["type"] in ("BertProcessing", "RobertaProcessing"):
        out |= {name: [out[name][0], new_id[out[name][1]]] for name in ("sep", "cls")}
    return out


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """Return the two sides of a merge.

    It is written as a list of two, in older files as two words in one string.
    """
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def _ranks(spec: Spec) -> dict[tuple[str, str], int]:
    """Return the rank of every merge: its place in the list."""
    return {_pair(merge): rank for rank, merge in enumerate(spec["model"]["merges"])}


def _derivation(piece: str, ranks: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Return the merges that build a piece from its characters, in order.

    >>> _derivation("abc", {("b", "c"): 0, ("a", "b"): 1, ("a", "bc"): 2})
    [('b', 'c'), ('a', 'bc')]
    """
    symbols = list(piece)
    done = []
    while len(symbols) > 1:
        pairs = [(ranks.get(pair, len(ranks)), place) for place, pair in enumerate(pairwise(symbols))]
        rank, place = min(pairs)
        if rank == len(ranks):  # no pair merges any more
            break
        done.append((symbols[place], symbols[place + 1]))
        # One merge at a time, the pair of lowest rank, the leftmost of equals: as BPE itself does.
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
    return done


def wrap_spec(tokenizer: PreTrainedTokenizerBase, spec: Spec) -> PreTrainedTokenizerFast:
    """Wrap a ``tokenizers`` JSON for transformers, with the settings of ``tokenizer``."""
    # Lists (additional special tokens) are left out: they stand in the JSON as added tokens.
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(spec)),
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        model_input_names=list(tokenizer.model_input_names),
        **special,
    )


def tokenizer_of(checkpoint: Checkpoint) -> Any:
    """Return an own copy of the ``tokenizers`` object behind a checkpoint's tokenizer.

    Of images it is the processor, which nobody changes.
    """
    if isinstance(checkpoint.tokenizer, ImageProcessor):
        return checkpoint.tokenizer
    return Tokenizer.from_str(checkpoint.tokenizer.backend_tokenizer.to_str())
