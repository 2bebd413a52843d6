"""Texts to token ids, once: a flat memory-mapped array of ids, so that a million rows cost disk and not memory.

For tasks whose answers lie in the texts, the place of every token is kept too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.outputs import places_of
from imbik.tasks.registry import task_of
from imbik.types import Examples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# rows that are tokenized at once: enough for all threads of the tokenizer, few enough for memory
_CHUNK = 4096


class Rows(Protocol):
    """Token ids of N rows, wherever they live: what the training loop asks of its data."""

    def __len__(self) -> int:
        """N."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every row, ``(N,)``."""

    def batch(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Some rows, padded: ``input_ids``, ``attention_mask`` (and ``token_type_ids``), each ``(B, T)``."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of N rows.

    Attributes:
        ids: all ids one after the other, int32, memory-mapped.
        types: token type (segment) of every id, int8, memory-mapped; None when the tokenizer has no segments.
        offsets: ``(N + 1,)`` int64; row i is ``ids[offsets[i]:offsets[i + 1]]``.
        truncated: how many rows were cut to the maximum length.
        padding: id that fills short rows.
        where: ``(tokens, 3)`` int32, memory-mapped: where every token stands, :func:`imbik.tasks.outputs.places_of`; None unless asked for.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int8] | None
    offsets: NDArray[np.int64]
    truncated: int
    padding: int
    where: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every row, ``(N,)``."""
        return np.diff(self.offsets)

    def places(self, row: int) -> NDArray[np.int32]:
        """Return where the tokens of a row stand, ``(T, 3)``; see :func:`imbik.tasks.outputs.places_of`."""
        assert self.where is not None, "encode(..., places=True) keeps the places of tokens"
        return self.where[self.offsets[row] : self.offsets[row + 1]]

    def pieces(self) -> NDArray[np.int64]:
        """Return the sorted distinct ids that occur in batches: those of the texts, and the one that fills short rows."""
        seen: NDArray[np.int64] = np.array([self.padding], dtype=np.int64)
        for start in range(0, len(self.ids), 1 << 22):
            seen = np.union1d(seen, self.ids[start : start + (1 << 22)])
        return seen

    def batch(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Return rows padded on the right to the longest: ``input_ids``, ``attention_mask`` (and ``token_type_ids``), each ``(B, T)``."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        width = int(lengths.max())
        # (B, T)
        mask = np.arange(width)[None, :] < lengths[:, None]
        # (tokens,): the place of every real token in the flat array, row after row as the mask
        # reads them
        where = (self.offsets[rows][:, None] + np.arange(width)[None, :])[mask]
        ids = np.full((len(rows), width), self.padding, dtype=np.int64)
        ids[mask] = self.ids[where]
        out = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        if self.types is not None:
            types = np.zeros((len(rows), width), dtype=np.int64)
            types[mask] = self.types[where]
            out["token_type_ids"] = types
        return out


def encode(examples: Examples, tokenizer: PreTrainedTokenizerFast, *, places: bool = False) -> Encoded:
    """Tokenize every row once, cut to ``tokenizer.model_max_length`` (pairs: the longer text first).

    Args:
        examples: N rows.
        tokenizer: a fast transformers tokenizer.
        places: keep where every token stands in its text (:attr:`imbik.tasks.task.Task.places`).
    """
    count = len(examples.texts)
    offsets = np.zeros(count + 1, dtype=np.int64)
    use_types = "token_type_ids" in tokenizer.model_input_names
    truncated = 0
    with tempfile.TemporaryFile() as ids_file, tempfile.TemporaryFile() as types_file, tempfile.TemporaryFile() as places_file:
        for start, encodings in _chunks(examples, tokenizer):
            for position, encoding in enumerate(encodings, start):
                offsets[position + 1] = offsets[position] + len(encoding.ids)
                truncated += bool(encoding.overflowing)
            ids_file.write(np.concatenate([np.asarray(e.ids, dtype=np.int32) for e in encodings]).tobytes())
            if use_types:
                types_file.write(np.concatenate([np.asarray(e.type_ids, dtype=np.int8) for e in encodings]).tobytes())
            if places:
                where = [places_of(encoding.sequence_ids, encoding.offsets) for encoding in encodings]
                places_file.write(np.concatenate(where).tobytes())
        for file in (ids_file, types_file, places_file):
            file.flush()
        # the map keeps an unlinked temporary file alive and gives its disk space back when it goes;
        # an empty file cannot be mapped
        ids = np.memmap(ids_file, dtype=np.int32, mode="r") if offsets[-1] else np.zeros(0, dtype=np.int32)
        types = np.memmap(types_file, dtype=np.int8, mode="r") if use_types and offsets[-1] else None
        stands = None
        if places:
            stands = np.memmap(places_file, dtype=np.int32, mode="r").reshape(-1, 3) if offsets[-1] else np.zeros((0, 3), dtype=np.int32)
    return Encoded(ids, types, offsets, truncated, int(tokenizer.pad_token_id or 0), stands)


def encode_for(task: str, examples: Examples, tokenizer: PreTrainedTokenizerFast) -> Encoded:
    """Tokenize every row once, with what a task needs of the tokens; see :func:`encode`."""
    return encode(examples, tokenizer, places=task_of(task).places)


def _chunks(examples: Examples, tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[int, list[Any]]]:
    backend = tokenizer.backend_tokenizer
    # tokenizer.json may ask for padding or another length, and earlier calls leave theirs behind
    backend.no_padding()
    backend.enable_truncation(int(tokenizer.model_max_length), strategy="longest_first")
    for start in range(0, len(examples.texts), _CHUNK):
        stop = min(start + _CHUNK, len(examples.texts))
        texts = list(examples.texts[start:stop])
        rows = texts if examples.pairs is None else list(zip(texts, examples.pairs[start:stop], strict=True))
        yield start, backend.encode_batch(rows)
