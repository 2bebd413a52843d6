"""Words that may stand for a word, by a masked language model or by word vectors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from imbik.data.batches import token_batches
from imbik.data.windows import cut
from imbik.errors import UserError
from imbik.models.checkpoint import fingerprint
from imbik.models.pretrained import load_masked_lm
from imbik.pretraining.masking import masked_output
from imbik.training.precision import precision
from imbik.types import Checkpoint

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Span = tuple[int, int]


class MaskedWords:
    """Candidates from a masked language model.

    The word's piece is masked, the K most probable whole words are taken.

    Args:
        model: a transformers model with a masked-language-model head.
        tokenizer: its fast tokenizer.
        count: K.
        key: of the model, for caches.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int, key: str) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.count = count
        self.key = key
        words = _whole_words(tokenizer)
        self.words = words
        self.banned = torch.tensor([word is None for word in words])

    def candidates(self, texts: list[str], spans: list[list[Span]]) -> list[list[list[str] | None]]:
        """Return K words for each word of each text.

        None where the word is not exactly one piece.
        """
        backend = self.tokenizer.backend_tokenizer
        cut(backend, int(self.tokenizer.model_max_length), self.tokenizer.truncation_side, 0.0, paired=False)
        encodings = backend.encode_batch(texts)
        where = [(row, number, at) for row, here in enumerate(spans) for number, at in _single(encodings[row], here)]
        out: list[list[list[str] | None]] = [[None] * len(here) for here in spans]
        lengths = np.array([len(encodings[row].ids) for row, _, _ in where], dtype=np.int64)
        for batch in token_batches(lengths, 4096):
            chosen = [where[i] for i in batch]
            for (row, number, at), words in zip(chosen, self._fill([(encodings[r].ids, at) for r, _, at in chosen]), strict=True):
                own = self.words[encodings[row].ids[at]]
                out[row][number] = [word for word in words if word != own][: self.count]
        return out

    @torch.inference_mode()
    def _fill(self, masked: list[tuple[list[int], int]]) -> list[list[str]]:
        """Return the most probable whole words at one masked place of each row."""
        width = max(len(ids) for ids, _ in masked)
        batch = torch.full((len(masked), width), int(self.tokenizer.pad_token_id or 0))
        mask = torch.zeros_like(batch)
        for row, (ids, at) in enumerate(masked):
            batch[row, : len(ids)], mask[row, : len(ids)] = torch.tensor(ids), 1
            batch[row, at] = int(self.tokenizer.mask_token_id)
        with precision(batch.device):
            where = torch.zeros_like(mask, dtype=torch.bool)
            where[torch.arange(len(masked)), torch.tensor([at for _, at in masked])] = True
            # One place a row: (B, T) -> (B, V).
            logits = masked_output(self.model, {"input_ids": batch, "attention_mask": mask}, where).logits
        # (M, V); the table may have more rows than the tokenizer has pieces.
        rows = logits.float()[:, : len(self.words)]
        # one more than K: the word itself is nearly always among them and is taken out
        best = rows.masked_fill(self.banned[: rows.shape[1]], -torch.inf).topk(self.count + 1, dim=-1).indices
        return [[str(self.words[i]) for i in row] for row in best.tolist()]


class VectorWords:
    """Candidates by the cosine of word vectors.

    Args:
        words: W words, lower case.
        vectors: ``(W, D)`` their vectors.
        count: K.
        key: of the vectors, for caches.
        of: gives the vector of a word that is not among ``words``, or None.
    """

    def __init__(
        self,
        words: list[str],
        vectors: NDArray[np.float32],
        count: int,
        key: str,
        of: Callable[[str], NDArray[np.float32] | None] | None = None,
    ) -> None:
        self.words = words
        self.count = count
        self.key = key
        self.of = of
        self.index = {word: row for row, word in enumerate(words)}
        self.unit = _unit(vectors)
        self.nearest: dict[str, list[str]] = {}

    def candidates(self, word: str) -> list[str]:
        """Return the K nearest words; none for a word without a vector."""
        word = word.lower()
        if word not in self.nearest:
            row = self.index.get(word)
            if row is not None:
                vector = self.unit[row]
            else:
                vector = self.of(word) if self.of else None
            self.nearest[word] = [] if vector is None else self._nearest(word, _unit(np.atleast_2d(vector))[0])
        return self.nearest[word]

    def _nearest(self, word: str, vector: NDArray[np.float32]) -> list[str]:
        """Return the K words whose vectors are nearest, without the word itself."""
        scores = self.unit @ vector
        few = min(self.count + 1, len(scores))
        # The K + 1 best in no order first: sorting all W words would cost more than the product.
        best = np.argpartition(-scores, few - 1)[:few]
        ordered = best[np.argsort(-scores[best], kind="stable")]
        return [self.words[i] for i in ordered if self.words[i] != word][: self.count]


def masked_words(folder: str, count: int) -> MaskedWords:
    """Open the masked language model in a folder as a source of candidates.

    Raises:
        UserError: as :func:`imbik.models.pretrained.load_masked_lm`; no masked-language-model head,
            no mask token.
    """
    model, tokenizer, fresh = load_masked_lm(folder, "masked language model")
    if fresh:
        raise UserError(
            "the model has no masked-language-model head",
            where=folder,
            expected="a model …ForMaskedLM, or none for word vectors alone",
            fix=f"make one with: imbik finetune --task mlm --base {folder} --data TEXTS --out DIR",
        )
    if tokenizer.mask_token_id is None:
        raise UserError("the tokenizer has no mask token", where=folder, expected="[MASK]")
    return MaskedWords(model, tokenizer, count, fingerprint(Checkpoint(model, tokenizer, "mlm")))


def vector_words(source: str, teacher: Checkpoint, texts: Iterable[str], count: int, word: re.Pattern[str]) -> VectorWords:
    """Open word vectors as a source of candidates: a file, or the teacher's own table.

    Args:
        source: ``teacher`` or a file in GloVe's text format.
        teacher: whose table is read: a word's vector is the mean of its pieces' rows; the words are
            those of ``texts`` and the whole words of the vocabulary.
        texts: the task's texts.
        count: K.
        word: what a word is.

    Raises:
        UserError: the file does not exist or is not in that format.
    """
    if source != "teacher":
        return _from_file(Path(source), count)
    words = {match[0].lower() for text in texts for match in word.finditer(text) if any(c.isalpha() for c in match[0])}
    words |= {w.lower() for w in _whole_words(teacher.tokenizer) if w is not None and len(w) > 2}
    listed = sorted(words)
    table = teacher.model.get_input_embeddings().weight.detach().float().cpu().numpy()
    backend = teacher.tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    # A leading space: byte-level tokenizers have other pieces for the start of a word.
    ids = [encoding.ids for encoding in backend.encode_batch([" " + w for w in listed], add_special_tokens=False)]
    vectors = np.stack([table[row].mean(0) if row else np.zeros(table.shape[1], dtype=np.float32) for row in ids])
    return VectorWords(listed, vectors, count, "teacher")


def _from_file(file: Path, count: int) -> VectorWords:
    """Read word vectors in GloVe's text format.

    Raises:
        UserError: no such file, an empty one, or one in another format.
    """
    if not file.is_file():
        raise UserError("no such file of word vectors", where=file, expected="GloVe's text format, or: teacher")
    words: list[str] = []
    rows: list[NDArray[np.float32]] = []
    digest = hashlib.sha256()
    with file.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            digest.update(raw)
            line = raw.decode("utf-8", "replace")
            head, *numbers = line.rstrip().split(" ")
            if number == 1 and len(numbers) == 1:
                continue  # word2vec's text format begins with the two sizes
            if rows and len(numbers) > len(rows[0]):  # GloVe's largest file has words with spaces: ". . ."
                head, numbers = " ".join((head, *numbers[: -len(rows[0])])), numbers[-len(rows[0]) :]
            try:
                rows.append(np.array(numbers, dtype=np.float32))
            except ValueError:
                rows.append(np.zeros(0, dtype=np.float32))
            if not len(rows[-1]) or len(rows[-1]) != len(rows[0]):
                raise UserError(
                    "not a word vector",
                    where=f"{file}, line {number}",
                    found=line.strip()[:60],
                    expected="a word and as many numbers as in the first line",
                )
            words.append(head.lower())
    if not words:
        raise UserError("the file of word vectors is empty", where=file, expected="a word and its numbers in every line")
    return VectorWords(words, np.stack(rows), count, digest.hexdigest())


def _whole_words(tokenizer: PreTrainedTokenizerBase) -> list[str | None]:
    """Return for every id the word that its piece stands for by itself.

    None for continuations, signs and special tokens.
    """
    special, starts = set(tokenizer.all_special_tokens), ("Ġ", "▁")
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    marked = not set(starts).isdisjoint(pieces)  # byte-level BPE and SentencePiece mark where a word starts
    words: list[str | None] = []
    for piece in pieces:
        word = "" if piece is None or piece in special else piece
        if marked:
            word = word[1:] if word.startswith(starts) else ""
        words.append(word if word.isalpha() else None)
    return words


def _single(encoding: Encoding, spans: list[Span]) -> list[tuple[int, int]]:
    """Find the words that are exactly one piece.

    Returns number of the word and position of its piece.
    """
    starts = {start: at for at, (start, stop) in enumerate(encoding.offsets) if stop > start}
    places = []
    for number, (start, stop) in enumerate(spans):
        # one piece only where it begins and ends with the word
        at = starts.get(start)
        if at is not None and encoding.offsets[at] == (start, stop):
            places.append((number, at))
    return places


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale vectors ``(W, D)`` to length 1."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit
