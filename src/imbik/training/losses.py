"""Losses against labels and against a teacher's outputs, by the name of the task."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from imbik.models.inputs import Tensors
from imbik.tasks.outputs import BESIDE, Outputs, is_ragged
from imbik.training.heads import head_of
from imbik.training.prediction import pad


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


def moved(task: str, after: Outputs, before: Outputs) -> float:
    """Compute how far a model's outputs of some rows moved: :func:`distillation_loss` of those after against those before."""
    (ours, mask), (theirs, _) = (_padded(outputs) for outputs in (after, before))
    return float(distillation_loss(task, ours, theirs, mask=mask))


def _padded(outputs: Outputs) -> tuple[Tensors, Tensor | None]:
    """Return outputs as a head takes them, and the mask of their tokens; None where nothing is per token."""
    arrays = {name: array for name, array in outputs.items() if name not in BESIDE} if isinstance(outputs, Mapping) else {"": outputs}
    lengths = next((np.array([len(row) for row in array]) for array in arrays.values() if is_ragged(array)), None)
    width = 0 if lengths is None else int(lengths.max())
    tensors = {name: pad(array, width, 0.0) if is_ragged(array) else torch.from_numpy(array) for name, array in arrays.items()}
    mask = None if lengths is None else torch.from_numpy(np.arange(width) < lengths[:, None])
    return (tensors if len(tensors) > 1 else next(iter(tensors.values()))), mask


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
