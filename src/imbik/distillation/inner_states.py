"""Train a student on its teacher's inner states: what ``minilm``, ``tinybert`` and their like share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imbik.distillation.soft_labels import without_dropout
from imbik.distillation.teacher_states import STORE_LIMIT, LiveTeacher, StoredTeacher
from imbik.distillation.transfer import Pair, TeacherStates, Transfer, weighted
from imbik.errors import UserError
from imbik.models.anatomy import anatomy
from imbik.models.teacher import Teacher
from imbik.pretraining.corpus import Blocks
from imbik.training.context import Context
from imbik.training.encoding import Encoded, encode
from imbik.training.loop import fit
from imbik.training.prediction import to_batch
from imbik.training.settings import Trained, training_of
from imbik.types import Checkpoint, Examples

logger = logging.getLogger(__name__)

_EXAMPLE = 64  # rows that shapes and first projections are taken from


def learn_states(
    checkpoint: Checkpoint,
    teacher: Teacher,
    pairs: Sequence[Pair],
    rows: Examples | Blocks,
    settings: Trained,
    context: Context,
    what: str,
) -> Checkpoint:
    """Train ``checkpoint`` in place on the weighted sum of ``pairs``; the weights of the last epoch remain.

    Args:
        checkpoint: the student.
        teacher: not changed; must cut texts into the same tokens.
        pairs: see :class:`imbik.distillation.transfer.Pair`.
        rows: texts, or the blocks of a corpus in the student's token ids.
        settings: a method with the fields of :class:`imbik.training.settings.Training`; what is ``auto`` is resolved here.
        context: of the step.
        what: what progress calls it.

    Raises:
        UserError: other tokens, states that do not exist, shapes that cannot be matched.
    """
    data = encode(rows, checkpoint.tokenizer) if isinstance(rows, Examples) else rows
    teacher_data = teacher_rows(data, rows, checkpoint, teacher)
    training = training_of(settings, int(data.lengths.sum()))
    pairs = weighted(pairs)
    names = [pair.teacher for pair in pairs]
    source = states_of(teacher, names, teacher_data, data, training.epochs, context)
    transfer = Transfer(pairs, anatomy(checkpoint.model), source)
    # before fit(): the projections made here are parameters that its optimizer must know
    transfer.bind(checkpoint.model, to_batch(data, np.arange(min(_EXAMPLE, len(data)))))
    without_dropout(checkpoint.model)
    fit(
        checkpoint.model,
        transfer,
        data,
        training,
        context.training(),
        what=what,
        # the blocks of a corpus use nearly every piece, so there is nothing to leave out. No dev
        # score either: how near inner states come says little about the task
        pieces=data.pieces() if isinstance(data, Encoded) else None,
    )
    return checkpoint


def states_of(
    teacher: Teacher, names: Sequence[str], teacher_data: Encoded | None, data: Encoded | Blocks, epochs: int, context: Context
) -> TeacherStates:
    """Return the cheaper way to the teacher's states: stored where they fit on disk and are read more than once, else computed again.

    MiniLM on Banking77, 1,024 tokens, one core: the teacher's pass 98 ms, a read from disk 4 ms, filling the file 120 ms once; so the
    file is earned back in the second epoch (docs/tinybert.md).
    """
    if isinstance(data, Encoded) and epochs > 1:
        stored = StoredTeacher(teacher.model, teacher.anatomy, names, teacher_data or data, Path(context.directory) / "teacher-states.bin")
        if stored.bytes() <= STORE_LIMIT:
            stored.fill(context.progress)
            return stored
        logger.info("the teacher's states would take %.1f GB: it runs again in every step", stored.bytes() / 1e9)
    return LiveTeacher(teacher.model, teacher.anatomy, names, teacher_data)


def teacher_rows(data: Encoded | Blocks, rows: Examples | Blocks, student: Checkpoint, teacher: Checkpoint) -> Encoded | None:
    """Return the same rows in the teacher's token ids; None where both have one tokenizer.

    Raises:
        UserError: the two cut a text into different numbers of tokens, so that states cannot be compared token by token.
    """
    own, other = student.tokenizer, teacher.tokenizer
    if own is other or (
        own.backend_tokenizer.to_str() == other.backend_tokenizer.to_str() and own.model_max_length == other.model_max_length
    ):
        return None
    if isinstance(rows, Examples):
        encoded = encode(rows, other)
        # states are compared place by place, so every row must have as many tokens
        if isinstance(data, Encoded) and np.array_equal(encoded.offsets, data.offsets):
            return encoded
    # blocks are ids already: only what the ids stand for has to agree
    elif own.get_vocab() == other.get_vocab():
        return None
    raise UserError(
        "teacher and student cut texts into different tokens",
        where="student",
        found=f"{len(own)} and {len(other)} pieces",
        expected="the teacher's tokenizer: inner states are compared token by token",
        fix="distil on logits alone (distill), or start the student from this teacher",
    )
