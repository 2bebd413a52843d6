"""A corpus on disk: raw text, tokenized once into packed blocks.

A block is ``[CLS] tokens [SEP]`` of exactly ``length`` ids; documents follow one another in it with
a ``[SEP]`` between (the packing that RoBERTa calls FULL-SENTENCES, arXiv 1907.11692). No padding is
computed on, and only the blocks of a batch are read.
"""

from __future__ import annotations

import json
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imbik.data.documents import Documents
from imbik.errors import UserError
from imbik.jobs.files import write_json
from imbik.jobs.fingerprints import key_of
from imbik.jobs.progress import Progress, Silent
from imbik.jobs.reading import damage_told

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BLOCK = 128
"""Tokens of a block unless the user says otherwise."""

_CHUNK = 1 << 20
"""Characters tokenized at once."""

_COUNTED = ("blocks", "tokens", "documents", "characters")
_SAVE = 20.0
"""Seconds between two notes of how far tokenizing has come."""


@dataclass(frozen=True)
class Blocks:
    """N blocks of L tokens; what :func:`imbik.training.loop.fit` trains on.

    Attributes:
        ids: ``(M, L)`` of the whole corpus, memory-mapped.
        index: ``(N,)`` which of its blocks these are, or None for all.
        key: of all that the blocks depend on.

    >>> blocks = Blocks(np.arange(40, dtype=np.uint16).reshape(10, 4))
    >>> train, held = blocks.held_out(share=0.2)
    >>> len(train), len(held), blocks.batch(np.array([1]))["input_ids"].tolist()
    (8, 2, [[4, 5, 6, 7]])
    """

    ids: NDArray[Any]
    index: NDArray[np.int64] | None = None
    key: str = ""

    def __len__(self) -> int:
        return len(self.ids) if self.index is None else len(self.index)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of every block, ``(N,)``: one number, repeated without memory."""
        return np.broadcast_to(np.int64(self.ids.shape[1]), (len(self),))

    def batch(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Return ``input_ids`` and ``attention_mask`` of some blocks, each ``(B, L)``."""
        chosen = rows if self.index is None else self.index[rows]
        ids = np.asarray(self.ids[chosen], dtype=np.int64)
        _release(self.ids)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    def held_out(self, share: float = 0.02, most: int = 400) -> tuple[Blocks, Blocks]:
        """Split off a few blocks: up to 8 stretches of neighbors, about ``share`` of all.

        Returns these blocks without the few, and the few, evenly spread. Neighbors, because the
        next block often goes on in the same document.

        Raises:
            UserError: fewer than two blocks.

        Neighbors, because the next block often goes on in the same document.
        """
        count = min(most, max(1, round(share * len(self))))
        if len(self) < 2:
            fix = "give more text or a shorter block"
            raise UserError("too little text", where="corpus", found=f"{len(self)} block", expected="at least two", fix=fix)
        # ⌈count / 8⌉ blocks a stretch.
        size = -(-count // 8)
        stretches = max(1, count // size)
        # Evenly spread; the last stretch closes the corpus, none opens it.
        starts = np.linspace(0, len(self) - size, stretches + 1, dtype=np.int64)[1:]
        out = np.unique((starts[:, None] + np.arange(size)).ravel())
        every = np.arange(len(self)) if self.index is None else self.index
        rest = np.delete(every, out)
        return Blocks(self.ids, rest, self.key), Blocks(self.ids, every[out], self.key)

    def first(self, count: int) -> Blocks:
        """Return ``count`` blocks, evenly spread."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(count, len(self)), dtype=np.int64))
        return Blocks(self.ids, rows if self.index is None else self.index[rows], self.key)


def build_blocks(
    documents: Documents, tokenizer: PreTrainedTokenizerBase, directory: Path, *, length: int = BLOCK, progress: Progress | None = None
) -> Blocks:
    """Tokenize a corpus into blocks on disk.

    Found finished, it is only opened, and after a kill it goes on where it was.

    Args:
        documents: see :func:`imbik.data.documents.open_documents`.
        tokenizer: a fast transformers tokenizer.
        directory: gets one folder per (documents, tokenizer, length).
        length: tokens of a block.
        progress: where progress is shown.

    Returns:
        All blocks; a last one that is not full is dropped.

    Raises:
        UserError: fewer tokens than one block has, a tokenizer without the tokens that part
            documents.
    """
    ends = _special(tokenizer)
    vocabulary = tokenizer.backend_tokenizer.to_str()
    key = key_of({"documents": documents.key, "vocabulary": key_of({"": vocabulary}), "length": length})
    folder = directory / key
    if not (folder / "blocks.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _write(documents, tokenizer, folder, length, ends, progress or Silent())
    with _told(folder / "blocks.json"):
        record = json.loads((folder / "blocks.json").read_text(encoding="utf-8"))
        record = {name: int(record[name]) for name in _COUNTED} | {"dtype": str(record["dtype"])}
    if not record["blocks"]:
        raise UserError(
            "too little text",
            where=documents.source,
            found=f"{record['tokens']} tokens in {record['documents']} documents",
            expected=f"at least one block of {length} tokens",
            fix="give more text or a shorter block",
        )
    with _told(folder / "blocks.bin"):
        ids = np.memmap(folder / "blocks.bin", dtype=str(record["dtype"]), mode="r", shape=(int(record["blocks"]), length))
    return Blocks(ids, None, key)


def _special(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Return the ids that open and close a block.

    Raises:
        UserError: the tokenizer has no such tokens.
    """
    first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    last = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    if first is None or last is None:
        raise UserError("the tokenizer has no [CLS] and [SEP]", where="tokenizer", expected="an encoder's tokenizer, such as BERT's")
    return int(first), int(last)


def _write(
    documents: Documents, tokenizer: PreTrainedTokenizerBase, folder: Path, length: int, ends: tuple[int, int], progress: Progress
) -> None:
    """Tokenize the documents that are not in the folder yet, and pack them."""
    # Vocabularies of up to 65,536 pieces take two bytes a token.
    dtype = "uint16" if len(tokenizer) <= 1 << 16 else "int32"
    packer = _Packer(folder, length, ends, dtype)
    megabytes = max(1, documents.bytes >> 20)
    chunks = _chunks(documents.stream(), packer.documents)
    backend = tokenizer.backend_tokenizer
    # The folder of a tokenizer may carry both settings; here every token of a document counts.
    backend.no_padding()
    backend.no_truncation()
    characters = packer.characters
    with progress.track("tokenizing the corpus", megabytes, min(megabytes, characters >> 20)) as bar, packer:
        for texts in chunks:
            encodings = backend.encode_batch_fast(texts, add_special_tokens=False)
            before = packer.characters >> 20
            packer.add([encoding.ids for encoding in encodings], sum(map(len, texts)))
            bar.advance((packer.characters >> 20) - before)
    packer.finish()


def _chunks(stream: Iterator[str], skip: int) -> Iterator[list[str]]:
    """Gather documents into lists of about a million characters, the first ``skip`` left out."""
    documents: list[str] = []
    size = 0
    for number, document in enumerate(stream):
        if number < skip:
            continue
        documents.append(document)
        size += len(document)
        if size > _CHUNK:
            yield documents
            documents = []
            size = 0
    if documents:
        yield documents


def _told(path: Path) -> AbstractContextManager[None]:
    """Return a context in which a damaged file of the packed corpus is told."""
    return damage_told("the tokenized corpus cannot be read", path, fix=f"delete {path.parent}; it is tokenized anew then")


class _Packer:
    """Writer of ``blocks.bin`` that notes in ``progress.json`` how far it has come."""

    def __init__(self, folder: Path, length: int, ends: tuple[int, int], dtype: str) -> None:
        self.folder = folder
        self.length = length
        self.ends = ends
        self.dtype = np.dtype(dtype)
        self.blocks = self.tokens = self.documents = self.characters = 0
        self.carry: NDArray[np.int64] = np.zeros(0, np.int64)
        note = folder / "progress.json"
        if note.is_file():
            with _told(note):
                state = json.loads(note.read_text(encoding="utf-8"))
                self.carry = np.array(state["carry"], np.int64)
                for name in _COUNTED:
                    setattr(self, name, int(state[name]))
        self.saved = time.monotonic()

    def __enter__(self) -> _Packer:
        path = self.folder / "blocks.bin"
        self.file = open(path, "r+b" if path.is_file() else "w+b")
        # Off goes what a killed run wrote after its last note: it will be tokenized again.
        self.file.truncate(self.blocks * self.length * self.dtype.itemsize)
        self.file.seek(0, os.SEEK_END)
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def add(self, documents: list[list[int]], characters: int) -> None:
        """Pack some documents, each closed by the separator."""
        parts = [self.carry]
        for ids in documents:
            parts += [np.asarray(ids, np.int64), np.array([self.ends[1]])]
        stream = np.concatenate(parts)
        # Between [CLS] and the last [SEP].
        body = self.length - 2
        count = len(stream) // body
        blocks = np.empty((count, self.length), self.dtype)
        blocks[:, 0], blocks[:, -1] = self.ends
        blocks[:, 1:-1] = stream[: count * body].reshape(count, body)
        self.file.write(blocks.tobytes())
        # What does not fill a block goes on into the next one.
        self.carry = stream[count * body :]
        self.blocks += count
        self.documents += len(documents)
        self.tokens += sum(map(len, documents))
        self.characters += characters
        if time.monotonic() - self.saved > _SAVE:
            self.note("progress.json", carry=self.carry.tolist())

    def note(self, name: str, **more: str | int | list[int]) -> None:
        """Record the position, after what it speaks of is on disk."""
        if not self.file.closed:
            self.file.flush()
            os.fsync(self.file.fileno())
        state = {name: int(getattr(self, name)) for name in _COUNTED}
        write_json(self.folder / name, state | more)
        self.saved = time.monotonic()

    def finish(self) -> None:
        """Mark the blocks as complete."""
        self.note("blocks.json", dtype=self.dtype.name, length=self.length)
        (self.folder / "progress.json").unlink(missing_ok=True)


def _release(array: NDArray[Any]) -> None:
    """Hand mapped pages back.

    The kernel keeps them cached, and they do not count as this process's memory.
    """
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
