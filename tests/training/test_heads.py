"""Losses of the three tasks against their formulas, written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special

from imbik.errors import UserError
from imbik.training.heads import head_of, softened_kl
from imbik.training.losses import distillation_loss, label_loss

RNG = np.random.default_rng(0)
STUDENT, TEACHER = RNG.normal(size=(7, 4)), RNG.normal(size=(7, 4))


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def softmax_kl(temperature: float) -> float:
    """T² · Σ p log(p / q), mean over the batch."""
    p, q = (special.softmax(logits / temperature, axis=1) for logits in (TEACHER, STUDENT))
    return float(temperature**2 * (p * np.log(p / q)).sum(1).mean())


def bernoulli_kl(temperature: float) -> float:
    """T² · Σ over labels of the KL of two Bernoullis, mean over the batch."""
    p, q = (special.expit(logits / temperature) for logits in (TEACHER, STUDENT))
    return float(temperature**2 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(1).mean())


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize(("task", "formula"), [("classification", softmax_kl), ("multi-label", bernoulli_kl)])
def test_distillation_by_the_formula(task, formula, temperature):
    assert float(distillation_loss(task, *tensors(STUDENT, TEACHER), temperature)) == pytest.approx(formula(temperature), rel=1e-9)


def test_the_gradient_of_softened_probabilities_keeps_its_size():
    """At a high temperature the gradient is (z_S - z_T) / L up to the mean over the batch (Hinton et al. 2015, equation 4)."""
    student, teacher = tensors(STUDENT - STUDENT.mean(1, keepdims=True), TEACHER - TEACHER.mean(1, keepdims=True))
    student.requires_grad_(True)
    softened_kl(student, teacher, 500.0).backward()
    np.testing.assert_allclose(student.grad.numpy(), (student.detach() - teacher).numpy() / 4 / 7, rtol=0.05, atol=1e-3)


def test_regression_squares_both_errors():
    values, targets = STUDENT[:, :1], TEACHER[:, 0]
    assert float(label_loss("regression", *tensors(values, targets))) == pytest.approx(np.mean((values[:, 0] - targets) ** 2))
    soft = distillation_loss("regression", *tensors(values, TEACHER[:, :1]), 7.0)
    assert float(soft) == pytest.approx(np.mean((values - TEACHER[:, :1]) ** 2))


def test_labels_by_the_formula():
    classes = RNG.integers(0, 4, 7)
    expected = -np.mean(special.log_softmax(STUDENT, axis=1)[np.arange(7), classes])
    assert float(label_loss("classification", *tensors(STUDENT, classes))) == pytest.approx(expected)
    on = (RNG.random((7, 4)) < 0.4).astype(float)
    p = special.expit(STUDENT)
    expected = -np.mean(on * np.log(p) + (1 - on) * np.log(1 - p))
    assert float(label_loss("multi-label", *tensors(STUDENT, on))) == pytest.approx(expected)


def test_a_task_without_a_head_is_refused():
    with pytest.raises(UserError, match="no head is registered"):
        head_of("translation")
