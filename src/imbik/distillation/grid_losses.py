"""Losses of detectors, whose answer is a grid: of each cell the logits of classes and a box."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imbik.distillation.feature_losses import unmatched
from imbik.errors import UserError


class TrustedBoxes(nn.Module):
    """Difference of boxes on the cells where the teacher trusts its own: Σ_c t_c ℓ(b_S, b_T) / Σ_c t_c.

    t_c is how sure the teacher is that there is something in a cell: 1 - p(nothing) (the objectness that scales boxes in Mehta, Ozturk
    2018, arXiv 1805.06361). ℓ is the mean of |b_S - b_T| over the four numbers of a box, or, for detectors that give a distribution over
    n distances for each side (Li et al. 2020, arXiv 2006.04388), the mean over the sides of KL(softmax b_T ‖ softmax b_S) (Zheng et al.
    2022, arXiv 2102.12252).

    Both states are ``(B, C + 4 n, …)`` for any shape of the grid: C logits of classes, then the boxes.

    Args:
        classes: C.
        nothing: the last of the classes is *nothing*, and they are exclusive; False: each is judged for itself, and t_c is the largest
            of their sigmoids.
        bins: n; 1: the four numbers themselves.

    >>> teacher = torch.tensor([9.0, -9.0, 1.0, 1.0, 2.0, 2.0]).reshape(1, 6, 1, 1)
    >>> round(float(TrustedBoxes(2)(teacher + torch.tensor([0.0, 0, 0, 0, 0, 2]).reshape(1, 6, 1, 1), teacher)), 3)
    0.5
    """

    def __init__(self, classes: int, nothing: bool = True, bins: int = 1) -> None:
        super().__init__()
        if classes < 1 + nothing or bins < 1:
            found = f"classes {classes}, nothing {nothing}, bins {bins}"
            raise UserError(
                "a detector has one class or more", where="TrustedBoxes", found=found, expected="classes beside nothing; bins from 1"
            )
        self.classes, self.nothing, self.bins = classes, nothing, bins

    def bind(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> None:
        """Check the shapes: the same, with classes and boxes as channels.

        Raises:
            UserError: other shapes.
        """
        channels = self.classes + 4 * self.bins
        if student.ndim < 3 or student.shape != teacher.shape or student.shape[1] != channels:
            raise unmatched(self, student, teacher, f"the same shape of both, with {channels} channels: (B, {channels}, …)")

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        logits = teacher[:, : self.classes].float()
        trust = 1 - logits.softmax(1)[:, -1] if self.nothing else logits.sigmoid().amax(1)
        found, wanted = (x[:, self.classes :].float().unflatten(1, (4, self.bins)) for x in (student, teacher))
        if self.bins == 1:
            gap = (found - wanted).abs().sum(2).mean(1)
        else:
            gap = F.kl_div(found.log_softmax(2), wanted.log_softmax(2), reduction="none", log_target=True).sum(2).mean(1)
        # where the teacher sees nothing at all there is nothing to learn, and nothing to divide by
        return torch.as_tensor((trust * gap).sum() / trust.sum().clamp_min(1e-6))
