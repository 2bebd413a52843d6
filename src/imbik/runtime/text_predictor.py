"""Texts -> predictions, without PyTorch: tokenize, sort by length, batch under a token budget, run, put back in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from imbik.data.batches import scattered, token_batches
from imbik.data.carving.apart import in_turn
from imbik.data.tokens import filled, places_in
from imbik.data.windows import windows_of
from imbik.runtime.engines.engine import Ids, Session
from imbik.runtime.given import both, cannot_answer, check_settings, checked, not_of_labels, paired
from imbik.runtime.manifest import BATCH_TOKENS, complete
from imbik.runtime.ngrams import NgramTokenizer
from imbik.runtime.sending import Sendable
from imbik.runtime.tokenizer import RuntimeTokenizer, reader_of
from imbik.tasks.answers.asking import check_pairs
from imbik.tasks.outputs import Collector, Outputs, beside, chained, joined, with_decision
from imbik.tasks.registry import task_of
from imbik.tasks.spans.places import places_of
from imbik.tasks.task import Asked

CHUNK = 8192
"""Texts that are tokenized and sorted at a time: memory stays flat however many there are."""


class Predictor(Sendable):
    """A model that answers texts. Several threads may ask it at once; sent to another process it is opened again.

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
        tokenizer: Tokenizer | NgramTokenizer,
        session: Session,
        *,
        threads: int = 1,
        batch_tokens: int | None = None,
        length_multiple: int | None = None,
    ) -> None:
        check_settings(threads=threads, batch_tokens=batch_tokens, length_multiple=length_multiple)
        manifest = complete(manifest)
        self.manifest: Mapping[str, Any] = manifest
        self.labels: tuple[str, ...] = tuple(manifest["labels"])
        self.task: str = manifest["task"]
        self._task = task_of(self.task)
        self.pairs: bool | None = manifest["pairs"]
        self.engine: str = manifest["engine"]
        self.max_length = int(manifest["max_length"])
        self.batch_tokens = int(batch_tokens or manifest["batch_tokens"] or BATCH_TOKENS)
        self.length_multiple = int(length_multiple or manifest["shapes"]["multiple"])
        self._shortest = int(manifest["shapes"]["minimum"])
        self._pads = self.length_multiple > 1 or self._shortest > 1
        self.threads = threads
        self.session = session
        self._one_row, self._row = self._task.one_row, (1, len(self.labels))
        self._types = "token_type_ids" in manifest["inputs"]
        padding = manifest["padding"]
        self._pad = int(padding["id"])
        self._pad_type = int(padding["type_id"])
        self._left = padding["side"] == "left"
        self._tokenizer = self._reader(tokenizer, manifest)

    def _reader(self, tokenizer: Any, manifest: Mapping[str, Any]) -> Any:
        """Return what turns texts into tokens, as this model reads them."""
        paired = bool(self._task.pairs or self.pairs)
        return reader_of(tokenizer, self.max_length, manifest["truncation_side"], self._task.overlap, paired=paired)

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Any:
        """Return what the task makes of the outputs, a row a text: probabilities ``(N, L)``, values ``(N, 1)``, vectors ``(N, D)``.

        Raises:
            UserError: as :meth:`scores`.
        """
        texts, pairs = self._checked_rows(texts, pairs)
        return self._task.decode(self._scores(texts, pairs), Asked(self.labels, texts, pairs))

    def scores(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Outputs:
        """Return the model's outputs, rows in the order of the texts: logits ``(N, L)``, or what the task says.

        Args:
            texts: N texts; any length, empty ones too.
            pairs: N second texts for a model of text pairs.

        Raises:
            UserError: ``texts`` is one string, a table or has no order, an element is not a string, ``pairs`` has another length, or
                is given to a model of single texts, or is not to a model of pairs; the model does not fit its labels.
        """
        return self._scores(*self._checked_rows(texts, pairs))

    def _checked_rows(self, texts: Any, pairs: Any) -> tuple[Sequence[Any], Sequence[Any] | None]:
        return checked(texts, pairs)

    def _scores(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Outputs:
        """Return the outputs of texts and pairs that are sequences of one length."""
        if self._task.apart and pairs is not None:
            return beside(self._scores(list(in_turn(texts, pairs)), None))
        check_pairs(self.pairs, pairs is not None)
        if len(texts) == 1 and self._one_row:
            return self._one([texts[0]], None if pairs is None else [pairs[0]])
        if self._task.places:
            starts = range(0, max(len(texts), 1), CHUNK)
            parts = [self._placed(texts[i : i + CHUNK], None if pairs is None else pairs[i : i + CHUNK], i) for i in starts]
            return with_decision(chained(parts), self.manifest["decision"])
        out = Collector(len(texts), self._task.outputs, len(self.labels))
        for start in range(0, len(texts), CHUNK):
            stop = min(start + CHUNK, len(texts))
            ids, types = self._ids(texts[start:stop], None if pairs is None else pairs[start:stop], start)
            for rows in token_batches(self._widths([len(row) for row in ids]), self.batch_tokens):
                tokens, mask, kinds = self._padded(rows, ids, types)
                out.put(start + rows, self._run(tokens, mask, kinds), mask)
        return out.result()

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, first: int = 0) -> list[Any]:
        """``tokenizers`` encodings, cut to :attr:`max_length`, or all windows; ``first``: number of the first row, for messages."""
        if self._task.apart and pairs is not None:
            texts, pairs = list(in_turn(texts, pairs)), None
        rows = self._rows(texts, pairs, first)
        encodings = self._tokenizer.encodings(rows, range(first, first + len(rows)))
        return [window for _, _, window in windows_of(encodings)] if self._task.overlap else encodings

    def lengths(self, texts: Sequence[Any], pairs: Sequence[Any] | None = None) -> list[int]:
        """Return the tokens of each encoding that :meth:`encode` gives."""
        return [len(one.ids) for one in self.encode(texts, pairs)]

    def remembered(self) -> Mapping[str, Any]:
        """Return a copy of the memory for words (:mod:`imbik.runtime.tokenizer`)."""
        words: Mapping[str, Any] = self._tokenizer.remembered()
        return words

    def remember(self, words: Mapping[str, Any]) -> None:
        """Put what :meth:`remembered` gave in the place of the memory; an empty one is that of a process that has seen no text yet."""
        self._tokenizer.remember(words)

    def read(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> None:
        """Remember the words of some texts as :meth:`predict` does, without asking the model."""
        # pairs, and texts whose tokens are placed in them, go through the tokenizer as a whole
        if pairs is None and not self._task.places:
            for start in range(0, len(texts), CHUNK):
                self._tokenizer.ids(texts[start : start + CHUNK], start)

    def _rows(self, texts: Sequence[str], pairs: Sequence[str] | None, first: int) -> list[Any]:
        """Return texts, or pairs of texts, as the tokenizer takes them."""
        if pairs is None:
            return list(texts)
        rows = paired(texts, pairs, first)
        if self._task.overlap and isinstance(self._tokenizer, RuntimeTokenizer):
            return list(self._tokenizer.fitting(rows))
        return rows

    def _placed(self, texts: Sequence[str], pairs: Sequence[str] | None, first: int) -> Outputs:
        """Return the outputs of some texts of a task whose answers lie in them, with the places of their tokens."""
        rows = self._rows(texts, pairs, first)
        encodings = self._tokenizer.encodings(rows, range(first, first + len(rows)), offsets=True)
        windows = windows_of(encodings) if self._task.overlap else [(row, 0, encoding) for row, encoding in enumerate(encodings)]
        ids = [filled(one.ids, self._pad) for _, _, one in windows]
        types = [filled(one.type_ids, 0) for _, _, one in windows] if self._types else None
        out = Collector(len(windows), self._task.outputs, len(self.labels), places=True)
        for batch in token_batches(self._widths([len(row) for row in ids]), self.batch_tokens):
            tokens, mask, kinds = self._padded(batch, ids, types)
            there = [places_of(*places_in(one), both(rows[row]), window) for row, window, one in map(windows.__getitem__, batch)]
            out.put(batch, self._run(tokens, mask, kinds), mask, there)
        return joined(out.result(), np.array([row for row, _, _ in windows], np.int64), len(texts)) if windows else out.result()

    def _ids(self, texts: Sequence[str], pairs: Sequence[str] | None, first: int) -> tuple[list[list[int]], list[list[int]] | None]:
        """Token ids, and the token types where they are not all zero."""
        if pairs is None:
            return [filled(ids, self._pad) for ids in self._tokenizer.ids(texts, first)], None
        encodings = self.encode(texts, pairs, first)
        types = [filled(encoding.type_ids, 0) for encoding in encodings] if self._types else None
        return [filled(encoding.ids, self._pad) for encoding in encodings], types

    def _one(self, text: list[str], pair: list[str] | None) -> Outputs:
        """A single request, without the machinery of batches."""
        rows, types = self._ids(text, pair, 0)
        ids, kinds = rows[0], None if types is None else types[0]
        if self._pads and self._widths(len(ids)) != len(ids):
            return self._run(*self._padded(np.zeros(1, dtype=np.int64), [ids], None if kinds is None else [kinds]))
        try:
            outputs = self.session.run_one(ids, kinds)
        except Exception as error:
            raise cannot_answer(self.engine, error) from error
        usual = isinstance(outputs, np.ndarray) and outputs.shape == self._row
        return outputs if usual else self._checked(outputs, (1, len(ids)))

    def _run(self, ids: Ids, mask: Ids, types: Ids | None) -> Outputs:
        """Ask the session for the outputs of a batch."""
        try:
            outputs = self.session.run(ids, mask, types)
        except Exception as error:
            raise cannot_answer(self.engine, error) from error
        return self._checked(outputs, ids.shape)

    def _checked(self, outputs: Outputs, asked: tuple[int, ...]) -> Outputs:
        """Return the outputs of ids of a shape; where there are logits a text or a token, they must have a column for each label."""
        kind = self._task.outputs[0]
        shape = (asked[0], *(asked[1:] if kind.per_token else ()), len(self.labels))
        if kind.labels and not isinstance(outputs, Mapping) and outputs.shape != shape:
            raise not_of_labels(outputs.shape[1:], len(self.labels))
        return outputs

    def warm_up(self) -> int:
        """Run one row of every length that single requests are padded to, so that no user waits for the engine's preparations.

        Returns:
            How many shapes were run: one for an engine that prepares none.
        """
        step = self.length_multiple
        widths = range(step, self.max_length + 1, step) if step > 1 else [self.max_length]
        for width in widths:
            ids = np.full((1, max(width, self._shortest)), self._pad, dtype=np.int64)
            self.session.run(ids, np.ones_like(ids), np.zeros_like(ids) if self._types else None)
        return len(widths)

    def _widths(self, lengths: Any) -> Any:
        """What lengths are padded to, one or many: the engine's multiple and minimum, at most :attr:`max_length`."""
        if not self._pads:
            return lengths
        lengths = np.maximum(lengths, self._shortest)
        rounded = -(-lengths // self.length_multiple) * self.length_multiple  # up
        # longer ones are left as they are: to cut is the tokenizer's business
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
        tokens = scattered(keep, chosen, self._pad)
        kinds = None
        if self._types:
            kinds = np.zeros_like(tokens) if types is None else scattered(keep, [types[row] for row in rows], self._pad_type)
        return tokens, keep.astype(np.int64), kinds
