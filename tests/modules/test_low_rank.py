"""Factorized layers of any module: full ranks are the identity, sizes are what was asked for, and what cannot be is refused."""

from __future__ import annotations

import pytest
import torch
from networks import NAMES, network
from torch import nn

import imbik
from imbik.errors import UserError
from imbik.models.layers.low_rank_recurrent import LowRankRecurrent, input_weights
from imbik.modules.factors.convolutions import ChannelProduct, SpaceProduct, TuckerProduct
from imbik.modules.factors.matrices import LinearProduct, RecurrentProduct, TableProduct, Work

LAYERS = {
    "linear": (LinearProduct, lambda: nn.Linear(7, 5), torch.randn(3, 7), (5,)),
    "table": (TableProduct, lambda: nn.Embedding(9, 4, padding_idx=0), torch.arange(9), (4,)),
    "lstm": (RecurrentProduct, lambda: nn.LSTM(6, 4, 2, bidirectional=True), torch.randn(5, 3, 6), (6,)),
    "gru": (RecurrentProduct, lambda: nn.GRU(6, 4, bias=False, batch_first=True), torch.randn(5, 3, 6), (6,)),
    "rnn": (RecurrentProduct, lambda: nn.RNN(6, 4, nonlinearity="relu"), torch.randn(5, 3, 6), (4,)),
    "channel": (ChannelProduct, lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2), torch.randn(2, 4, 11, 9), (6,)),
    "channel 1d": (ChannelProduct, lambda: nn.Conv1d(4, 6, 5, padding="same", padding_mode="circular"), torch.randn(2, 4, 11), (6,)),
    "space": (SpaceProduct, lambda: nn.Conv2d(4, 6, (3, 5), (2, 1), (1, 3), (1, 2)), torch.randn(2, 4, 11, 19), (12,)),
    "space same": (SpaceProduct, lambda: nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"), torch.randn(2, 4, 8, 9), (12,)),
    "tucker": (TuckerProduct, lambda: nn.Conv2d(4, 6, 3, 2, 1, bias=False), torch.randn(2, 4, 11, 9), (6, 4)),
    "tucker 1d": (TuckerProduct, lambda: nn.Conv1d(4, 6, 3, dilation=2), torch.randn(2, 4, 11), (6, 4)),
}


def first(value):
    return value[0] if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", LAYERS)
def test_full_rank_is_the_identity(name):
    kind, make, x, full = LAYERS[name]
    torch.manual_seed(0)
    layer = make()
    made = kind(layer, Work()).layer(full)
    torch.testing.assert_close(first(made(x)), first(layer(x)), atol=1e-5, rtol=1e-4)
    smaller = kind(layer, Work()).layer(tuple(max(1, rank - 1) for rank in full))
    assert not torch.allclose(first(smaller(x)), first(layer(x)), atol=1e-3)


@pytest.mark.parametrize("name", LAYERS)
def test_a_choice_costs_what_its_layer_stores(name):
    kind, make, _, full = LAYERS[name]
    layer = make()
    factors = kind(layer, Work())
    ranks = tuple(max(1, rank // 2) for rank in full)
    made = factors.layer(ranks)
    cost = next(choice.cost for choice in factors.every() if choice.ranks == ranks)
    rest = sum(p.numel() for p in layer.parameters()) - factors.dense  # biases, and the other weights of recurrent layers
    assert sum(p.numel() for p in made.parameters()) == cost + rest


@pytest.mark.parametrize("convolutions", ["tucker", "space", "channel"])
@pytest.mark.parametrize("name", NAMES)
def test_a_share_is_kept_and_the_report_says_what_was_done(name, convolutions):
    model, example = network(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    made = imbik.compress_module(model, example, [{"low_rank": {"share": 0.5, "convolutions": convolutions}}])
    report = made.steps[0]
    changed = [path for path in report.layers if not isinstance(model.get_submodule(path), nn.LSTM | nn.GRU)]
    for path in changed:
        assert sum(p.numel() for p in made.model.get_submodule(path).parameters() if p.ndim > 1) <= (
            0.5 * sum(p.numel() for p in model.get_submodule(path).parameters() if p.ndim > 1)
        )
    assert changed and report.parameters[1] < report.parameters[0] and report.parameters[1] == made.parameters
    assert made.model(example).shape == model(example).shape
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), "the original was changed"


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_a_budget_buys_where_it_saves_most(name):
    model, example = network(name)
    whole = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d))
    rest = imbik.compress_module(model, example, [{"low_rank": {"share": 0.9}}]).steps[0].parameters[0] - whole
    made = imbik.compress_module(model, example, [{"low_rank": {"budget": 0.5}}], loader=[torch.randn(8, 3, 32, 32)] * 2)
    assert 0.42 * whole < made.parameters - rest <= 0.5 * whole
    even = imbik.compress_module(model, example, [{"low_rank": {"share": 0.5}}])
    x = torch.randn(64, 3, 32, 32)
    lost = [float((one.model(x) - model(x)).detach().square().mean()) for one in (made, even)]
    assert lost[0] < lost[1]


def test_energy_keeps_the_least_rank_that_has_it():
    torch.manual_seed(0)
    layer = nn.Linear(30, 40)
    layer.weight.data = (
        torch.linalg.qr(torch.randn(40, 30))[0] * torch.tensor([3.0, 2.0, *[0.01] * 28]) @ torch.linalg.qr(torch.randn(30, 30))[0]
    )
    made = imbik.compress_module(nn.Sequential(layer), torch.zeros(1, 30), [{"low_rank": {"energy": 0.99}}])
    assert made.model[0].rank == 2


def test_work_counts_multiplications():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1))
    made = imbik.compress_module(model, torch.zeros(2, 8, 12, 12), [{"low_rank": {"share": 0.6, "measure": "macs"}}])
    first_layer = made.model[0]
    out = [torch.zeros(2, 8, 12, 12)]
    for part in first_layer:
        out.append(part(out[-1]))
    work = sum(part.weight.numel() * y.numel() / y.shape[1] for part, y in zip(first_layer, out[1:], strict=True))
    dense = model[0].weight.numel() * 2 * 36
    assert 0.45 * dense < work <= 0.6 * dense


def test_a_recurrent_layer_takes_packed_sequences_and_states():
    torch.manual_seed(0)
    rnn = nn.LSTM(6, 4)
    made = LowRankRecurrent.of(rnn, input_weights(rnn).detach(), torch.eye(6))
    packed = nn.utils.rnn.pack_sequence([torch.randn(5, 6), torch.randn(3, 6)])
    torch.testing.assert_close(made(packed)[0].data, rnn(packed)[0].data)
    state = (torch.randn(1, 2, 4), torch.randn(1, 2, 4))
    x = torch.randn(3, 2, 6)
    torch.testing.assert_close(made(x, state)[0], rnn(x, state)[0])
    again = LowRankRecurrent(**made.arguments)
    again.load_state_dict(made.state_dict())
    torch.testing.assert_close(again(x)[0], made(x)[0])


def test_what_cannot_be_is_refused_or_kept():
    model, example = network("mobile")
    report = imbik.compress_module(model, example, [{"low_rank": {"share": 0.5}}]).steps[0]
    assert "groups" in report.kept["depthwise"]
    tied = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 50, bias=False))
    tied[1].weight = tied[0].weight
    with pytest.raises(UserError, match="applies to nothing") as error:
        imbik.compress_module(tied, torch.tensor([1]), [{"low_rank": {"share": 0.5}}])
    assert "another module uses its weights" in str(error.value)
    with pytest.raises(UserError, match="exactly one"):
        imbik.compress_module(model, example, [{"low_rank": {}}])
    with pytest.raises(UserError, match="below the smallest ranks"):
        imbik.compress_module(model, example, [{"low_rank": {"budget": 0.001}}])
    with pytest.raises(UserError, match="no such module"):
        imbik.compress_module(model, example, [{"low_rank": {"share": 0.5, "exclude": ["nowhere"]}}])
