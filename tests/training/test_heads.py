"""Losses of the three tasks against their formulas, written out in NumPy."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn

from imbik.errors import UserError
from imbik.models.facts import DECISION_KEY
from imbik.testing.tiny import tiny_bert
from imbik.training.heads import IGNORED, head_of, softened_kl
from imbik.training.losses import distillation_loss, label_loss, moved

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


def test_words_are_learned_by_their_labelled_tokens_and_a_row_without_any_teaches_nothing():
    """The mean over labelled tokens of all rows, and not of each row."""
    logits = RNG.normal(size=(3, 5, 4))
    targets = np.full((3, 5), IGNORED)
    targets[0, 1], targets[0, 3], targets[2, 0] = 2, 0, 3
    terms = [-special.log_softmax(logits[row, token])[targets[row, token]] for row, token in ((0, 1), (0, 3), (2, 0))]
    head = head_of("token-classification")
    assert float(head.loss(*tensors(logits, targets))) == pytest.approx(np.mean(terms)) and head.labelled(torch.from_numpy(targets)) == 3
    assert float(head.loss(*tensors(logits[:1], targets[:1]))) == pytest.approx(np.mean(terms[:2]))
    assert float(head.loss(*tensors(logits[2:], targets[2:]))) == pytest.approx(terms[2]), "of a single token: the token's"
    assert float(head.loss(*tensors(logits[1:2], targets[1:2]))) == 0.0


MASK = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])


def spans() -> dict[str, np.ndarray]:
    return {name: RNG.normal(size=(3, 5)) for name in ("start_logits", "end_logits")}


def as_tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def test_an_answer_is_learned_by_its_first_and_its_last_token():
    outputs, targets = spans(), np.array([[1, 3], [0, 1], [2, 4]])
    ends = [-special.log_softmax(outputs[name], axis=1)[range(3), targets[:, end]].mean() for end, name in enumerate(outputs)]
    assert float(head_of("question-answering").loss(as_tensors(outputs), torch.from_numpy(targets))) == pytest.approx(np.mean(ends))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_what_a_teacher_says_of_an_answer_is_a_distribution_over_real_tokens(temperature):
    student, teacher = spans(), spans()
    expected = 0.0
    for name in student:
        for row in range(3):
            real = MASK[row] == 1
            p, q = (special.softmax(outputs[name][row, real] / temperature) for outputs in (teacher, student))
            expected += temperature**2 * (p * np.log(p / q)).sum() / 3 / 2
    mask = torch.from_numpy(MASK)
    found = distillation_loss("question-answering", as_tensors(student), as_tensors(teacher), temperature, mask=mask)
    assert float(found) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(AssertionError, match="padding"):
        distillation_loss("question-answering", as_tensors(student), as_tensors(teacher))


def test_softened_probabilities_lie_along_the_last_axis():
    student, teacher = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 3, 4))
    p, q = (special.softmax(logits / 2.0, axis=-1) for logits in (teacher, student))
    assert float(softened_kl(*tensors(student, teacher), 2.0)) == pytest.approx(4 * (p * np.log(p / q)).sum() / 2, rel=1e-6)


def test_how_far_tokens_moved_is_their_mean_without_padding():
    """Ragged outputs: a row has as many tokens as its text."""
    after, before = ([RNG.normal(size=(size, 4)).astype(np.float32) for size in (2, 5, 1)] for _ in range(2))
    p, q = (special.softmax(np.concatenate(rows).astype(float), axis=1) for rows in (before, after))
    ragged = [np.array([None] * 3, object) for _ in range(2)]
    for array, rows in zip(ragged, (after, before), strict=True):
        array[:] = rows
    assert moved("token-classification", *ragged) == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-4)
    assert moved("classification", STUDENT, TEACHER) == pytest.approx(softmax_kl(1.0))


def test_a_model_of_questions_may_give_no_answer_where_train_has_none():
    for targets, decides in (([np.zeros((1, 2)), np.zeros((0, 2))], True), ([np.zeros((1, 2)), np.ones((2, 2))], False)):
        model = SimpleNamespace(config=SimpleNamespace())
        head_of("question-answering").prepare(model, np.array([*targets, None], object)[:2])
        assert hasattr(model.config, DECISION_KEY) is decides


def test_squared_errors_are_counted_in_units_of_the_targets():
    head, model = head_of("regression"), SimpleNamespace(config=SimpleNamespace())
    assert head.unit(model) == 1.0
    tiny = tiny_bert(layers=1, task="regression")
    head.prepare(tiny.model, np.array([100.0, 300.0, 500.0], np.float32))
    assert head.unit(tiny.model) == pytest.approx(np.var([100.0, 300.0, 500.0]), rel=1e-5)


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
