"""Cascades: cheap models answer what they are sure of and pass the other texts on, all behind one predictor.

What a stage says is not lost when it passes a text on: the next one's logits are added to it, each with a weight, which costs nothing and
is often better than the dearest model alone (a logarithmic opinion pool, Heskes 1998).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.runtime.composite import Composite
from imbik.runtime.predictor import Predictor
from imbik.tasks.answers.asking import check_pairs
from imbik.tasks.outputs import Outputs, only

CASCADE_FILE = "cascade.json"
"""In the artefact folder: its stages in their order, and what is abstained from."""

_NEVER = np.float32(100.0)
"""How far below the largest logit a label stands that is not meant: a probability of 4e-44."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Stage:
    """One model of a cascade.

    Attributes:
        model: what answers.
        weight: of its logits; of the first stage it is one over its temperature (Guo et al. 2017).
        earlier: weight of what the stages before it said, together.
        threshold: texts of which it is then less sure go on to the next stage; None: the last stage, which answers all.
    """

    model: Predictor
    weight: float
    earlier: float
    threshold: float | None


@dataclass(frozen=True)
class Abstention:
    """When no answer is given.

    Attributes:
        label: what is said instead; it is the last label of the cascade.
        threshold: answers that are less sure are not given.
    """

    label: str
    threshold: float


def confidence(logits: Floats) -> Floats:
    """Return the probability of the most probable label, ``(N,)``, of calibrated logits ``(N, L)``.

    >>> confidence(np.log(np.float32([[0.7, 0.2, 0.1]]))).round(3).tolist()
    [0.699999988079071]
    """
    # softmax(z)_max = 1 / Σ exp(z - max z)
    return np.asarray(1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1), np.float32)


def abstaining(logits: Floats, threshold: float) -> Floats:
    """Return logits ``(N, L + 1)`` with a column for *no answer*, which is half of the probability where confidence is too low.

    The other half stays with the labels as they were, so that a reader sees what the model would have said.
    """
    largest = logits.max(axis=1)
    whole = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    column = np.where(confidence(logits) < threshold, whole, largest - _NEVER)
    return np.concatenate([logits, column[:, None]], axis=1).astype(np.float32)


class Cascade(Composite):
    """Several models behind the face of one. Several threads may ask it at once.

    A text is answered by the first stage whose calibrated confidence reaches its threshold, and the last stage answers what is left:
    s_1 = w_1 z_1, s_k = e_k s_(k-1) + w_k z_k with a stage's logits z_k, and its confidence is the largest of softmax(s_k).

    Args:
        manifest: of the artefact folder.
        stages: cheapest first; the last one has no threshold.
        abstention: when no answer is given; None: always one is.
        threads: compute threads of the stages.
    """

    def __init__(self, manifest: Mapping[str, Any], stages: Sequence[Stage], abstention: Abstention | None, threads: int) -> None:
        # what a reader is told of lengths and tokens is that of the stage which sees every text
        super().__init__(manifest, [stage.model for stage in stages], threads)
        self.stages, self.abstention = tuple(stages), abstention

    def _scores(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Outputs:
        """Return calibrated logits ``(N, L)``, rows in the order of the texts."""
        check_pairs(self.pairs, pairs is not None)
        logits, _ = self.answered(texts, pairs)
        return logits if self.abstention is None else abstaining(logits, self.abstention.threshold)

    def answered(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> tuple[Floats, NDArray[np.int64]]:
        """Return calibrated logits ``(N, L)`` without abstention, and the stage that answered each text, ``(N,)``."""
        logits: Floats | None = None
        by = np.zeros(len(texts), np.int64)
        left = np.arange(len(texts))
        for number, stage in enumerate(self.stages):
            own = self._asked(stage, texts, pairs, left)
            # the first stage's array is filled with what the others say of the texts that it passes on
            if logits is None:
                logits = own
            else:
                own += np.float32(stage.earlier) * logits[left]
                logits[left] = own
            by[left] = number
            if stage.threshold is None:
                break
            left = left[confidence(own) < stage.threshold]
            if not len(left):
                break
        assert logits is not None, "a cascade has stages"
        return logits, by

    def _asked(self, stage: Stage, texts: Sequence[str], pairs: Sequence[str] | None, rows: NDArray[np.int64]) -> Floats:
        """Return the weighted logits of some texts."""
        some, others = texts, pairs
        if len(rows) < len(texts):
            some = [texts[row] for row in rows]
            others = None if pairs is None else [pairs[row] for row in rows]
        stage.model.batch_tokens = self.batch_tokens
        return np.asarray(only(stage.model.scores(some, others)) * np.float32(stage.weight), np.float32)
