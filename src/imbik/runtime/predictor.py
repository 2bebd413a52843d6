"""Artefact -> predictions, without PyTorch: tokenize, sort by length, batch under a token budget, run, put
back in order.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from imbik.data.batches import token_batches
from imbik.errors import UserError
from imbik.machine import physical_cores
from imbik.runtime.engines import ENGINES, Session, engine
from imbik.runtime.manifest import BATCH_TOKENS, NAME, read_artefact, read_manifest, verify
from imbik.runtime.tokenizer import RuntimeTokenizer
from imbik.tasks.outputs import Array, Collector, Outputs, places_of
from imbik.tasks.registry import task_of
from imbik.tasks.task import check_pairs

__all__ = ["Predictor", "load_artefact", "read_artefact", "token_batches", "verify"]

CHUNK = 8192
"""Texts that are tokenized and sorted at a time: memory stays flat however many there are."""


class Predictor:
    """A model that answers texts.

    Attributes:
        manifest: what the artefact folder says of itself.
        labels: label names in the order of the columns of :meth:`predict`.
        task: name of its task, :mod:`imbik.tasks`.
        pairs: whether it answers pairs of texts; None where the artefact does not say: then both are taken.
        engine: what runs it.
        max_length: texts are cut to this many tokens.
        batch_tokens: tokens of a batch, padding included.
        threads: compute threads.
        length_multiple: lengths are padded to a multiple of this, for engines that prepare every new shape.
    """

    def __init__(
        self,
        manifest: Mapping[str, Any],
        tokenizer: Tokenizer,
        session: Session,
        *,
        threads: int = 1,
        batch_tokens: int | None = None,
        length_multiple: int | None = None,
    ) -> None:
        self.manifest = manifest
        self.labels: tuple[str, ...] = tuple(manifest["labels"])
        self.task: str = manifest["task"]
        self._task = task_of(self.task)
        self.pairs: bool | None = manifest.get("pairs")
        self.engine: str = manifest["engine"]
        self.max_length = int(manifest["max_length"])
        self.batch_tokens = int(batch_tokens or manifest.get("batch_tokens") or BATCH_TOKENS)
        shapes = manifest.get("shapes") or {}
        self.length_multiple, self._shortest = int(length_multiple or shapes.get("multiple", 1)), int(shapes.get("minimum", 1))
        self.threads = threads
        self.session = session
        self._one_row = self._task.one_row
        self._types = "token_type_ids" in manifest["inputs"]
        padding = manifest["padding"]
        self._pad, self._pad_type, self._left = (
            int(padding["id"]),
            int(padding.get("type_id", 0)),
            padding.get("side") == "left",
        )
        self._tokenizer = RuntimeTokenizer(tokenizer, self.max_length, manifest.get("truncation_side", "right"))

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Any:
        """Return what the task makes of the outputs, rows in the order of the texts: probabilities ``(N, L)``; regression: the
        values, ``(N, 1)``.

        Raises:
            UserError: as :meth:`scores`.
        """
        return self._task.decode(self.scores(texts, pairs))

    def scores(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Outputs:
        """Return the model's outputs, rows in the order of the texts: logits ``(N, L)`` float32, or what the task says.

        Args:
            texts: N texts; any length, empty ones too.
            pairs: N second texts for a model of text pairs.

        Raises:
            UserError: ``texts`` is one string, an element is not a string, ``pairs`` has another length, or is
                given to a model of single texts, or is not to a model of pairs.
        """
        _check_texts(texts, pairs)
        check_pairs(self.pairs, pairs is not None)
        if len(texts) == 1 and self._one_row:
            return self._one(texts[0], None if pairs is None else pairs[0])
        out = Collector(len(texts), self._task.outputs, len(self.labels), places=self._task.places)
        for start in range(0, len(texts), CHUNK):
            stop = min(start + CHUNK, len(texts))
            ids, types, places = self._encoded(texts[start:stop], None if pairs is None else pairs[start:stop], start)
            for rows in token_batches(self._widths([len(row) for row in ids]), self.batch_tokens):
                tokens, mask, kinds = self._padded(rows, ids, types)
                there = None if places is None else [places[row] for row in rows]
                out.put(start + rows, self.session.run(tokens, mask, kinds), mask, there)
        return out.result()

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, first: int = 0) -> list[Any]:
        """``tokenizers`` encodings, cut to :attr:`max_length`; ``first`` is the row number of the first text,
        for messages.
        """
        rows: list[Any] = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        return self._tokenizer.encodings(rows, range(first, first + len(rows)))

    def _encoded(
        self, texts: Sequence[str], pairs: Sequence[str] | None, first: int
    ) -> tuple[list[list[int]], list[list[int]] | None, list[Array] | None]:
        """Return token ids, types as :meth:`_ids` has them, and the places of the tokens where the task's answers lie in the texts."""
        if not self._task.places:
            return *self._ids(texts, pairs, first), None
        rows: list[Any] = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        encodings = self._tokenizer.encodings(rows, range(first, first + len(rows)), offsets=True)
        types = [encoding.type_ids for encoding in encodings] if self._types else None
        return [encoding.ids for encoding in encodings], types, [places_of(one.sequence_ids, one.offsets) for one in encodings]

    def _ids(self, texts: Sequence[str], pairs: Sequence[str] | None, first: int) -> tuple[list[list[int]], list[list[int]] | None]:
        """Token ids, and the token types where they are not all zero."""
        if pairs is None:
            return self._tokenizer.ids(texts, first), None
        encodings = self.encode(texts, pairs, first)
        return [encoding.ids for encoding in encodings], [encoding.type_ids for encoding in encodings] if self._types else None

    def _one(self, text: str, pair: str | None) -> Outputs:
        """A single request, without the machinery of batches."""
        rows, kinds = self._ids([text], None if pair is None else [pair], 0)
        if self._widths(len(rows[0])) != len(rows[0]):
            return self.session.run(*self._padded(np.zeros(1, dtype=np.int64), rows, kinds))
        ids = np.array(rows, dtype=np.int64)
        types = None
        if self._types:
            types = np.zeros_like(ids) if kinds is None else np.array(kinds, dtype=np.int64)
        return self.session.run(ids, np.ones_like(ids), types)

    def warm_up(self) -> int:
        """Run one row of every length that single requests are padded to, so that no user waits for the engine's preparations.

        Returns:
            How many shapes were run: one for an engine that prepares none.
        """
        widths = range(self.length_multiple, self.max_length + 1, self.length_multiple) if self.length_multiple > 1 else [self.max_length]
        for width in widths:
            ids = np.full((1, max(width, self._shortest)), self._pad, dtype=np.int64)
            self.session.run(ids, np.ones_like(ids), np.zeros_like(ids) if self._types else None)
        return len(widths)

    def _widths(self, lengths: Any) -> Any:
        """What lengths are padded to, one or many: the engine's multiple and minimum, at most :attr:`max_length`."""
        if self.length_multiple == 1 and self._shortest == 1:
            return lengths
        lengths = np.maximum(lengths, self._shortest)
        rounded = -(-lengths // self.length_multiple) * self.length_multiple
        return np.where(lengths > self.max_length, lengths, np.minimum(rounded, self.max_length))

    def _padded(
        self, rows: NDArray[np.int64], ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None]:
        """``input_ids, attention_mask, token_type_ids``, each ``(B, T)``, of the chosen rows."""
        chosen = [ids[row] for row in rows]
        lengths = np.fromiter(map(len, chosen), dtype=np.int64, count=len(chosen))
        longest = int(self._widths(lengths.max()))
        position = np.arange(longest)
        keep = position >= longest - lengths[:, None] if self._left else position < lengths[:, None]
        tokens = _scatter(keep, chosen, self._pad)
        kinds = None
        if self._types:
            kinds = np.zeros_like(tokens) if types is None else _scatter(keep, [types[row] for row in rows], self._pad_type)
        return tokens, keep.astype(np.int64), kinds


def _scatter(keep: NDArray[np.bool_], rows: Sequence[Sequence[int]], fill: int) -> NDArray[np.int64]:
    out = np.full(keep.shape, fill, dtype=np.int64)
    out[keep] = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int64)
    return out


def _check_texts(texts: Sequence[str], pairs: Sequence[str] | None) -> None:
    if isinstance(texts, str):
        raise UserError("predict takes a list of texts", found="one string", fix="put it in a list: predict([text])")
    if pairs is not None and len(pairs) != len(texts):
        raise UserError(
            "texts and pairs differ in number",
            found=f"{len(texts)} texts, {len(pairs)} pairs",
            expected="one pair for each text",
        )


def load_artefact(
    path: str | Path,
    *,
    threads: int | None = None,
    batch_tokens: int | None = None,
    length_multiple: int | None = None,
    engine_name: str | None = None,
) -> Predictor:
    """Open an artefact folder, or a plain transformers checkpoint folder (which needs ``imbik[compress]``).

    Args:
        path: the folder.
        threads: compute threads; None: the physical cores.
        batch_tokens: tokens of a batch, padding included; None: what the artefact was made for.
        length_multiple: lengths are padded to a multiple of this; None: what the artefact was made for.
        engine_name: of a checkpoint folder ``pytorch`` or ``pytorch-cuda``; None: the artefact's own, or ``pytorch``.

    Raises:
        UserError: the folder is not an artefact, is incomplete, was written by another schema, or is not for the engine that is named;
            ``pytorch-cuda`` without a GPU.
        MissingExtra: its engine is not installed.
    """
    directory = Path(path)
    threads = threads or physical_cores()
    if not (directory / NAME).is_file() and (directory / "config.json").is_file():
        name = engine_name or "pytorch"
        _check_engine(name, [known for known, entry in ENGINES.items() if not entry.builds], directory)
        manifest, tokenizer, session = engine(name).open_folder(directory, threads, name)
    else:
        manifest = read_manifest(directory)
        _check_engine(engine_name or manifest["engine"], [manifest["engine"]], directory)
        task_of(manifest["task"], where=directory / NAME)
        session = engine(manifest["engine"], where=directory / NAME).load(directory, manifest, threads)
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    return Predictor(manifest, tokenizer, session, threads=threads, batch_tokens=batch_tokens, length_multiple=length_multiple)


def _check_engine(name: str, fitting: Sequence[str], directory: Path) -> None:
    if name not in fitting:
        raise UserError("the folder is not for this engine", where=directory, found=name, expected=" or ".join(fitting))
