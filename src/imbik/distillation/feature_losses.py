"""Losses between a state of the student and a state of the teacher.

For hidden states, feature maps and logits; those for attention are in
:mod:`imbik.distillation.attention_losses`. Each is a module called as
``loss(student, teacher, mask)`` and gives a scalar that is zero when the two agree. ``mask`` is
``(B, T)``, true on real tokens, or None for data without padding. ``bind(student, teacher, mask)``
on one example of both comes first: it refuses shapes that cannot be matched, and makes the learned
projection where widths differ. A projection lives here and never in the student.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imbik.errors import UserError
from imbik.training.heads import softened_kl


class Projection(nn.Module):
    """Learned map x ↦ x W over the channel dimension, W ``(student, teacher)``.

    It starts at the least-squares fit to one example. Channels are the last dimension of ``(B, H)``
    and ``(B, T, H)`` and the second one of images ``(B, C, …)``.
    """

    def __init__(self, student: Tensor, teacher: Tensor, mask: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(_least_squares(_rows(student, mask), _rows(teacher, mask)))

    def forward(self, x: Tensor) -> Tensor:
        last = x.movedim(_channel(x), -1)
        return (last.float() @ self.weight).movedim(-1, _channel(x))


class _Projected(nn.Module):
    """A loss on two states of which the student's goes through a projection first, where ``project`` or the widths ask for it."""

    def __init__(self, project: bool | None = None) -> None:
        super().__init__()
        self.project = project
        self.projection: nn.Module = nn.Identity()

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Make the projection.

        Raises:
            UserError: other dimensions than the channels differ.
        """
        self.projection = _projection(self, student, teacher, mask, self.project)


class HiddenMSE(_Projected):
    """Mean squared difference of hidden states.

    L = mean over real tokens and features of (h_S W - h_T)², TinyBERT's hidden and embedding loss (arXiv 1909.10351, eq. 8 and 9).

    On feature maps ``(B, C, …)`` of other widths it is a hint (Romero et al., arXiv 1412.6550) of another form: W and a bias b are solved
    by least squares for every batch, and

    L = Σ (h_S W + b - h_T)² / Σ (h_T - mean h_T)²,

    the share of the teacher's variance that no linear map of the student's features explains: 1 - R² of a linear regression (Kornblith
    et al., arXiv 1905.00414), the map eliminated as in variable projection (Golub, Pereyra 1973). A learned W lags behind a student
    that moves fast, as those with batch norm do: its lag is most of the loss, and pulls the features back to where they began. A solved
    one asks only what the features must hold, from 0 to 1 whatever their size is.

    Args:
        project: learn W ``(H_S, H_T)``; None: only where the widths differ (W is the identity
            else), and solved rather than learned on feature maps that are not normalized.
        normalize: compare after a layer norm without parameters: MobileBERT's feature map transfer
            (arXiv 2004.02984), to which :class:`FeatureMoments` adds what the norm takes out.

    >>> loss = HiddenMSE()
    >>> h = torch.ones(2, 3, 4)
    >>> loss.bind(h, h), float(loss(h, h)), float(loss(h, 3 * h))
    (None, 0.0, 4.0)
    """

    def __init__(self, project: bool | None = None, normalize: bool = False) -> None:
        super().__init__(project)
        self.normalize = normalize
        self._solved = False

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Make the projection, unless it is solved for every batch.

        Raises:
            UserError: other dimensions than the channels differ.
        """
        super().bind(student, teacher, mask)
        self._solved = self.project is None and not self.normalize and student.ndim >= 4 and student.shape != teacher.shape
        if self._solved:
            self.projection = nn.Identity()

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        if self._solved:
            return _unexplained(student, teacher, mask)
        student_state, teacher_state = self.projection(student).float(), teacher.float()
        if self.normalize:
            student_state, teacher_state = _standard(student_state), _standard(teacher_state)
        return _mean_over_tokens((student_state - teacher_state).square(), mask)


class HiddenCosine(_Projected):
    """One minus the cosine of hidden states.

    L = mean over real tokens of 1 - cos(h_S W, h_T).

    DistilBERT's third loss (arXiv 1910.01108, section 2), there on the last layer. ``project`` as
    in :class:`HiddenMSE`.

    >>> loss = HiddenCosine()
    >>> h = torch.eye(2).unsqueeze(0)
    >>> loss.bind(h, h), round(float(loss(h, 2 * h)), 6), round(float(loss(h, -h)), 6)
    (None, 0.0, 2.0)
    """

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        student_state, teacher_state = self.projection(student).float(), teacher.float()
        # (B, T, H) -> (B, T)
        cosine = F.cosine_similarity(student_state, teacher_state, dim=_channel(teacher_state))
        return _mean_over_tokens((1.0 - cosine).unsqueeze(_channel(teacher_state)), mask)


class FeatureMoments(nn.Module):
    """Difference of the mean and the variance over features.

    L = mean over real tokens of m (μ_S - μ_T)² + v \\|σ²_S - σ²_T\\|.

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
        """Check that both are for the same tokens.

        Raises:
            UserError: they are not.
        """
        _projection(self, student, teacher, mask, False, widths=True)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        student_state, teacher_state = student.float(), teacher.float()
        one, two = _channel(student_state), _channel(teacher_state)
        mean = (student_state.mean(one, keepdim=True) - teacher_state.mean(two, keepdim=True)).square()
        spread = (student_state.var(one, correction=0, keepdim=True) - teacher_state.var(two, correction=0, keepdim=True)).abs()
        return _mean_over_tokens(self.mean * mean + self.variance * spread, mask)


class LogitsKL(nn.Module):
    """Divergence of class logits: T² · KL(softmax(z_T / T) ‖ softmax(z_S / T)), mean over all that is classified.

    Logits are ``(B, L)`` of examples, ``(B, T, L)`` of tokens (real ones count) or boxes, ``(B, L, H, W)`` of the cells of a grid; see
    :func:`imbik.training.heads.softened_kl`.

    Args:
        temperature: T > 0.
        axis: of the classes; None: 1 for grids, the last for all else.

    >>> loss, grid = LogitsKL(), torch.randn(2, 5, 4, 4)
    >>> round(float(loss(grid, grid)), 6)
    0.0
    """

    def __init__(self, temperature: float = 2.0, axis: int | None = None) -> None:
        super().__init__()
        if not temperature > 0:
            raise UserError("the temperature is not above 0", where="LogitsKL", found=temperature, expected="1 or more, such as 2.0")
        self.temperature = temperature
        self.axis = axis

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Check the shapes: the same, with an axis of classes.

        Raises:
            UserError: other shapes.
        """
        axis = self.axis or 1
        if student.ndim < 2 or student.shape != teacher.shape or not -student.ndim <= axis < student.ndim:
            raise unmatched(self, student, teacher, "the same shape of both: (B, L), (B, T, L) or (B, L, H, W)")

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        return softened_kl(self._classified(student, mask), self._classified(teacher, mask), self.temperature)

    def _classified(self, logits: Tensor, mask: Tensor | None) -> Tensor:
        """Return all that is classified as rows, ``(N, L)``."""
        return _real(logits.float().movedim(_channel(logits) if self.axis is None else self.axis, -1), mask)


def _channel(x: Tensor) -> int:
    """Return the axis of the features: 1 for images (B, C, H, W), the last for all else."""
    return 1 if x.ndim >= 4 else x.ndim - 1


def _rows(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return all feature vectors of one example as ``(N, H)`` float64."""
    return _real(x.detach().double().movedim(_channel(x), -1), mask)


def _least_squares(student: Tensor, teacher: Tensor) -> Tensor:
    """Return W ``(H_S, H_T)`` of the least squared difference of rows ``(N, H)``, float32."""
    moment = student.T @ student
    # Features of few tokens may be dependent; the ridge is a hundredth of their mean square.
    ridge = 1e-2 * moment.diagonal().mean().clamp_min(1e-12) * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    return torch.linalg.solve(moment + ridge, student.T @ teacher).float()


def _unexplained(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Return the share of the variance of the teacher's features that no linear map of the student's explains."""
    x, y = (_real(state.float().movedim(_channel(state), -1), mask) for state in (student, teacher.detach()))
    # centered: what is left needs no bias
    x, y = x - x.mean(0), y - y.mean(0)
    # at its optimum the map has no part in the gradient
    with torch.no_grad():
        weight = _least_squares(x.double(), y.double())
    return (x @ weight - y).square().sum() / y.square().sum().clamp_min(1e-12)


def _real(last: Tensor, mask: Tensor | None) -> Tensor:
    """Return rows ``(N, H)`` of what has its features last, without padding: (B, T, H) with a mask (B, T)."""
    return last[mask.bool()] if mask is not None and last.shape[:-1] == mask.shape else last.flatten(0, -2)


def _projection(
    loss: nn.Module, student: Tensor, teacher: Tensor, mask: Tensor | None, project: bool | None, widths: bool = False
) -> nn.Module:
    """Make the map from the student's width to the teacher's: learned, or the identity.

    Raises:
        UserError: other dimensions differ, or the widths and no projection is allowed.
    """
    rest = [[size for axis, size in enumerate(x.shape) if axis != _channel(x)] for x in (student, teacher)]
    same = student.shape == teacher.shape
    if student.ndim < 2 or rest[0] != rest[1] or (project is False and not same and not widths):
        raise unmatched(loss, student, teacher, "shapes that differ in the number of features at most")
    if project is False or (project is None and same):
        return nn.Identity()
    return Projection(student, teacher, mask)


def unmatched(loss: nn.Module, student: Tensor, teacher: Tensor, expected: str) -> UserError:
    """Make the error for shapes that a loss cannot compare."""
    found = f"student {tuple(student.shape)}, teacher {tuple(teacher.shape)}"
    return UserError(f"{type(loss).__name__} cannot compare these shapes", found=found, expected=expected)


def _standard(x: Tensor) -> Tensor:
    """Apply a layer norm without parameters over the features."""
    return F.layer_norm(x.movedim(_channel(x), -1), (x.shape[_channel(x)],)).movedim(-1, _channel(x))


def _mean_over_tokens(values: Tensor, mask: Tensor | None) -> Tensor:
    """Average over real tokens the mean over features of ``(B, T, …)``."""
    if mask is None:
        return values.mean()
    real = mask.to(values.dtype).unsqueeze(-1)
    # (B, T, H): divided by what is real, not by what was padded.
    return (values * real).sum() / (real.sum() * values.shape[-1])
