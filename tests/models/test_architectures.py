"""Bags, gated convolutions and LSTMs against plain formulas, and their folders."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from imbik.models.architectures.ordered import BothWays, GatedConvolution
from imbik.models.architectures.pooled import hashed
from imbik.models.facts import flops
from imbik.students.catalogue import make_student
from imbik.testing.contract import check_reload
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.types import Checkpoint

TEACHER, SPLITS = tiny_bert(layers=1), tiny_splits()
WRITTEN = {
    "bag": {"family": "bag", "hidden": 32, "heads": 4},
    "bigrams": {"family": "bag", "hidden": 32, "heads": 4, "bigrams": 50},
    "conv": {"family": "conv", "hidden": 32, "filters": 16, "heads": 4, "layers": 2, "kernel": 3},
    "separable": {"family": "conv", "hidden": 32, "filters": 16, "heads": 4, "layers": 2, "kernel": 3, "separable": True},
    "lstm": {"family": "lstm", "hidden": 32, "units": 6, "heads": 4, "layers": 2},
}


@pytest.fixture(params=sorted(WRITTEN))
def student(request: pytest.FixtureRequest) -> Checkpoint:
    made = make_student(WRITTEN[request.param], TEACHER, SPLITS.train, 0)
    torch.manual_seed(1)
    for parameter in made.model.parameters():  # scores and biases begin at zero, and would hide a mistake
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def convolved(layer: torch.nn.Module, below: np.ndarray) -> np.ndarray:
    side, mix = layer.kernel // 2, array(layer.mix.weight).T  # (k d, 2 f), or (d, 2 f) behind the taps
    by_neighbor = mix.reshape(layer.kernel, -1, mix.shape[1]) if layer.taps is None else array(layer.taps)[:, :, None] * mix
    both = np.tile(array(layer.mix.bias), (len(below), 1))
    for t in range(len(below)):
        for j, matrix in enumerate(by_neighbor):
            if 0 <= t + j - side < len(below):
                both[t] += below[t + j - side] @ matrix
    value, gate = np.split(both, 2, axis=1)
    return value / (1 + np.exp(-gate))


def remembered(layer: torch.nn.Module, below: np.ndarray) -> np.ndarray:
    both = []
    for direction in ("", "_reverse"):
        read, kept = (array(getattr(layer.lstm, f"weight_{part}_l0{direction}")) for part in ("ih", "hh"))
        h = c = np.zeros(kept.shape[1])
        states = []
        for row in below[:: -1 if direction else 1]:
            i, f, g, o = np.split(read @ np.append(row, 1.0) + kept @ h, 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            states.append(h)
        both.append(np.stack(states)[:: -1 if direction else 1])
    return np.concatenate(both, axis=1)


def plain(model: torch.nn.Module, ids: list[int]) -> np.ndarray:
    """One text, piece by piece, in float64."""
    config, table = model.config, array(model.embeddings.weight)
    ids = [one for one in ids if one != config.pad_token_id]
    width, heads = config.hidden_size, config.num_attention_heads
    x = np.stack([table[one, :width] for one in ids])
    scores = np.stack([table[one, width:] for one in ids])
    if config.bigrams:
        rows, fraction = array(model.bigrams.weight), [one * 2654435769 % 2**32 / 2**32 for one in ids]
        keys = [int(part * config.bigrams) for part in fraction]
        pairs = np.stack([rows[(3 * one + other) % config.bigrams] for one, other in itertools.pairwise(keys)])
        x, scores = np.concatenate([x, pairs[:, :width]]), np.concatenate([scores, pairs[:, width:]])
    y = None
    for layer in getattr(model, "layers", ()):
        read = convolved if isinstance(layer, GatedConvolution) else remembered
        y = read(layer, x) if y is None else y + read(layer, y)
    if y is not None:
        scores = scores + y @ array(model.score.weight).T + array(model.score.bias)
    weights = np.exp(scores.clip(-15, 15))  # as steep as a weight may be
    weights /= weights.sum(0)

    def attend(rows: np.ndarray) -> np.ndarray:
        size = rows.shape[1] // heads
        return np.concatenate([weights[:, h] @ rows[:, h * size : (h + 1) * size] for h in range(heads)])

    pooled = attend(x) if y is None else np.concatenate([attend(x), attend(y), y.max(0)])
    even = pooled / np.sqrt((pooled**2).mean())
    units = np.maximum(even @ array(model.inner.weight).T + array(model.inner.bias), 0.0)
    return units @ array(model.classifier.weight).T + array(model.classifier.bias)


def test_the_answer_is_the_formula(student: Checkpoint) -> None:
    for ids in ([2, 9, 14, 3], [2, 3], [2, *range(5, 30), 3], [2, 9, 0, 14, 3][:2]):
        logits = student.model(input_ids=torch.tensor([ids])).logits[0].detach().numpy()
        assert np.allclose(logits, plain(student.model, ids), rtol=1e-4, atol=1e-4)


def test_padding_counts_for_nothing(student: Checkpoint) -> None:
    ids = torch.tensor([[2, 9, 14, 20, 3]])
    alone = student.model(input_ids=ids).logits
    by_id = F.pad(ids, (0, 4), value=0)
    by_mask = torch.cat([ids, torch.tensor([[7, 8]])], dim=1)
    mask = (torch.arange(7) < 5).long()[None]
    assert torch.allclose(student.model(input_ids=by_id).logits, alone, atol=1e-5)
    assert torch.allclose(student.model(input_ids=by_mask, attention_mask=mask).logits, alone, atol=1e-5)
    assert torch.isfinite(student.model(input_ids=torch.zeros(1, 3, dtype=torch.long)).logits).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_is_answered_alike_alone_and_beside_longer_ones(student: Checkpoint, side: str) -> None:
    texts = [[2, 9, 3], [2, *range(5, 40), 3], [2, 3], [2, 9, 14, 20, 3]]
    longest = max(map(len, texts))
    rows = [[0] * (longest - len(ids)) + ids if side == "left" else ids + [0] * (longest - len(ids)) for ids in texts]
    together = student.model(input_ids=torch.tensor(rows)).logits
    for ids, logits in zip(texts, together, strict=True):
        assert torch.allclose(student.model(input_ids=torch.tensor([ids])).logits[0], logits, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_separable_convolution_is_depthwise_then_pointwise_then_gated(kernel: int) -> None:
    torch.manual_seed(0)
    layer, x = GatedConvolution(6, 4, kernel, separable=True), torch.randn(2, 9, 6)
    torch.nn.init.normal_(layer.taps)
    depthwise = F.conv1d(x.transpose(1, 2), layer.taps.T[:, None], padding=kernel // 2, groups=6).transpose(1, 2)
    assert torch.allclose(layer(x, torch.ones(2, 9, 1)), F.glu(layer.mix(depthwise), -1), atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolution_is_pytorchs_behind_its_gate(kernel: int) -> None:
    torch.manual_seed(0)
    layer, x = GatedConvolution(8, 6, kernel, separable=False), torch.randn(2, 7, 8)
    weights = layer.mix.weight.unflatten(1, (kernel, 8)).transpose(1, 2)
    both = F.conv1d(x.transpose(1, 2), weights, layer.mix.bias, padding=kernel // 2)
    assert torch.allclose(layer(x, torch.ones(2, 7, 1)), F.glu(both, 1).transpose(1, 2), atol=1e-5)


def test_the_lstm_is_that_of_packed_texts_with_a_bias() -> None:
    torch.manual_seed(0)
    layer, packed = BothWays(6, 4), torch.nn.LSTM(6, 4, batch_first=True, bidirectional=True)
    layer.begin()
    lengths = torch.tensor([9, 3, 1])
    keep = (torch.arange(9) < lengths[:, None]).float().unsqueeze(-1)
    x = torch.randn(3, 9, 6) * keep
    for direction in ("", "_reverse"):
        read, kept = (getattr(layer.lstm, f"weight_{part}_l0{direction}") for part in ("ih", "hh"))
        assert read[4:8, -1].eq(1).all() and read[:4, -1].eq(0).all(), "only forget gates begin open"
        torch.testing.assert_close(kept[4:8] @ kept[4:8].T, torch.eye(4))
        torch.nn.init.normal_(read[:, -1])
        for name, value in (("weight_ih", read[:, :-1]), ("weight_hh", kept), ("bias_ih", read[:, -1]), ("bias_hh", 0 * read[:, -1])):
            getattr(packed, f"{name}_l0{direction}").data.copy_(value)
    states, _ = packed(torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True))
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
    torch.testing.assert_close(layer(x, keep), expected, atol=1e-6, rtol=1e-5)


def test_a_folder_gives_the_same_bits_back(student: Checkpoint, tmp_path: Path) -> None:
    check_reload(student, tmp_path, SPLITS.test)


@pytest.mark.parametrize("kind", ["bigrams", "conv", "lstm"])
def test_order_matters_but_to_bags(kind: str) -> None:
    bag, ordered = (make_student(WRITTEN[name], TEACHER, SPLITS.train, 0).model for name in ("bag", kind))
    if kind == "bigrams":  # which begin as nothing
        torch.nn.init.normal_(ordered.bigrams.weight)
    one, other = torch.tensor([[2, 9, 14, 20, 3]]), torch.tensor([[2, 20, 9, 14, 3]])
    assert torch.allclose(bag(input_ids=one).logits, bag(input_ids=other).logits, atol=1e-5)
    assert not torch.allclose(ordered(input_ids=one).logits, ordered(input_ids=other).logits, atol=1e-3)


@pytest.mark.parametrize("kind", ["conv", "lstm"])
def test_scores_begin_without_a_preference_among_words(kind: str) -> None:
    model = make_student(WRITTEN[kind], TEACHER, SPLITS.train, 0).model
    scores = model.embeddings.weight[5:, model.config.hidden_size :]
    assert (scores == 0).all() and (model.score.weight == 0).all()
    assert len(model.layers) == 2 and model.score.in_features == {"conv": 16, "lstm": 12}[kind]
    before = copy.deepcopy(model.state_dict())
    again = make_student(WRITTEN[kind], TEACHER, SPLITS.train, 0).model.state_dict()
    assert all(torch.equal(before[name], again[name]) for name in before)


def test_pairs_begin_as_if_they_were_not_there() -> None:
    with_pairs, without = (make_student(WRITTEN[name], TEACHER, SPLITS.train, 0).model for name in ("bigrams", "bag"))
    ids = torch.tensor([[2, 9, 14, 20, 3]])
    for name, values in without.state_dict().items():
        with_pairs.state_dict()[name].copy_(values)
    assert (with_pairs.bigrams.weight == 0).all() and with_pairs.bigrams.weight.requires_grad
    torch.testing.assert_close(with_pairs(input_ids=ids).logits, without(input_ids=ids).logits, atol=1e-5, rtol=1e-4)


def test_pairs_share_rows_evenly() -> None:
    keys = hashed(3000, 1024).numpy().astype(int)
    assert keys.min() >= 0 and keys.max() == 1023
    first, second = np.random.default_rng(0).integers(0, 3000, (2, 100_000))
    found = np.bincount((3 * keys[first] + keys[second]) % 1024, minlength=1024)
    assert found.min() > 40 and found.max() < 180, "about 98 each"
    assert ((3 * keys[first] + keys[second]) % 1024 == (3 * keys[second] + keys[first]) % 1024).mean() < 0.01, "order counts"


def test_operations_of_an_lstm_are_counted() -> None:
    model = make_student({"family": "lstm", "hidden": 32, "units": 8}, TEACHER, SPLITS.train, 0).model
    # two directions, four gates, 8 units that read 33 numbers and remember 8; and the scores of 8 queries
    assert flops(model)[1] == 2 * 2 * 4 * 8 * (33 + 8) + 2 * 16 * 8
