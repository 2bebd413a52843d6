"""Losses of the three tasks against their formulas, written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn

from imbik.errors import UserError
from imbik.training.heads import IGNORED, head_of, softened_kl
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


def test_the_temperature_is_one_unless_it_is_given():
    assert float(distillation_loss("multi-label", *tensors(STUDENT, TEACHER))) == pytest.approx(bernoulli_kl(1.0), rel=1e-9)


def test_targets_that_are_ignored_are_those_that_pytorch_ignores():
    assert nn.CrossEntropyLoss().ignore_index == IGNORED


class Three(nn.Module):
    """Linears of three outputs, inside, at the end, and one without a bias behind it."""

    def __init__(self):
        super().__init__()
        self.inner, self.wide, self.head, self.plain = nn.Linear(2, 3), nn.Linear(3, 5), nn.Linear(5, 3), nn.Linear(3, 3, bias=False)


def test_a_multi_label_head_starts_at_the_log_odds_of_each_label():
    """log(p / (1 - p)) of the share of rows that have the label (Lin et al. 2017, section 4.1); inner matrices stay as they are."""
    on = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]])
    model = Three()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    head_of("multi-label").prepare(model, on)
    found = model.head.bias.detach().numpy()
    assert found[2] == pytest.approx(special.logit(0.2), rel=1e-6)
    # labels that every row has, or none: far off and finite, so that they can still be learned
    assert found[0] == pytest.approx(special.logit(1 - 1e-4), rel=1e-4) and found[1] == pytest.approx(special.logit(1e-4), rel=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items() if name != "head.bias")


def test_a_head_without_a_bias_and_the_heads_of_other_tasks_start_as_they_are():
    for task, model in (("multi-label", nn.Sequential(nn.Linear(2, 3, bias=False))), ("classification", Three())):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        head_of(task).prepare(model, np.array([[1, 0, 1], [0, 0, 1]]))
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_task_without_a_head_is_refused():
    with pytest.raises(UserError, match="no head is registered"):
        head_of("translation")
