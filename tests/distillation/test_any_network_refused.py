"""imbik.distill in the hands of a stranger: every slip gets one message before training, and both networks stay as they were."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import imbik
from imbik.distillation.transfer import Modules
from imbik.errors import UserError
from imbik.models.hooks import Tap, capture

OUTPUT = ("", "")


class Own(nn.Module):
    """A loss of the user's own."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, student, teacher, mask=None):
        return self.function(student, teacher)


class Changing(nn.Sequential):
    """Gives a scalar while it trains, as detectors give their losses."""

    def forward(self, x):
        out = super().forward(x)
        return out.sum() if self.training else out


class Dry:
    """Promises batches and gives none."""

    def __len__(self):
        return 3

    def __iter__(self):
        return iter(())


def networks():
    torch.manual_seed(0)
    teacher, student = (nn.Sequential(nn.Linear(4, n), nn.Dropout(), nn.ReLU(), nn.Linear(n, 3)) for n in (16, 8))
    teacher.train()
    teacher[1].eval()  # a mode of its own
    return teacher, student


def run(losses=None, *, teacher=None, student=None, loader=None, **settings):
    ours = networks()
    teacher, student = teacher or ours[0], student or ours[1]
    losses = {OUTPUT: imbik.LogitsKL()} if losses is None else losses
    loader = [torch.randn(8, 4)] * 3 if loader is None else loader
    return imbik.distill(teacher, student, loader, losses, **{"epochs": 2, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"losses": {OUTPUT: nn.MSELoss()}}, "cannot be computed.*positional arguments"),
        ({"losses": {("0", "0"): Own(lambda a, b: (a - b).square().mean())}}, r"cannot be computed.*\(8, 8\).*\(8, 16\)"),
        ({"losses": {OUTPUT: Own(lambda a, b: 0.5)}}, "no scalar. Found: float"),
        ({"losses": {OUTPUT: Own(lambda a, b: (a - b).square())}}, r"no scalar. Found: a tensor \(8, 3\)"),
        ({"losses": {OUTPUT: Own(lambda a, b: (a - b).sum() * torch.nan)}}, "not a finite number"),
        ({"losses": {OUTPUT: Own(lambda a, b: (a.detach() - b).square().mean())}}, "no gradient"),
        ({"losses": {OUTPUT: (-1.0, imbik.LogitsKL()), ("0", "0"): imbik.HiddenMSE()}}, "weight.*-1.0"),
        ({"losses": {OUTPUT: (float("nan"), imbik.LogitsKL()), ("0", "0"): imbik.HiddenMSE()}}, "weight.*nan"),
        ({"losses": {OUTPUT: ("half", imbik.LogitsKL())}}, "weight.*'half'"),
        ({"losses": [(OUTPUT, imbik.LogitsKL())]}, "must be a mapping"),
        ({"epochs": 0}, "epochs.*0"),
        ({"epochs": 1.5}, "epochs.*1.5"),
        ({"learning_rate": -1.0}, "learning_rate.*-1.0"),
        ({"learning_rate": float("nan")}, "learning_rate.*nan"),
        ({"loader": Dry()}, "gives no batches"),
        ({"evaluate": lambda student: None}, "evaluate gives no number"),
        ({"student": Changing(*networks()[1])}, "training mode"),
    ],
)
def test_a_slip_gets_one_message(settings, message):
    with pytest.raises(UserError, match=message):
        run(**settings)


def test_a_loss_that_makes_no_sense_is_refused_where_it_is_made():
    with pytest.raises(UserError, match=r"temperature.*-1"):
        imbik.LogitsKL(-1.0)
    with pytest.raises(UserError, match=r"scores or on probabilities.*probs"):
        imbik.AttentionMSE("probs")


def test_networks_that_share_weights_are_refused_unless_those_are_frozen():
    teacher, _ = networks()
    student = nn.Sequential(teacher[0], nn.Linear(16, 3))
    with pytest.raises(UserError, match=r"share weights.*0\.weight"):
        run(teacher=teacher, student=student)
    student[0].requires_grad_(False)
    assert run(teacher=teacher, student=student).epochs == 2


@pytest.mark.parametrize(
    "losses", [{OUTPUT: imbik.LogitsKL()}, {("0", "nowhere"): imbik.HiddenMSE()}, {("nowhere", "0"): imbik.HiddenMSE()}]
)
def test_every_module_of_the_teacher_is_in_its_mode_afterwards(losses):
    teacher, student = networks()
    before = [module.training for module in teacher.modules()]
    try:
        run(losses, teacher=teacher, student=student)
    except UserError:
        assert student.training
    assert [module.training for module in teacher.modules()] == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for net in (teacher, student) for m in net.modules())


def test_a_loss_that_stands_at_two_places_has_a_projection_at_each():
    seen = []

    class Watched(imbik.HiddenMSE):
        def bind(self, student, teacher, mask=None):
            super().bind(student, teacher, mask)
            seen.append(self)

    shared = Watched()
    student = nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.ReLU(), nn.Linear(8, 5))
    run({("0", "0"): shared, ("3", "3"): shared}, student=student)
    assert [tuple(loss.projection.weight.shape) for loss in seen] == [(8, 16), (5, 3)] and seen[0] is shared


def test_what_works_in_place_behind_a_module_does_not_change_what_it_gave():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))
    x = torch.randn(8, 4)
    with capture(net, Modules(net).taps("0")) as seen:
        net(x)
    assert torch.equal(next(iter(seen.values())), net[0](x)) and net[0](x).min() < 0
    plain = copy.deepcopy(net)
    plain[1].inplace = False
    assert run({("0", "0"): imbik.HiddenMSE()}, teacher=net, student=plain).seconds >= 0
    with capture(net, [Tap("0")]) as seen:
        net(x)
    assert seen[Tap("0")].min() == 0, "without a copy it is what the ReLU left"


def test_inputs_may_be_a_tensor():
    batches = [{"image": torch.randn(8, 4), "name": "a"}] * 3
    assert run(loader=batches, inputs=lambda batch: batch["image"]).epochs == 2
