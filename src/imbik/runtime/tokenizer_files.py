"""Tokenizers on disk: which of its forms an artefact has is told by the file's name."""

from __future__ import annotations

import gzip
from pathlib import Path

from tokenizers import Tokenizer

from imbik.errors import UserError
from imbik.images.processor import ImageProcessor
from imbik.images.settings import PROCESSOR_FILE
from imbik.runtime.ngrams import NGRAMS_FILE, NgramTokenizer

PACKED = "tokenizer.json.gz"
"""``tokenizer.json`` of a student without layers, packed: a third of its bytes, and of many such models a tenth of all that is shipped."""


def read_tokenizer(path: Path) -> Tokenizer | NgramTokenizer | ImageProcessor:
    """Read the tokenizer of an artefact: ``tokenizer.json``, the same packed by gzip, or n-grams; of images their processor.

    Raises:
        UserError: the file is damaged.
    """
    if path.name == PROCESSOR_FILE:
        return ImageProcessor.read(path)
    if path.name == NGRAMS_FILE:
        return NgramTokenizer.read(path)
    try:
        if path.suffix == ".gz":
            return Tokenizer.from_buffer(gzip.decompress(path.read_bytes()))
        return Tokenizer.from_file(str(path))
    # tokenizers raises plain exceptions
    except Exception as error:
        raise UserError(
            "the tokenizer of the artefact cannot be read",
            where=path,
            found=(str(error).strip().splitlines() or [type(error).__name__])[0][:200],
            fix="copy the folder again, or export the model again",
        ) from None


def write_packed(tokenizer: Tokenizer, path: Path) -> None:
    """Write ``tokenizer.json`` packed; equal tokenizers are equal files."""
    path.write_bytes(gzip.compress(tokenizer.to_str().encode(), compresslevel=9, mtime=0))


def size_of(tokenizer: Tokenizer | NgramTokenizer | ImageProcessor) -> int:
    """Return how many ids a tokenizer gives, from 0 on."""
    if isinstance(tokenizer, ImageProcessor):
        return 0
    if isinstance(tokenizer, NgramTokenizer):
        return len(tokenizer.ngrams) + 1
    return int(tokenizer.get_vocab_size(with_added_tokens=True))


def fits(tokenizer: Tokenizer | NgramTokenizer | ImageProcessor, rows: int) -> bool:
    """Return whether a table of so many rows can be the tokenizer's: one for each n-gram; some models have rows that no piece has."""
    size = size_of(tokenizer)
    return size == rows if isinstance(tokenizer, NgramTokenizer) else size <= rows
