"""Texts to token ids and images to pixels, once, in memory-mapped files, so that a million rows cost disk and not memory.

For tasks whose answers lie in the texts, the place of every token is kept too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imbik.data.carving.apart import each_text
from imbik.data.tokens import encoded_rows, filled, places_in
from imbik.data.windows import cut, fitting, windows_of
from imbik.images.processor import ImageProcessor
from imbik.images.settings import PIXELS
from imbik.images.store import ImageStore
from imbik.tasks.registry import task_of
from imbik.tasks.spans.places import places_of
from imbik.types import Examples

if TYPE_CHECKING:
    from tokenizers import Encoding
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

    def batch(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
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
        where: ``(tokens, 5)`` int32, memory-mapped: where every token stands, :func:`imbik.tasks.spans.places.places_of`; None unless
            asked for.
        owners: the text of each row, ``(N,)`` ascending, where rows are windows of texts; None: every text is one row.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int8] | None
    offsets: NDArray[np.int64]
    truncated: int
    padding: int
    where: NDArray[np.int32] | None = None
    owners: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every row, ``(N,)``."""
        return np.diff(self.offsets)

    def places(self, row: int) -> NDArray[np.int32]:
        """Return where the tokens of a row stand, ``(T, 5)``; see :func:`imbik.tasks.spans.places.places_of`."""
        assert self.where is not None, "encode(..., places=True) keeps the places of tokens"
        return self.where[self.offsets[row] : self.offsets[row + 1]]

    def row(self, row: int) -> list[int]:
        """Return the ids of a row."""
        found: list[int] = self.ids[self.offsets[row] : self.offsets[row + 1]].tolist()
        return found

    def take(self, rows: NDArray[np.int64]) -> Encoded:
        """Return a copy of some rows, in that order; each is a text of its own."""
        spans = [slice(int(self.offsets[row]), int(self.offsets[row + 1])) for row in rows]

        def chosen(array: NDArray[Any] | None) -> Any:
            return None if array is None else np.concatenate([array[span] for span in spans])

        offsets = np.concatenate([[0], np.cumsum(self.lengths[rows])]).astype(np.int64)
        return Encoded(chosen(self.ids), chosen(self.types), offsets, 0, self.padding, chosen(self.where))

    def pieces(self) -> NDArray[np.int64]:
        """Return the sorted distinct ids that occur in batches: those of the texts, and the one that fills short rows."""
        seen: NDArray[np.int64] = np.array([self.padding], dtype=np.int64)
        for start in range(0, len(self.ids), 1 << 22):
            seen = np.union1d(seen, self.ids[start : start + (1 << 22)])
        return seen

    def batch(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
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


@dataclass(frozen=True)
class Pixels(Encoded):
    """N images as a network reads them. A row counts as many tokens as its processor says, none of which has an id.

    Attributes:
        images: the images.
        processor: prepares them.
        levels: ``(N, H, W, C)`` uint8, memory-mapped; None: there are too many, and each batch prepares its own.
    """

    images: Sequence[Any] = ()
    processor: ImageProcessor | None = None
    levels: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, examples: Examples, processor: ImageProcessor) -> Pixels:
        """Prepare the images of some rows; those that were prepared lately are found again."""
        images = examples.texts
        key = (images.digest(), processor.to_str()) if isinstance(images, ImageStore) else None
        if key is not None and key in _PREPARED:
            return _PREPARED[key]
        made = cls._of(images, processor, _levels(images, processor))
        if key is not None:
            _PREPARED[key] = made
            while len(_PREPARED) > _KEPT:
                _PREPARED.pop(next(iter(_PREPARED)))
        return made

    @classmethod
    def _of(cls, images: Sequence[Any], processor: ImageProcessor, levels: NDArray[np.uint8] | None) -> Pixels:
        offsets = np.arange(len(images) + 1, dtype=np.int64) * processor.model_max_length
        return cls(np.zeros(0, np.int32), None, offsets, 0, 0, images=images, processor=processor, levels=levels)

    def take(self, rows: NDArray[np.int64]) -> Pixels:
        """Return some rows, in that order."""
        assert self.processor is not None
        # a copy: some rows of a map are no map
        levels = None if self.levels is None else self.levels[rows]
        return self._of([self.images[int(row)] for row in rows], self.processor, levels)

    def row(self, row: int) -> list[int]:
        """Return the gray levels of a row, one behind the other."""
        found: list[int] = self._levels(np.array([row])).reshape(-1).tolist()
        return found

    def pieces(self) -> NDArray[np.int64]:
        """Return no ids: there is no table of pieces."""
        return np.zeros(0, np.int64)

    def batch(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return ``pixel_values`` ``(B, C, H, W)`` float32."""
        assert self.processor is not None
        return {PIXELS: self.processor.values(self._levels(rows))}

    def _levels(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self.levels is not None:
            return np.asarray(self.levels[rows])
        assert self.processor is not None
        return np.stack([self.processor.pixels(self.images[int(row)]) for row in rows])


_KEPT = 8  # prepared columns that are kept: train, dev and test of a teacher's size and of a student's
_MOST = 16 << 30  # bytes of disk that one of them may take
_PREPARED: dict[tuple[bytes, str], Pixels] = {}


def _levels(images: Sequence[Any], processor: ImageProcessor) -> NDArray[np.uint8] | None:
    """Return the gray levels of all images in a memory-mapped temporary file, ``(N, H, W, C)``; None where that is too large."""
    shape = (len(images), processor.height, processor.width, processor.channels)
    if not len(images) or int(np.prod(shape)) > _MOST:
        return np.zeros(shape, np.uint8) if not len(images) else None
    with tempfile.TemporaryFile() as file:
        for row in range(len(images)):
            file.write(processor.pixels(images[row], f"row {row + 1}").tobytes())
        file.flush()
        return np.memmap(file, dtype=np.uint8, mode="r", shape=shape)


def encode(examples: Examples, tokenizer: PreTrainedTokenizerFast, *, places: bool = False, overlap: float = 0.0) -> Encoded:
    """Tokenize every row once, cut to ``tokenizer.model_max_length`` where the tokenizer cuts (pairs: the longer text first).

    Args:
        examples: N rows.
        tokenizer: a fast transformers tokenizer.
        places: keep where every token stands in its text (:attr:`imbik.tasks.task.Task.places`).
        overlap: above 0, a long text becomes several rows instead of being cut (:attr:`imbik.tasks.task.Task.overlap`).
    """
    use_types = "token_type_ids" in tokenizer.model_input_names
    lengths, owners = [np.zeros(1, np.int64)], [np.zeros(0, np.int64)]
    truncated, padding = 0, int(tokenizer.pad_token_id or 0)
    with tempfile.TemporaryFile() as ids_file, tempfile.TemporaryFile() as types_file, tempfile.TemporaryFile() as places_file:
        for start, texts, encodings in _chunks(examples, tokenizer, overlap, places=places):
            parts = windows_of(encodings) if overlap else [(row, 0, encoding) for row, encoding in enumerate(encodings)]
            truncated += 0 if overlap else sum(bool(encoding.overflowing) for encoding in encodings)
            lengths.append(np.array([max(len(one.ids), 1) for _, _, one in parts], np.int64))
            owners.append(np.array([start + row for row, _, _ in parts], np.int64))
            ids_file.write(np.concatenate([np.asarray(filled(one.ids, padding), dtype=np.int32) for _, _, one in parts]).tobytes())
            if use_types:
                types_file.write(np.concatenate([np.asarray(filled(one.type_ids, 0), dtype=np.int8) for _, _, one in parts]).tobytes())
            if places:
                where = [places_of(*places_in(one), texts[row], window) for row, window, one in parts]
                places_file.write(np.concatenate(where).tobytes())
        for file in (ids_file, types_file, places_file):
            file.flush()
        offsets = np.cumsum(np.concatenate(lengths))
        # the map keeps an unlinked temporary file alive and gives its disk space back when it goes;
        # an empty file cannot be mapped
        ids = np.memmap(ids_file, dtype=np.int32, mode="r") if offsets[-1] else np.zeros(0, dtype=np.int32)
        types = np.memmap(types_file, dtype=np.int8, mode="r") if use_types and offsets[-1] else None
        stands = None
        if places:
            stands = np.memmap(places_file, dtype=np.int32, mode="r").reshape(-1, 5) if offsets[-1] else np.zeros((0, 5), dtype=np.int32)
    whose = np.concatenate(owners) if overlap else None
    return Encoded(ids, types, offsets, truncated, padding, stands, whose)


def encode_for(task: str, examples: Examples, tokenizer: PreTrainedTokenizerFast | ImageProcessor) -> Encoded:
    """Encode every row once, with what a task needs of it: tokens, see :func:`encode`, or pixels.

    Of a task whose models read the two texts of a row apart, each is a row of its own, whose owner is the row in the data.
    """
    kind = task_of(task)
    if isinstance(tokenizer, ImageProcessor):
        return Pixels.of(examples, tokenizer)
    if kind.apart and examples.pairs is not None:
        owners = np.repeat(np.arange(len(examples), dtype=np.int64), 2)
        return replace(encode(each_text(examples), tokenizer), owners=owners)
    return encode(examples, tokenizer, places=kind.places, overlap=kind.overlap)


def _chunks(
    examples: Examples, tokenizer: PreTrainedTokenizerFast, overlap: float, *, places: bool
) -> Iterator[tuple[int, list[tuple[str, ...]], list[Encoding]]]:
    backend, length, side = tokenizer.backend_tokenizer, int(tokenizer.model_max_length), tokenizer.truncation_side
    # tokenizer.json may ask for padding or another length, and earlier calls leave theirs behind
    cut(backend, length, side, overlap, paired=examples.pairs is not None)
    kept = None if overlap else length  # windows keep all of a text
    for start in range(0, len(examples.texts), _CHUNK):
        stop = min(start + _CHUNK, len(examples.texts))
        texts = list(examples.texts[start:stop])
        columns = [texts] if examples.pairs is None else [texts, list(examples.pairs[start:stop])]
        rows: list[tuple[str, ...]] = list(zip(*columns, strict=True))
        if overlap and examples.pairs is not None:
            rows = fitting(backend, rows, length)
        asked: list[Any] = list(texts) if examples.pairs is None else list(rows)
        yield start, rows, encoded_rows(backend, asked, range(start, stop), kept, side, offsets=places)
