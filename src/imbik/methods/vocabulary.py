"""A smaller vocabulary: only the pieces that the user's texts need, and a margin for the texts to come."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from imbik.locale.notes import sentence
from imbik.methods.registry import Method, method
from imbik.models.tokenizers import keep_pieces, wrap_spec
from imbik.models.vocabulary.choice import Characters, Rule, kept_pieces
from imbik.models.vocabulary.rows import check_same, fixed_rows, prune_rows
from imbik.tasks.outputs import numbers_of
from imbik.training.context import Context
from imbik.training.encoding import Encoded, encode_for
from imbik.training.prediction import predict_rows
from imbik.types import Checkpoint, Examples, Note

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

_PROBE = 8
"""Texts on which the pruned model must answer as before."""


@method("vocabulary")
class Vocabulary(Method):
    """Keep the embedding rows of the pieces that the texts of the task use; rewrite the tokenizer to match.

    Kept are: special tokens; every piece that occurs at least ``min_count`` times in train and unlabelled texts; single characters, so
    that nothing becomes unknown that was not; and ``margin`` more, the first ones of the table, which every usual way of building a
    table orders by frequency. With ``min_count: 1`` the training texts are cut as before and the model answers them as before, bit for
    bit, so nothing has to be learned again; a new text that needs a piece which is gone is cut into smaller ones.

    What it saves is bytes: a row of the table per piece, and its line in tokenizer.json. Rows are looked up one by one, so neither
    FLOPs nor time change. Dev texts are only used to report what became unknown and how much longer texts became; test never.

    Attributes:
        margin: pieces beyond those that are needed.
        min_count: a piece that the texts use less often is not needed; above 1, put a ``distill`` step behind.
        characters: ``all`` that the table has, those of the ``scripts`` that the texts are written in, or only those ``seen`` in the
            texts and ASCII.
    """

    margin: Annotated[int, Ge(0)] = 1000
    min_count: Annotated[int, Ge(1)] = 1
    characters: Characters = "all"

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the checkpoint with a smaller table and tokenizer, and a note of what it means for dev.

        Raises:
            UserError: a tokenizer of another kind, an embedding that has no rows to choose from, or a model that answers otherwise
                afterwards because it reads meaning into the numbers of the ids.
        """
        spec = json.loads(checkpoint.tokenizer.backend_tokenizer.to_str())
        task = checkpoint.task
        corpus = [
            encode_for(task, part, checkpoint.tokenizer) for part in (context.splits.train, context.splits.unlabelled) if part is not None
        ]
        size = int(checkpoint.model.get_input_embeddings().num_embeddings)
        rule = Rule(self.min_count, self.margin, self.characters)
        counts, backend = _counts(corpus, size), checkpoint.tokenizer.backend_tokenizer
        spec, old = keep_pieces(spec, kept_pieces(spec, counts, backend, rule, fixed_rows(checkpoint.model)))
        dev = encode_for(task, context.splits.dev, checkpoint.tokenizer)
        pruned = replace(checkpoint, tokenizer=wrap_spec(checkpoint.tokenizer, spec))
        probe = _covered(context.splits.train, corpus[0], set(old))
        # before the next line: it prunes the table of this very model in place
        before = _answers(checkpoint.model, probe, checkpoint)
        prune_rows(checkpoint.model, old, pruned.tokenizer)
        check_same(before, _answers(pruned.model, probe, pruned), type(checkpoint.model).__name__)
        note = _note(size, len(old), dev, encode_for(task, context.splits.dev, pruned.tokenizer), checkpoint.tokenizer, pruned.tokenizer)
        logger.info(sentence(note))
        return replace(pruned, notes=(*checkpoint.notes, note))


def _counts(corpus: list[Encoded], size: int) -> NDArray[np.int64]:
    """Count how often each of ``size`` ids occurs, ``(size,)``."""
    counts = np.zeros(size, dtype=np.int64)
    for part in corpus:
        # 4 million ids at a time: bincount widens the whole of what it is given to int64, and the
        # ids are a memory-mapped file that may be larger than memory
        for start in range(0, len(part.ids), 1 << 22):
            counts += np.bincount(part.ids[start : start + (1 << 22)], minlength=size)
    return counts


def _covered(examples: Examples, data: Encoded, kept: set[int]) -> Examples:
    """Return the first few texts whose pieces are all kept."""
    # a text that lost a piece is cut otherwise afterwards, so its logits may differ for a good
    # reason
    whose = np.arange(len(data)) if data.owners is None else data.owners
    lost = {
        int(whose[row]) for row in range(len(data)) if not kept.issuperset(data.ids[data.offsets[row] : data.offsets[row + 1]].tolist())
    }
    chosen = list(islice((row for row in range(len(examples.texts)) if row not in lost), _PROBE))
    pairs = None if examples.pairs is None else [examples.pairs[row] for row in chosen]
    return Examples([examples.texts[row] for row in chosen], pairs, None, "")


def _answers(model: PreTrainedModel, texts: Examples, checkpoint: Checkpoint) -> NDArray[np.float32]:
    """Return every number that a model computes of some texts, ``(M,)``."""
    return numbers_of(predict_rows(model, encode_for(checkpoint.task, texts, checkpoint.tokenizer), checkpoint.task))


def _note(size: int, left: int, before: Encoded, after: Encoded, old: PreTrainedTokenizerFast, new: PreTrainedTokenizerFast) -> Note:
    """Return what pruning means for texts that it did not see."""
    unknown = [float(np.mean(data.ids == tokenizer.unk_token_id)) for data, tokenizer in ((before, old), (after, new))]
    length = [len(data.ids) / max(len(data), 1) for data in (before, after)]
    return Note.of(
        "vocabulary",
        count=left,
        total=size,
        gone=1 - left / size,
        unknown=unknown[0],
        after=unknown[1],
        length=length[0],
        longer=length[1],
    )
