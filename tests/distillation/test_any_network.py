"""imbik.distill: any two PyTorch networks, proven on scikit-learn's digits; what cannot work is refused before training."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import imbik
from imbik.errors import UserError

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "any_module.py"))


@pytest.fixture(scope="module")
def digits():
    images, labels, test_images, test_labels = EXAMPLE["data"]()
    return EXAMPLE["train_teacher"](images, labels), images, labels, test_images, test_labels


def small(seed=1):
    torch.manual_seed(seed)
    return EXAMPLE["network"](8)


def test_the_example():
    result = EXAMPLE["main"]()
    assert result["teacher"] > 0.95 and result["middle layer too"] > 0.8


def test_a_student_learns_digits_from_its_teacher_alone(digits):
    teacher, images, _, test_images, test_labels = digits
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = small()
    losses = {("6", "6"): imbik.HiddenMSE(), ("", ""): (2.0, imbik.LogitsKL(4.0))}
    done = imbik.distill(teacher, student, DataLoader(images, batch_size=64, shuffle=True), losses, epochs=8, learning_rate=1e-2)
    assert EXAMPLE["accuracy"](student, test_images, test_labels) > 0.93
    assert done.epochs == done.best_epoch == 8 and len(done.history) == 8
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items()), "the teacher was changed"
    assert not any(m._forward_hooks or m._forward_pre_hooks for net in (teacher, student) for m in net.modules())
    assert sum(p.numel() for p in student.parameters()) == sum(p.numel() for p in small().parameters()), "projections stay outside"


def test_labels_the_best_epoch_and_its_running_means(digits):
    teacher, images, labels, *_ = digits
    student, scores, states = small(), [], []

    def evaluate(model):
        scores.append([0.1, 0.9, 0.3][len(scores)])
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return scores[-1]

    loader = DataLoader(TensorDataset(images, labels), batch_size=128, shuffle=True)
    done = imbik.distill(
        teacher,
        student,
        loader,
        {("", ""): imbik.LogitsKL()},
        epochs=3,
        evaluate=evaluate,
        label_loss=lambda output, batch: F.cross_entropy(output, batch[1]),
    )
    assert done.best_epoch == 2
    assert all(torch.equal(value, states[1][name]) for name, value in student.state_dict().items()), "weights and batch norms of epoch 2"


def test_the_same_seed_gives_the_same_student_and_leaves_the_users_draws_alone(digits):
    teacher, images, *_ = digits
    results = []
    for _ in range(2):
        student = small()
        torch.manual_seed(7)
        loader = DataLoader(images[:256], batch_size=64, shuffle=True)
        imbik.distill(teacher, student, loader, {("3", "3"): imbik.HiddenMSE()}, epochs=2, seed=3)
        results.append((student[0].weight.clone(), torch.rand(1)))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


def test_networks_that_take_keywords():
    class Two(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.left, self.right, self.out = nn.Linear(3, width), nn.Linear(2, width), nn.Linear(width, 4)

        def forward(self, a, b):
            return {"features": None, "logits": self.out(torch.relu(self.left(a) + self.right(b)))}

    batches = [{"a": torch.randn(8, 3), "b": torch.randn(8, 2)} for _ in range(5)]
    losses = {("left", "left"): imbik.HiddenCosine(), ("", ""): imbik.LogitsKL()}
    assert imbik.distill(Two(6), Two(4), batches, losses, epochs=1).epochs == 1
    pairs = [((batch["b"], batch["a"]),) for batch in batches]
    losses = {("out", "out"): imbik.HiddenMSE()}
    assert imbik.distill(Two(6), Two(4), pairs, losses, epochs=1, inputs=lambda batch: batch[0][::-1]).epochs == 1


def test_what_cannot_work_is_refused_before_training(digits):
    teacher, images, *_ = digits
    batches = [images[:16]]

    def run(losses, student=None, loader=batches):
        imbik.distill(teacher, student or small(), loader, losses, epochs=1)

    with pytest.raises(UserError, match="no such module") as error:
        run({("layer.3", "6"): imbik.HiddenMSE()})
    assert "0, 1, 2, 3" in str(error.value)
    with pytest.raises(UserError, match="no such module"):
        run({("6", "60"): imbik.HiddenMSE()})
    with pytest.raises(UserError, match="cannot compare these shapes"):
        run({("2", "6"): imbik.HiddenMSE()})  # 8 x 8 against 4 x 4 pixels
    with pytest.raises(UserError, match="nothing to learn"):
        run({})
    with pytest.raises(UserError, match="between two modules"):
        run({("6", "6"): 3.0})
    with pytest.raises(UserError, match="empty"):
        run({("6", "6"): imbik.HiddenMSE()}, loader=[])
    idle = small()
    idle.add_module("spare", nn.Identity())
    idle.forward = lambda x, layers=list(idle)[:-1]: nn.Sequential(*layers)(x)
    with pytest.raises(UserError, match="when the network runs"):
        run({("spare", "6"): imbik.HiddenMSE()}, idle)
    frozen = small()
    frozen.requires_grad_(False)
    frozen[9].requires_grad_(True)
    with pytest.raises(UserError, match="no gradient"):
        run({("6", "6"): imbik.HiddenMSE()}, frozen)
