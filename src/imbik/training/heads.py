"""The torch face of each task: its losses against labels and against a teacher.

A head is registered beside its task of :mod:`imbik.tasks`, which says what its models give and how they are loaded. A package of
one's own announces its heads by the entry point group ``imbik.heads``, whose value is the module that registers them.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from imbik.errors import UserError
from imbik.models.facts import set_decision
from imbik.models.inputs import Tensors
from imbik.models.units import Units, answer_in, units_of
from imbik.tasks.classification import CLASSIFICATION, IMAGE_CLASSIFICATION
from imbik.tasks.embedding import EMBEDDING
from imbik.tasks.multi_label import MULTI_LABEL
from imbik.tasks.question_answering import QUESTION_ANSWERING
from imbik.tasks.regression import REGRESSION
from imbik.tasks.token_classification import TOKEN_CLASSIFICATION

IGNORED = -100
"""A target that is not to be learned, as transformers has it."""

_RELATIONS = 10.0
"""λ, the weight of the relations between the texts of a batch: their differences are squares of hundredths."""

_NEVER = -1e4
"""A logit that no softmax gives a share, finite in every precision."""


class Head(ABC):
    """Losses of one task. Outputs are what :func:`imbik.models.inputs.read_outputs` gives: a tensor, or several by name."""

    @abstractmethod
    def loss(self, outputs: Tensors, targets: Tensor) -> Tensor:
        """Compute the loss against labels, a scalar.

        Args:
            outputs: ``(B, …)``, or ``(B, T, …)`` per token.
            targets: ``(B, …)`` as the task's ``token_targets`` gave them; ragged ones are padded to ``(B, T)`` with :data:`IGNORED`.
        """

    @abstractmethod
    def distillation_loss(self, student: Tensors, teacher: Tensors, temperature: float, mask: Tensor | None = None) -> Tensor:
        """Compute the loss of the student's outputs against the teacher's, a scalar that is zero when they agree.

        Args:
            student, teacher: outputs of the same rows, padded alike.
            temperature: T > 0.
            mask: ``(B, T)``, 1 where a token is no padding; given where outputs are per token.
        """

    def labelled(self, targets: Tensor) -> int:
        """Return how many things :meth:`loss` is the mean over: rows, unless a task overrides it."""
        return len(targets)

    def answered(self, rows: int, mask: Tensor | None) -> int:
        """Return how many things :meth:`distillation_loss` is the mean over: rows, unless a task overrides it."""
        return rows

    def prepare(self, model: nn.Module, targets: NDArray[np.generic]) -> None:  # noqa: B027  most heads have nothing to prepare
        """Change a new head before it is trained, knowing the targets of train; nothing unless a task overrides it."""

    def unit(self, model: nn.Module) -> float:
        """Return what a loss of this model is divided by, so that its size is the same whatever the targets are counted in."""
        return 1.0


_HEADS: dict[str, Head] = {}
_Class = TypeVar("_Class", bound=type[Head])


def register_head(task: str) -> Callable[[_Class], _Class]:
    """Register a class of heads for the task of this name (a decorator)."""

    def register(cls: _Class) -> _Class:
        _HEADS[task] = cls()
        return cls

    return register


@functools.cache
def _import_announced() -> None:
    for point in entry_points(group="imbik.heads"):
        point.load()


def head_of(task: str) -> Head:
    """Return the head of a task.

    Raises:
        UserError: none is registered: the task can be measured, not trained.
    """
    _import_announced()
    if task not in _HEADS:
        raise UserError(
            "no head is registered for this task",
            where="imbik.training.heads",
            found=task,
            expected=" or ".join(_HEADS),
            fix=f"write its losses under @register_head({task!r})",
        )
    return _HEADS[task]


def only(outputs: Tensors) -> Tensor:
    """Return the one tensor that a model gives."""
    assert not isinstance(outputs, Mapping)
    return outputs


@register_head(IMAGE_CLASSIFICATION)
@register_head(CLASSIFICATION)
class ClassificationHead(Head):
    """Cross-entropy, and the softened cross-entropy of Hinton et al. 2015."""

    def loss(self, outputs: Tensors, targets: Tensor) -> Tensor:
        """Compute the cross-entropy of logits ``(B, L)`` against label indices ``(B,)``."""
        return F.cross_entropy(only(outputs), targets)

    def distillation_loss(self, student: Tensors, teacher: Tensors, temperature: float, mask: Tensor | None = None) -> Tensor:
        """Compute :func:`softened_kl` of logits ``(B, L)``."""
        return softened_kl(only(student), only(teacher), temperature)


@register_head(MULTI_LABEL)
class MultiLabelHead(Head):
    """The same with a sigmoid per label."""

    def loss(self, outputs: Tensors, targets: Tensor) -> Tensor:
        """Compute the binary cross-entropy of logits ``(B, L)`` against 0/1 ``(B, L)``."""
        return F.binary_cross_entropy_with_logits(only(outputs), targets)

    def distillation_loss(self, student: Tensors, teacher: Tensors, temperature: float, mask: Tensor | None = None) -> Tensor:
        """Compute T² · KL of Bernoullis, summed over labels, mean over the batch."""
        ours = only(student)
        theirs = only(teacher)
        # (B, L)
        soft = torch.sigmoid(theirs / temperature)
        # the teacher's own entropy is taken off, so that agreement is 0 and not a constant above it
        entropy = F.binary_cross_entropy_with_logits(theirs / temperature, soft, reduction="sum")
        crossed = F.binary_cross_entropy_with_logits(ours / temperature, soft, reduction="sum")
        return (crossed - entropy) / len(ours) * temperature**2

    def prepare(self, model: nn.Module, targets: NDArray[np.generic]) -> None:
        """Start from the labels' frequencies."""
        start_from_priors(model, targets)


@register_head(REGRESSION)
class RegressionHead(Head):
    """Squared errors; a temperature has no meaning and is not used.

    A model that is trained here computes standardized values inside, see :mod:`imbik.models.units`.
    """

    def loss(self, outputs: Tensors, targets: Tensor) -> Tensor:
        """Compute the mean squared error of ``(B, 1)`` against values ``(B,)``."""
        return F.mse_loss(only(outputs).squeeze(-1), targets)

    def distillation_loss(self, student: Tensors, teacher: Tensors, temperature: float, mask: Tensor | None = None) -> Tensor:
        """Compute the mean squared difference of ``(B, 1)``."""
        return F.mse_loss(only(student), only(teacher))

    def prepare(self, model: nn.Module, targets: NDArray[np.generic]) -> None:
        """Let the model answer in the units of the targets, and start at their mean."""
        answer_in(model, Units.of(targets))

    def unit(self, model: nn.Module) -> float:
        """Return the variance of the targets that the model was made for."""
        units = units_of(model.config)
        return 1.0 if units is None else units.scale**2


@register_head(TOKEN_CLASSIFICATION)
class TokenClassificationHead(Head):
    """Cross-entropy of the words' first tokens; against a teacher, every token's softened cross-entropy."""

    def loss(self, outputs: Tensors, targets: Tensor) -> Tensor:
        """Compute the cross-entropy of logits ``(B, T, L)`` against label indices ``(B, T)``, mean over the labelled tokens."""
        logits = only(outputs).flatten(0, 1)
        total = F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, reduction="sum")
        # a window may hold no labelled token: a mean would be 0 / 0
        return total / (targets != IGNORED).sum().clamp(min=1)

    def labelled(self, targets: Tensor) -> int:
        """Return how many tokens are labelled."""
        return int((targets != IGNORED).sum())

    def answered(self, rows: int, mask: Tensor | None) -> int:
        """Return how many tokens are no padding."""
        assert mask is not None
        return int(mask.sum())

    def distillation_loss(self, student: Tensors, teacher: Tensors, temperature: float, mask: Tensor | None = None) -> Tensor:
        """Compute :func:`softened_kl` of the tokens' logits, mean over all that are no padding."""
        assert mask is not None, "tokens of padding teach nothing: the mask says which they are"
        real = mask.bool()
        return softened_kl(only(student)[real], only(teacher)[real], temperature)


@register_head(QUESTION_ANSWERING)
class QuestionAnsweringHead(Head):
    """Cross-entropy over the tokens, of an answer's first and last one; the first token of all stands for no answer."""

    def loss(self, outputs: Tensors, targets: Tensor) -> Tensor:
        """Compute the mean cross-entropy of start and end logits ``(B, T)`` against tokens ``(B, 2)``."""
        ends = self._ends(outputs)
        return (F.cross_entropy(ends[0], targets[:, 0]) + F.cross_entropy(ends[1], targets[:, 1])) / 2

    def distillation_loss(self, student: Tensors, teacher: Tensors, temperature: float, mask: Tensor | None = None) -> Tensor:
        """Compute the mean :func:`softened_kl` of the two distributions over the tokens that are no padding."""
        assert mask is not None, "tokens of padding are no answer: the mask says which they are"
        padding = mask == 0
        pairs = zip(self._ends(student), self._ends(teacher), strict=True)
        terms = [softened_kl(ours.masked_fill(padding, _NEVER), theirs.masked_fill(padding, _NEVER), temperature) for ours, theirs in pairs]
        return (terms[0] + terms[1]) / 2

    def prepare(self, model: nn.Module, targets: NDArray[np.generic]) -> None:
        """Let the model give no answer where one is at least as likely, if train has questions without one."""
        if any(len(row) == 0 for row in targets):
            set_decision(model, 0.0)

    def _ends(self, outputs: Tensors) -> tuple[Tensor, Tensor]:
        assert isinstance(outputs, Mapping)
        return outputs["start_logits"], outputs["end_logits"]


@register_head(EMBEDDING)
class EmbeddingHead(Head):
    """Cosine and squared distance of vectors, and how alike the texts of a batch are; a temperature has no meaning and is not used."""

    def loss(self, outputs: Tensors, targets: Tensor) -> Tensor:
        """Compute the squared distance of vectors ``(B, D)`` from vectors ``(B, D)``, over the mean square of these."""
        return (only(outputs) - targets).square().mean() / targets.square().mean().clamp_min(1e-12)

    def distillation_loss(self, student: Tensors, teacher: Tensors, temperature: float, mask: Tensor | None = None) -> Tensor:
        """Compute 1 - cos + |s - t|² / mean |t|² + λ mean (cos(s_i, s_j) - cos(t_i, t_j))² of vectors ``(B, D)``, i and j of one batch."""
        ours, theirs = only(student), only(teacher)
        return (1 - F.cosine_similarity(ours, theirs)).mean() + self.loss(ours, theirs) + self.relations(ours, theirs)

    def comparable(self, teacher: Tensor) -> Tensor:
        """Return vectors of the teacher as the student's are compared with them."""
        return teacher

    def relations(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute λ mean (cos(s_i, s_j) - cos(t_i, t_j))² of vectors ``(B, …)``, which need not be as wide as one another.

        What is asked of vectors is which of two texts is nearer, which no distance of single vectors states.
        """
        own, wanted = F.normalize(student, dim=-1), F.normalize(teacher, dim=-1)
        return _RELATIONS * (own @ own.T - wanted @ wanted.T).square().mean()


def softened_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Compute T² · KL(softmax(teacher / T) ‖ softmax(student / T)), mean over the batch (Hinton et al. 2015, arXiv 1503.02531).

    The factor T² keeps the gradient's size independent of T. It differs from the soft cross-entropy by the teacher's entropy, a
    constant.

    Args:
        student, teacher: logits ``(B, L)``.
        temperature: T > 0.

    >>> float(softened_kl(torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]]), 2.0))
    0.0
    """
    log_teacher = F.log_softmax(teacher / temperature, dim=-1)
    log_student = F.log_softmax(student / temperature, dim=-1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2


@torch.no_grad()
def start_from_priors(model: nn.Module, targets: NDArray[np.generic]) -> None:
    """Set the head's bias to the log-odds of each label, so that training does not begin by unlearning 0.5 for all of them.

    The start that Lin et al. 2017 (arXiv 1708.02002, section 4.1) give to rare classes.

    Args:
        model: a classifier whose last Linear gives the ``L`` logits.
        targets: ``(N, L)`` of 0/1.
    """
    heads = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == targets.shape[1] and m.bias is not None]
    # a label that train never shows would start at minus infinity, and never learn
    share = torch.from_numpy(targets.mean(axis=0)).clamp(1e-4, 1 - 1e-4)
    if heads:
        # the last one: an inner matrix may happen to have L outputs too
        heads[-1].bias.copy_(torch.log(share / (1 - share)))
