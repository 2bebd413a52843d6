"""Pruned channels: the smaller tensors compute what the whole network computes without those channels."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from networks import NAMES, Text, network
from torch import nn
from torch.nn import functional as F

import imbik
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.modules.channels.follow import Channels
from imbik.modules.channels.importance import by_magnitude, by_taylor
from imbik.modules.step import Job
from imbik.modules.steps.prune import Prune, _families, follow


def job(example, **more):
    return Job(example, more.get("loader"), lambda batch: batch[0], more.get("label_loss"), None, 0, Silent())


def blind(model, found: Channels, gone):
    """The model whose weights that read the channels in ``gone`` are 0: these channels then change nothing."""
    blind = copy.deepcopy(model)
    for path, slots in found.layers.items():
        module, reads = blind.get_submodule(path), slots.inputs
        with torch.no_grad():
            if isinstance(module, nn.RNNBase):
                units = torch.from_numpy(np.isin(found.sets.roots(slots.outputs), gone))
                columns = torch.from_numpy(np.isin(found.sets.roots(reads), gone))
                for name, weight in module.named_parameters():
                    if name.startswith("weight_hh"):
                        weight[:, units] = 0
                    elif name.startswith("weight_ih"):
                        weight[:, columns if "_l0" in name else torch.cat([units] * (weight.shape[1] // len(units)))] = 0
            elif slots.makes and reads is not None:
                module.weight[:, torch.from_numpy(np.isin(found.sets.roots(reads), gone))] = 0
    return blind


@pytest.mark.parametrize("scope", ["family", "network"])
@pytest.mark.parametrize("name", NAMES)
def test_the_smaller_network_is_the_whole_one_that_reads_nothing_of_what_went(name, scope):
    model, example = network(name)
    found = follow(model, job(example))
    step = Prune(amount=0.4, scope=scope)
    families = _families(found)
    gone = step._gone(families, by_magnitude(found))
    made = imbik.compress_module(model, example, [step])
    torch.testing.assert_close(made.model(example), blind(model, found, gone)(example), atol=1e-4, rtol=1e-4)
    assert made.parameters < 0.85 * made.steps[0].parameters[0]


@pytest.mark.parametrize("name", NAMES)
def test_channels_that_nothing_reads_go_first_and_change_nothing(name):
    model, example = network(name)
    found = follow(model, job(example))
    families = _families(found)
    generator = np.random.default_rng(1)
    rows = [sorted({root for roots in family.values() for root in roots}) for family in families]
    gone = [int(root) for row in rows for root in generator.permutation(row)[: round(0.3 * len(row))]]
    silent = blind(model, found, gone)
    made = imbik.compress_module(silent, example, [{"prune": {"amount": 0.3}}])
    torch.testing.assert_close(made.model(example), silent(example), atol=1e-4, rtol=1e-4)


def test_residual_sums_tie_and_depthwise_kernels_follow():
    model, example = network("cnn")
    families = [set(family) for family in _families(follow(model, job(example)))]
    assert {"stem.0", "a.0.conv2", "a.1.conv2", "a.2.conv2"} in families
    assert {"b.0.conv2", "b.0.short.0", "b.1.conv2", "b.2.conv2"} in families
    assert {"a.1.conv1"} in families and not any("head" in family for family in families)
    mobile, example = network("mobile")
    made = imbik.compress_module(mobile, example, [{"prune": {"amount": 0.5}}]).model
    assert made.depthwise.groups == made.stem.out_channels == made.bn.num_features == 8
    assert made.pointwise.out_channels == made.excite[3].out_channels == 16 and made.fc.in_features == (16 + 12) * 16


def test_a_vision_transformer_loses_units_between_its_linears_alone():
    model, example = network("vit")
    made = imbik.compress_module(model, example, [{"prune": {"amount": 0.5}}])
    assert set(made.steps[0].layers) == {f"blocks.{i}.mlp.0" for i in range(3)}
    assert made.model.blocks[0].mlp[0].out_features == 64 and "blocks.0.attention.qkv" in made.steps[0].kept


def test_multiples_and_what_is_named():
    model, example = network("cnn")
    made = imbik.compress_module(model, example, [{"prune": {"amount": 0.4, "multiple": 8, "only": ["a.0.conv1", "b"]}}]).model
    assert made.a[0].conv1.out_channels == 16 and made.a[1].conv1.out_channels == 16  # 10 rounded up to 16, and not named
    assert made.b[1].conv1.out_channels == 24 and made.b[0].conv2.out_channels == 24 and made.stem[0].out_channels == 16
    kept = imbik.compress_module(model, example, [{"prune": {"exclude": ["b", "stem"]}}]).model
    assert kept.b[1].conv1.out_channels == 32 and kept.a[1].conv2.out_channels == 16 and kept.a[1].conv1.out_channels == 8


def test_magnitude_by_hand():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
        model[0].bias.copy_(torch.tensor([0.0, 1.5]))
        model[1].weight.copy_(torch.tensor([2.0, -1.0]))
        model[1].running_var.copy_(torch.tensor([4.0, 0.25]) - model[1].eps)
        model[3].weight.copy_(torch.tensor([[0.5, 3.0]]))
    found = follow(model, job(torch.zeros(1, 2)))
    scores = by_magnitude(found)
    first, second = (scores[int(root)] for root in found.sets.roots(found.layers["0"].outputs))
    assert first == pytest.approx(5 * (2 / 2) * 0.5) and second == pytest.approx(2.5 * (1 / 0.5) * 3)


def test_taylor_is_the_squared_first_order_change_of_the_loss():
    model, _ = network("mlp")
    x, y = torch.randn(16, 64), torch.randint(0, 10, (16,))
    loader = [(x[:8], y[:8]), (x[8:], y[8:])]
    given = job(x[:2], loader=loader, label_loss=lambda output, batch: F.cross_entropy(output, batch[1]))
    found = follow(model, given)
    scores = by_taylor(model, found, given)
    expected = torch.zeros(128)
    for inputs, labels in loader:
        gate = torch.ones(128, requires_grad=True)  # d loss / d gate at 1 is Σ g · w over the weights that make the unit
        hidden = model[1](model[0](inputs) * gate)
        gradient = torch.autograd.grad(F.cross_entropy(model[4](model[3](model[2](hidden))), labels), gate)[0]
        expected += gradient.square()
    roots = found.sets.roots(found.layers["0"].outputs)
    np.testing.assert_allclose([scores[int(root)] for root in roots], expected.numpy(), rtol=1e-3, atol=1e-12)
    assert imbik.compress_module(model, x[:2], [{"prune": {"importance": "taylor"}}], loader=loader, label_loss=given.label_loss)
    with pytest.raises(UserError, match="needs data"):
        imbik.compress_module(model, x[:2], [{"prune": {"importance": "taylor"}}])


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Odd(nn.Module):
    """Channels that are cut, shuffled, mixed over and normalized: none of them may go."""

    def __init__(self):
        super().__init__()
        self.cut, self.grouped, self.normed, self.soft = nn.Linear(8, 8), nn.Conv1d(4, 4, 1, groups=2), nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm, self.shaped = nn.LayerNorm(8), nn.Linear(8, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        left, right = self.cut(x).chunk(2, dim=-1)
        x = torch.cat([self.grouped(left.unsqueeze(-1)).squeeze(-1), right], dim=-1)
        x = self.norm(self.normed(x)) + torch.softmax(self.soft(x), dim=-1)
        return self.out(self.shaped(x).view(-1, 2, 4).transpose(1, 2).flatten(1))


def test_what_is_cut_mixed_or_normalized_stays():
    torch.manual_seed(0)
    with pytest.raises(UserError, match="applies to nothing"):
        imbik.compress_module(Odd(), torch.randn(3, 8), ["prune"])
    with pytest.raises(UserError, match="fixed") as error:
        imbik.compress_module(Odd(), torch.randn(3, 8), [{"prune": {"only": ["grouped"]}}])
    assert str(error.value).startswith("grouped:") and "in groups" in str(error.value)


def test_what_cannot_be_traced_is_refused_with_its_path_and_may_be_opaque():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sequential(nn.Identity(), Branching()), nn.Linear(8, 2))
    with pytest.raises(UserError, match="cannot be traced") as error:
        imbik.compress_module(model, torch.randn(1, 8), ["prune"])
    assert str(error.value).startswith("3.1:")
    made = imbik.compress_module(model, torch.randn(1, 8), ["prune"], opaque=["3.1"]).model
    assert made[0].out_features == 4 and made[2].out_features == 8


def test_a_layer_that_runs_several_times_and_arguments_with_defaults():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x, mask=None, scale=2.0):
            x = self.again(torch.relu(self.again(self.first(x))))
            return self.last(x if mask is None else x * mask) * scale

    torch.manual_seed(0)
    model = Twice()
    made = imbik.compress_module(model, torch.randn(2, 4), ["prune"])
    assert made.model.again.weight.shape == (4, 4) and set(made.steps[0].layers) == {"first", "again"}


def test_a_state_that_is_given_keeps_the_size_of_a_recurrent_layer():
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 2)

        def forward(self, x):
            return self.head(self.rnn(x, torch.zeros(1, 2, 6))[0][:, -1])

    with pytest.raises(UserError, match="applies to nothing"):
        imbik.compress_module(Stateful(), torch.randn(2, 5, 4), ["prune"])
    model = Text(nn.RNN)
    made = imbik.compress_module(model, torch.randint(0, 500, (2, 5)), [{"prune": {"amount": 0.25}}]).model
    assert made.rnn.hidden_size == 18 and made.rnn.input_size == made.table.embedding_dim == 24 and made.head.in_features == 36
