"""Losses against labels and against a teacher's outputs, by the name of the task."""

from __future__ import annotations

from torch import Tensor

from imbik.models.inputs import Tensors
from imbik.training.heads import head_of


def label_loss(task: str, outputs: Tensors, targets: Tensor) -> Tensor:
    """Compute a task's loss against labels, a scalar.

    Cross-entropy (classification); binary cross-entropy per label (multi-label); squared error (regression).

    Args:
        task: its name.
        outputs: logits ``(B, L)``; several tensors by name for a task whose models give several.
        targets: ``(B,)`` int64, ``(B, L)`` float 0/1, or ``(B,)`` float.

    >>> import torch
    >>> from imbik.tasks.classification import CLASSIFICATION
    >>> round(float(label_loss(CLASSIFICATION, torch.tensor([[0.0, 0.0]]), torch.tensor([1]))), 4)
    0.6931
    """
    return head_of(task).loss(outputs, targets)


def distillation_loss(task: str, student: Tensors, teacher: Tensors, temperature: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """Compute a task's loss of the student's outputs against the teacher's, a scalar that is zero when they agree.

    Classification: :func:`imbik.training.heads.softened_kl`. Multi-label: the same with a sigmoid per label (T² · KL of Bernoullis,
    summed over labels, mean over the batch). Regression: mean squared difference; the temperature is not used.

    Args:
        task: its name.
        student, teacher: logits ``(B, L)``; several tensors by name for a task whose models give several.
        temperature: T > 0.
        mask: ``(B, T)``, 1 where a token is no padding; needed by tasks whose outputs are per token.

    >>> import torch
    >>> from imbik.tasks.classification import CLASSIFICATION
    >>> z = torch.tensor([[1.0, 2.0, 0.5]])
    >>> float(distillation_loss(CLASSIFICATION, z, z, 2.0))
    0.0
    """
    return head_of(task).distillation_loss(student, teacher, temperature, mask)
