"""Losses between the attention of the student and the attention of the teacher.

Called and bound as the losses of :mod:`imbik.distillation.feature_losses`: on distributions, on scores,
and on relations among queries, keys or values.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from imbik.distillation.feature_losses import unmatched
from imbik.errors import UserError


class AttentionMSE(nn.Module):
    """Mean squared difference of attention.

    L = mean over heads and real pairs of tokens of (A_S - A_T)².

    TinyBERT's attention loss (arXiv 1909.10351, eq. 7), which takes the scores q·kᵀ/√d before the
    softmax because training converges faster on them. Where the numbers of heads differ, both are
    pooled to their greatest common divisor, neighbors averaged.

    Args:
        on: ``scores`` or, after the softmax over real keys, ``probabilities``.
    """

    def __init__(self, on: Literal["scores", "probabilities"] = "scores") -> None:
        super().__init__()
        if on not in ("scores", "probabilities"):
            raise UserError("attention is compared on scores or on probabilities", where="AttentionMSE", found=on)
        self.on = on

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Check the shapes, ``(B, A, T, T)`` both.

        Raises:
            UserError: other shapes.
        """
        _check_attention(self, student, teacher)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        student_state, teacher_state = student.float(), teacher.float()
        if self.on == "probabilities":
            student_state, teacher_state = (_log_softmax(x, mask).exp() for x in (student_state, teacher_state))
        student_state, teacher_state = _pooled(student_state, teacher_state)
        squared = (student_state - teacher_state).square().mean(dim=1)  # (B, T, T)
        if mask is None:
            return squared.mean()
        # (B, T, T): both the query and the key are real tokens.
        pairs = mask[:, :, None].bool() & mask[:, None, :].bool()
        return squared.masked_fill(~pairs, 0.0).sum() / pairs.sum()


class AttentionKL(nn.Module):
    """Divergence of attention distributions.

    L = mean over heads and real query tokens of KL(P_T ‖ P_S), P = softmax of the scores.

    MobileBERT's attention transfer (arXiv 2004.02984) and MiniLM's first loss (arXiv 2002.10957).
    Takes scores before the softmax, ``(B, A, T, T)``; where the numbers of heads differ,
    probabilities are pooled as in :class:`AttentionMSE`.
    """

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Check the shapes, ``(B, A, T, T)`` both.

        Raises:
            UserError: other shapes.
        """
        _check_attention(self, student, teacher)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        student_log, teacher_log = _log_softmax(student.float(), mask), _log_softmax(teacher.float(), mask)
        if student_log.shape[1] != teacher_log.shape[1]:
            # Probabilities are pooled, not their logarithms: the mean of distributions is one
            # again.
            student_log, teacher_log = (x.clamp_min(1e-30).log() for x in _pooled(student_log.exp(), teacher_log.exp()))
        return _mean_divergence(student_log, teacher_log, mask)


class RelationKL(nn.Module):
    """Divergence of self-attention relations.

    L = mean over R heads and real tokens of KL(A_T ‖ A_S), A = softmax(a aᵀ/√d).

    MiniLM v2 (arXiv 2012.15828). ``a`` is all queries, keys or values of one layer, ``(B, T, H)``,
    cut into R relation heads of d = H/R numbers; widths, depths and numbers of attention heads may
    differ.

    Args:
        heads: R; ``auto``: the largest common divisor of both widths that leaves the student at
            least 8 numbers a head.
    """

    def __init__(self, heads: int | Literal["auto"] = "auto") -> None:
        super().__init__()
        self.heads = heads

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Settle R.

        Raises:
            UserError: states of other tokens, or an R that does not divide both widths.
        """
        student_width, teacher_width = student.shape[-1], teacher.shape[-1]
        if student.ndim != 3 or student.shape[:-1] != teacher.shape[:-1]:
            raise unmatched(self, student, teacher, "(B, T, H) for the same tokens")
        common = math.gcd(student_width, teacher_width)
        divisors = [d for d in range(1, common + 1) if common % d == 0]
        if self.heads == "auto":
            # A relation of fewer than 8 numbers a head says little; one head is always possible.
            self.heads = max(d for d in divisors if student_width // d >= 8 or d == 1)
        if self.heads not in divisors:
            found, expected = f"{self.heads}, widths {student_width} and {teacher_width}", "auto or one of " + ", ".join(map(str, divisors))
            raise UserError("the relation heads do not divide both widths", where="relation_heads", found=found, expected=expected)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        student_log, teacher_log = (_log_softmax(self._relation(x.float()), mask) for x in (student, teacher))
        return _mean_divergence(student_log, teacher_log, mask)

    def _relation(self, x: Tensor) -> Tensor:
        """Compute a aᵀ/√d of every relation head, ``(B, R, T, T)``."""
        heads = x.unflatten(-1, (int(self.heads), -1)).transpose(1, 2)  # (B, R, T, d)
        return heads @ heads.transpose(-1, -2) / math.sqrt(heads.shape[-1])


def _check_attention(loss: nn.Module, student: Tensor, teacher: Tensor) -> None:
    """Refuse attention that is not ``(B, A, T, T)`` for the same tokens."""
    if student.ndim != 4 or teacher.ndim != 4 or student.shape[2:] != teacher.shape[2:] or len(student) != len(teacher):
        raise unmatched(loss, student, teacher, "(B, heads, T, T) for the same tokens")


def _pooled(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average neighboring heads until both have as many: the greatest common divisor."""
    heads = math.gcd(student.shape[1], teacher.shape[1])
    # (B, A, T, T) -> (B, R, A / R, T, T) -> (B, R, T, T)
    one, two = (x.unflatten(1, (heads, -1)).mean(2) for x in (student, teacher))
    return one, two


def _log_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Compute log-probabilities over real keys.

    Masked keys get -1e9, finite so that their gradient is zero and not undefined.
    """
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :].bool(), -1e9)
    return F.log_softmax(scores, dim=-1)


def _mean_divergence(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Average KL(teacher ‖ student) over heads and real queries.

    Both are log-probabilities ``(B, A, T, T)``.
    """
    divergence = (teacher.exp() * (teacher - student)).sum(-1).mean(1)  # (B, T)
    if mask is None:
        return divergence.mean()
    real = mask.to(divergence.dtype)
    return (divergence * real).sum() / real.sum()
