"""Losses against labels and against a teacher's logits, per task."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from imbik.types import TaskName


def label_loss(task: TaskName, logits: Tensor, targets: Tensor) -> Tensor:
    """Loss against labels, a scalar: cross-entropy; binary cross-entropy per label (multi-label); squared error (regression).

    Args:
        task: see :data:`imbik.types.TaskName`.
        logits: ``(B, L)``.
        targets: ``(B,)`` int64, ``(B, L)`` float 0/1, or ``(B,)`` float.

    >>> round(float(label_loss("classification", torch.tensor([[0.0, 0.0]]), torch.tensor([1]))), 4)
    0.6931
    """
    if task == "classification":
        return F.cross_entropy(logits, targets)
    if task == "multi-label":
        return F.binary_cross_entropy_with_logits(logits, targets)
    return F.mse_loss(logits.squeeze(-1), targets)


def distillation_loss(task: TaskName, student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Loss of the student's logits against the teacher's, a scalar that is zero when they agree.

    Classification (Hinton et al. 2015, arXiv 1503.02531): T² · KL(softmax(teacher / T) ‖ softmax(student / T)), mean over the batch;
    the factor T² keeps the gradient's size independent of T. It differs from the soft cross-entropy by the teacher's entropy, a
    constant. Multi-label: the same with a sigmoid per label (T² · KL of Bernoullis, summed over labels, mean over the batch).
    Regression: mean squared difference; the temperature has no meaning and is not used.

    Args:
        task: see :data:`imbik.types.TaskName`.
        student: ``(B, L)`` logits.
        teacher: ``(B, L)`` logits.
        temperature: T > 0.

    >>> z = torch.tensor([[1.0, 2.0, 0.5]])
    >>> float(distillation_loss("classification", z, z, 2.0))
    0.0
    """
    if task == "regression":
        return F.mse_loss(student, teacher)
    if task == "classification":
        log_teacher = F.log_softmax(teacher / temperature, dim=-1)
        log_student = F.log_softmax(student / temperature, dim=-1)
        divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    else:
        soft = torch.sigmoid(teacher / temperature)
        entropy = F.binary_cross_entropy_with_logits(teacher / temperature, soft, reduction="sum")
        crossed = F.binary_cross_entropy_with_logits(student / temperature, soft, reduction="sum")
        divergence = (crossed - entropy) / len(student)
    return divergence * temperature**2
