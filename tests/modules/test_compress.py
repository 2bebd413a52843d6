"""imbik.compress_module: steps behind one another, sharing, codebooks, recovery, and what is refused before anything runs."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import NAMES, network
from torch import nn

import imbik
from imbik.errors import UserError
from imbik.models.layers.clustered import expanded
from imbik.models.layers.clustered_conv import ClusteredConv
from imbik.modules.arguments import outputs_of


@pytest.mark.parametrize("name", NAMES)
def test_steps_behind_one_another(name):
    model, example = network(name)
    made = imbik.compress_module(model, example, [{"prune": {"amount": 0.25}}, {"low_rank": {"share": 0.6}}, "cluster"])
    sizes = [size for report in made.steps for size in report.parameters]
    assert sizes[0] > sizes[1] == sizes[2] > sizes[3] == sizes[4] > sizes[5] == made.parameters
    assert made.model(example).shape == model(example).shape and not made.model.training
    again = copy.deepcopy(made.model)
    again.load_state_dict(made.model.state_dict())
    torch.testing.assert_close(again(example), made.model(example))


@pytest.mark.parametrize("make", [lambda: nn.Conv2d(8, 32, 3, 2, 1), lambda: nn.Conv1d(16, 32, 5, padding="same", groups=2, bias=False)])
def test_a_clustered_convolution_computes_with_few_values_and_trains_them(make):
    torch.manual_seed(0)
    conv = make()
    x = torch.randn(2, conv.in_channels, *([12] * (conv.weight.ndim - 2)))
    layer = imbik.compress_module(nn.Sequential(conv), x, [{"cluster": {"values": 8}}]).model[0]
    assert isinstance(layer, ClusteredConv) and len(layer.weight.unique()) == 8
    plain = expanded(nn.Sequential(layer))[0]
    assert type(plain) is type(conv)
    torch.testing.assert_close(layer(x), plain(x))
    layer(x).square().sum().backward()
    assert layer.codebook.grad is not None and (layer.codebook.grad != 0).any()
    again = ClusteredConv(**layer.arguments)
    again.load_state_dict(layer.state_dict())
    torch.testing.assert_close(again(x), layer(x))


@pytest.mark.parametrize("init", ["mean", "first", "best"])
def test_like_blocks_use_one_set_of_weights_and_batch_norms_of_their_own(init):
    model, example = network("cnn")
    made = imbik.compress_module(model, example, [{"share": {"init": init}}])
    small = made.model
    assert set(made.steps[0].layers) == {"a.1", "a.2", "b.2"}
    assert small.a[0].conv1.weight is small.a[2].conv1.weight and small.a[0].bn1.weight is not small.a[1].bn1.weight
    for place in range(3):
        torch.testing.assert_close(small.a[place].bn1.running_mean, model.a[place].bn1.running_mean)
    starts = {"mean": sum(block.conv1.weight for block in model.a) / 3, "first": model.a[0].conv1.weight}
    if init in starts:
        torch.testing.assert_close(small.a[1].conv1.weight, starts[init])
    saved = sum(p.numel() for block in (model.a[1], model.a[2], model.b[2]) for p in block.parameters() if p.ndim == 4)
    assert made.steps[0].parameters[0] - made.parameters == saved


def test_the_best_start_is_the_one_that_moves_answers_least():
    model, example = network("vit")
    moved = {}
    for init in ("mean", "first", "best"):
        small = imbik.compress_module(model, example, [{"share": {"init": init, "stacks": ["blocks"]}}]).model
        moved[init] = float((small(example) - model(example)).detach().square().sum())
    assert moved["best"] == pytest.approx(min(moved["mean"], moved["first"]))
    with pytest.raises(UserError, match="no two like blocks"):
        imbik.compress_module(model, example, [{"share": {"stacks": ["blocks.0.mlp"]}}])


def test_recovery_brings_answers_back_and_reports_both():
    torch.manual_seed(0)
    model, _ = network("mlp")
    x = torch.randn(512, 64)
    loader = list(x.split(64))

    def evaluate(one):
        with torch.no_grad():
            return -float((one(x) - model(x)).square().mean())

    made = imbik.compress_module(model, x[:2], [{"prune": {"amount": 0.3}}], loader=loader, evaluate=evaluate, recover={"epochs": 5})
    report = made.steps[0]
    assert made.quality == 0 and report.quality > 0.5 * report.before_recovery and report.quality == pytest.approx(evaluate(made.model))
    plain = imbik.compress_module(model, x[:2], [{"prune": {"amount": 0.3}}], evaluate=evaluate).steps[0]
    assert plain.before_recovery is None and plain.quality == pytest.approx(report.before_recovery)


def test_the_same_seed_gives_the_same_module_and_leaves_the_users_draws_alone():
    model, example = network("cnn")
    steps = [{"prune": {"scope": "network"}}, {"low_rank": {"budget": 0.6}}]
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append((imbik.compress_module(model, example, steps).model(example), torch.rand(1)))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


def test_outputs_have_names():
    tensor = torch.zeros(1)
    assert outputs_of((tensor, {"a": [tensor, None]})).keys() == {"output.0", "output.1.a.0"} and outputs_of(tensor).keys() == {"output"}


def test_what_is_wrong_is_told_before_anything_is_done():
    model, example = network("mlp")

    def refused(match, steps=("prune",), given=example, **more):
        with pytest.raises(UserError, match=match) as error:
            imbik.compress_module(model, given, steps, **more)
        return str(error.value)

    assert "low_rank" in refused("unknown step", ["lowrank"])
    refused("nothing to do", [])
    refused("must name one method", [{"prune": {}, "share": {}}])
    refused("must be a mapping", [{"prune": 3}])
    refused("unknown setting", [{"prune": {"amounts": 3}}])
    refused("wrong setting", [{"prune": {"amount": 3}}])
    assert "prune" in refused("cannot follow", ["cluster", "prune"])
    refused("does not take this example", given=(example, example))
    refused("is no tensor", given=[3])
    refused("does not run", given=torch.zeros(2, 63))
    refused("needs data", recover={})
    refused("unknown field", recover={"epoch": 3}, loader=[example])
    refused("no such module", opaque=["nowhere"])
    refused("has no batch", loader=[])
    refused("does not take a batch", loader=[{"y": example}])
    # the first of a tuple is what a network takes, unless it is said otherwise
    two = nn.Bilinear(4, 4, 2)
    with pytest.raises(UserError, match=r"does not take a batch of the loader. Found: missing a required argument: .input2"):
        imbik.compress_module(two, (example[:, :4], example[:, :4]), ["cluster"], loader=[(example[:, :4], example[:, :4])])


def test_a_batch_may_be_a_tuple_of_inputs_where_that_is_said():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Linear(64, 64), nn.Linear(64, 64)

        def forward(self, x, y):
            return self.one(x).relu() + self.other(y).relu()

    x, y = torch.randn(2, 40, 64)
    made = imbik.compress_module(Two(), (x, y), [{"low_rank": {"budget": 0.6}}], loader=[(x, y)], inputs=lambda batch: batch)
    assert made.parameters < 0.65 * 2 * 64 * 65
