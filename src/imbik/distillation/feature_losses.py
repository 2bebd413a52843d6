"""Losses between a state of the student and a state of the teacher: hidden states, attention, relations, feature maps.

Each is a module called as ``loss(student, teacher, mask)`` and gives a scalar that is zero when the two agree. ``mask`` is
``(B, T)``, true on real tokens, or None for data without padding. ``bind(student, teacher, mask)`` on one example of both comes
first: it refuses shapes that cannot be matched, and makes the learned projection where widths differ. A projection lives here and
never in the student.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imbik.errors import UserError
from imbik.training.heads import softened_kl


class Projection(nn.Module):
    """x ↦ x W over the channel dimension, W ``(student, teacher)`` learned; starts at the least-squares fit to one example. Channels are
    the last dimension of ``(B, H)`` and ``(B, T, H)`` and the second one of images ``(B, C, …)``."""

    def __init__(self, student: Tensor, teacher: Tensor, mask: Tensor | None) -> None:
        super().__init__()
        ours, theirs = _rows(student, mask), _rows(teacher, mask)
        moment = ours.T @ ours
        ridge = 1e-2 * moment.diagonal().mean().clamp_min(1e-12) * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
        self.weight = nn.Parameter(torch.linalg.solve(moment + ridge, ours.T @ theirs).float())

    def forward(self, x: Tensor) -> Tensor:
        last = x.movedim(_channel(x), -1)
        return (last.float() @ self.weight).movedim(-1, _channel(x))


class HiddenMSE(nn.Module):
    """Mean squared difference of hidden states: L = mean over real tokens and features of (h_S W - h_T)².

    TinyBERT's hidden and embedding loss (arXiv 1909.10351, eq. 8 and 9), and a hint on any feature map (Romero et al., arXiv 1412.6550).

    Args:
        project: learn W ``(H_S, H_T)``; None: only where the widths differ (W is the identity else).
        normalize: compare after a layer norm without parameters: MobileBERT's feature map transfer (arXiv 2004.02984), to which
            :class:`FeatureMoments` adds what the norm takes out.

    >>> loss = HiddenMSE()
    >>> h = torch.ones(2, 3, 4)
    >>> loss.bind(h, h), float(loss(h, h)), float(loss(h, 3 * h))
    (None, 0.0, 4.0)
    """

    def __init__(self, project: bool | None = None, normalize: bool = False) -> None:
        super().__init__()
        self.project, self.normalize = project, normalize
        self.projection: nn.Module = nn.Identity()

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Make the projection. Raises UserError where other dimensions than the channels differ."""
        self.projection = _projection(self, student, teacher, mask, self.project)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        ours, theirs = self.projection(student).float(), teacher.float()
        if self.normalize:
            ours, theirs = _standard(ours), _standard(theirs)
        return _mean_over_tokens((ours - theirs).square(), mask)


class HiddenCosine(nn.Module):
    """One minus the cosine of hidden states: L = mean over real tokens of 1 - cos(h_S W, h_T).

    DistilBERT's third loss (arXiv 1910.01108, section 2), there on the last layer. ``project`` as in :class:`HiddenMSE`.

    >>> loss = HiddenCosine()
    >>> h = torch.eye(2).unsqueeze(0)
    >>> loss.bind(h, h), round(float(loss(h, 2 * h)), 6), round(float(loss(h, -h)), 6)
    (None, 0.0, 2.0)
    """

    def __init__(self, project: bool | None = None) -> None:
        super().__init__()
        self.project = project
        self.projection: nn.Module = nn.Identity()

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Make the projection. Raises UserError where other dimensions than the channels differ."""
        self.projection = _projection(self, student, teacher, mask, self.project)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        ours, theirs = self.projection(student).float(), teacher.float()
        cosine = F.cosine_similarity(ours, theirs, dim=_channel(theirs))
        return _mean_over_tokens((1.0 - cosine).unsqueeze(_channel(theirs)), mask)


class AttentionMSE(nn.Module):
    """Mean squared difference of attention: L = mean over heads and real pairs of tokens of (A_S - A_T)².

    TinyBERT's attention loss (arXiv 1909.10351, eq. 7), which takes the scores q·kᵀ/√d before the softmax because training converges
    faster on them. Where the numbers of heads differ, both are pooled to their greatest common divisor, neighbors averaged.

    Args:
        on: ``scores`` or, after the softmax over real keys, ``probabilities``.
    """

    def __init__(self, on: Literal["scores", "probabilities"] = "scores") -> None:
        super().__init__()
        if on not in ("scores", "probabilities"):
            raise UserError("attention is compared on scores or on probabilities", where="AttentionMSE", found=on)
        self.on = on

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Check the shapes, ``(B, A, T, T)`` both."""
        _check_attention(self, student, teacher)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        ours, theirs = student.float(), teacher.float()
        if self.on == "probabilities":
            ours, theirs = (_log_softmax(x, mask).exp() for x in (ours, theirs))
        ours, theirs = _pooled(ours, theirs)
        squared = (ours - theirs).square().mean(dim=1)  # (B, T, T)
        if mask is None:
            return squared.mean()
        pairs = mask[:, :, None].bool() & mask[:, None, :].bool()
        return squared.masked_fill(~pairs, 0.0).sum() / pairs.sum()


class AttentionKL(nn.Module):
    """Divergence of attention distributions: L = mean over heads and real query tokens of KL(P_T ‖ P_S), P = softmax of the scores.

    MobileBERT's attention transfer (arXiv 2004.02984) and MiniLM's first loss (arXiv 2002.10957). Takes scores before the softmax,
    ``(B, A, T, T)``; where the numbers of heads differ, probabilities are pooled as in :class:`AttentionMSE`.
    """

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Check the shapes, ``(B, A, T, T)`` both."""
        _check_attention(self, student, teacher)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        ours, theirs = _log_softmax(student.float(), mask), _log_softmax(teacher.float(), mask)
        if ours.shape[1] != theirs.shape[1]:
            ours, theirs = (x.clamp_min(1e-30).log() for x in _pooled(ours.exp(), theirs.exp()))
        return _mean_divergence(ours, theirs, mask)


class RelationKL(nn.Module):
    """Divergence of self-attention relations: L = mean over R heads and real tokens of KL(A_T ‖ A_S), A = softmax(a aᵀ/√d).

    MiniLM v2 (arXiv 2012.15828). ``a`` is all queries, keys or values of one layer, ``(B, T, H)``, cut into R relation heads of
    d = H/R numbers; widths, depths and numbers of attention heads may differ.

    Args:
        heads: R; ``auto``: the largest common divisor of both widths that leaves the student at least 8 numbers a head.
    """

    def __init__(self, heads: int | Literal["auto"] = "auto") -> None:
        super().__init__()
        self.heads = heads

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Settle R. Raises UserError where it does not divide both widths."""
        ours, theirs = student.shape[-1], teacher.shape[-1]
        if student.ndim != 3 or student.shape[:-1] != teacher.shape[:-1]:
            raise _unmatched(self, student, teacher, "(B, T, H) for the same tokens")
        common = math.gcd(ours, theirs)
        divisors = [d for d in range(1, common + 1) if common % d == 0]
        if self.heads == "auto":
            self.heads = max(d for d in divisors if ours // d >= 8 or d == 1)
        if self.heads not in divisors:
            found, expected = f"{self.heads}, widths {ours} and {theirs}", "auto or one of " + ", ".join(map(str, divisors))
            raise UserError("the relation heads do not divide both widths", where="relation_heads", found=found, expected=expected)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        ours, theirs = (_log_softmax(self._relation(x.float()), mask) for x in (student, teacher))
        return _mean_divergence(ours, theirs, mask)

    def _relation(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (int(self.heads), -1)).transpose(1, 2)  # (B, R, T, d)
        return heads @ heads.transpose(-1, -2) / math.sqrt(heads.shape[-1])


class FeatureMoments(nn.Module):
    """Difference of the mean and the variance over features: L = mean over real tokens of m (μ_S - μ_T)² + v \\|σ²_S - σ²_T\\|.

    The statistics that MobileBERT's feature map transfer adds to the normalized difference (arXiv 2004.02984); widths may differ.

    Args:
        mean, variance: m and v.

    >>> loss = FeatureMoments()
    >>> float(loss(torch.zeros(1, 2, 4), torch.ones(1, 2, 8)))
    1.0
    """

    def __init__(self, mean: float = 1.0, variance: float = 1.0) -> None:
        super().__init__()
        self.mean, self.variance = mean, variance

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Check that both are for the same tokens."""
        _projection(self, student, teacher, mask, False, widths=True)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        ours, theirs = student.float(), teacher.float()
        one, two = _channel(ours), _channel(theirs)
        mean = (ours.mean(one, keepdim=True) - theirs.mean(two, keepdim=True)).square()
        spread = (ours.var(one, correction=0, keepdim=True) - theirs.var(two, correction=0, keepdim=True)).abs()
        return _mean_over_tokens(self.mean * mean + self.variance * spread, mask)


class LogitsKL(nn.Module):
    """T² · KL(softmax(z_T / T) ‖ softmax(z_S / T)) of class logits ``(B, L)``, see :func:`imbik.training.heads.softened_kl`.

    Args:
        temperature: T > 0.
    """

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise UserError("the temperature is not above 0", where="LogitsKL", found=temperature, expected="1 or more, such as 2.0")
        self.temperature = temperature

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Check the shapes."""
        if student.ndim != 2 or student.shape != teacher.shape:
            raise _unmatched(self, student, teacher, "(B, L) both")

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        return softened_kl(student.float(), teacher.float(), self.temperature)


def _channel(x: Tensor) -> int:
    """Images are (B, C, H, W); everything else has its features last."""
    return 1 if x.ndim >= 4 else x.ndim - 1


def _rows(x: Tensor, mask: Tensor | None) -> Tensor:
    """All feature vectors of one example as ``(N, H)`` float64."""
    last = x.detach().double().movedim(_channel(x), -1)
    return last[mask.bool()] if mask is not None and last.shape[:-1] == mask.shape else last.flatten(0, -2)


def _projection(
    loss: nn.Module, student: Tensor, teacher: Tensor, mask: Tensor | None, project: bool | None, widths: bool = False
) -> nn.Module:
    rest = [[size for axis, size in enumerate(x.shape) if axis != _channel(x)] for x in (student, teacher)]
    same = student.shape == teacher.shape
    if student.ndim < 2 or rest[0] != rest[1] or (project is False and not same and not widths):
        raise _unmatched(loss, student, teacher, "shapes that differ in the number of features at most")
    if project is False or (project is None and same):
        return nn.Identity()
    return Projection(student, teacher, mask)


def _check_attention(loss: nn.Module, student: Tensor, teacher: Tensor) -> None:
    if student.ndim != 4 or teacher.ndim != 4 or student.shape[2:] != teacher.shape[2:] or len(student) != len(teacher):
        raise _unmatched(loss, student, teacher, "(B, heads, T, T) for the same tokens")


def _unmatched(loss: nn.Module, student: Tensor, teacher: Tensor, expected: str) -> UserError:
    found = f"student {tuple(student.shape)}, teacher {tuple(teacher.shape)}"
    return UserError(f"{type(loss).__name__} cannot compare these shapes", found=found, expected=expected)


def _standard(x: Tensor) -> Tensor:
    return F.layer_norm(x.movedim(_channel(x), -1), (x.shape[_channel(x)],)).movedim(-1, _channel(x))


def _mean_over_tokens(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over real tokens of the mean over features of ``(B, T, …)``."""
    if mask is None:
        return values.mean()
    real = mask.to(values.dtype).unsqueeze(-1)
    return (values * real).sum() / (real.sum() * values.shape[-1])


def _pooled(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    heads = math.gcd(ours.shape[1], theirs.shape[1])
    one, two = (x.unflatten(1, (heads, -1)).mean(2) for x in (ours, theirs))
    return one, two


def _log_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Over real keys; masked keys get log-probability -1e9, finite so that their gradient is zero and not undefined."""
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :].bool(), -1e9)
    return F.log_softmax(scores, dim=-1)


def _mean_divergence(ours: Tensor, theirs: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over heads and real queries of KL(theirs ‖ ours), both log-probabilities ``(B, A, T, T)``."""
    divergence = (theirs.exp() * (theirs - ours)).sum(-1).mean(1)  # (B, T)
    if mask is None:
        return divergence.mean()
    real = mask.to(divergence.dtype)
    return (divergence * real).sum() / real.sum()
