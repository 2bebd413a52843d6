"""Bags and gated convolutions against plain formulas, and their folders."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from imbik.models.architectures.pooled import GatedConvolution
from imbik.students.catalogue import make_student
from imbik.testing.contract import check_reload
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.types import Checkpoint

TEACHER, SPLITS = tiny_bert(layers=1), tiny_splits()
WRITTEN = {
    "bag": {"family": "bag", "hidden": 32, "heads": 4},
    "conv": {"family": "conv", "hidden": 32, "filters": 16, "heads": 4, "layers": 2, "kernel": 3},
}


@pytest.fixture(params=sorted(WRITTEN))
def student(request: pytest.FixtureRequest) -> Checkpoint:
    made = make_student(WRITTEN[request.param], TEACHER, SPLITS.train, 0)
    torch.manual_seed(1)
    for parameter in made.model.parameters():  # scores and biases begin at zero, and would hide a mistake
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made


def plain(model: torch.nn.Module, ids: list[int]) -> np.ndarray:
    """One text, piece by piece, in float64."""

    def array(tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().double().numpy()

    config, table = model.config, array(model.embeddings.weight)
    ids = [one for one in ids if one != config.pad_token_id]
    width, heads = config.hidden_size, config.num_attention_heads
    x = np.stack([table[one, :width] for one in ids])
    scores = np.stack([table[one, width:] for one in ids])
    y = None
    for number, layer in enumerate(getattr(model, "convolutions", ())):
        below = x if y is None else y
        taps, side = array(layer.taps), len(layer.taps) // 2
        mixed = np.zeros_like(below)
        for t in range(len(ids)):
            for j, tap in enumerate(taps):
                if 0 <= t + j - side < len(ids):
                    mixed[t] += tap * below[t + j - side]
        value, gate = np.split(mixed @ array(layer.mix.weight).T + array(layer.mix.bias), 2, axis=1)
        found = value / (1 + np.exp(-gate))
        y = found if not number else y + found
    if y is not None:
        scores = scores + y @ array(model.score.weight).T + array(model.score.bias)
    weights = np.exp(scores) / np.exp(scores).sum(0)

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


def test_the_convolution_is_depthwise_then_pointwise_then_gated() -> None:
    torch.manual_seed(0)
    layer, x = GatedConvolution(6, 4, 5), torch.randn(2, 9, 6)
    torch.nn.init.normal_(layer.taps)
    depthwise = F.conv1d(x.transpose(1, 2), layer.taps.T[:, None], padding=2, groups=6).transpose(1, 2)
    assert torch.allclose(layer(x), F.glu(layer.mix(depthwise), -1), atol=1e-5)


def test_a_folder_gives_the_same_bits_back(student: Checkpoint, tmp_path: Path) -> None:
    check_reload(student, tmp_path, SPLITS.test)


def test_order_matters_to_convolutions_alone() -> None:
    bag, conv = (make_student(WRITTEN[name], TEACHER, SPLITS.train, 0).model for name in ("bag", "conv"))
    one, other = torch.tensor([[2, 9, 14, 20, 3]]), torch.tensor([[2, 20, 9, 14, 3]])
    assert torch.allclose(bag(input_ids=one).logits, bag(input_ids=other).logits, atol=1e-5)
    assert not torch.allclose(conv(input_ids=one).logits, conv(input_ids=other).logits, atol=1e-3)


def test_scores_begin_without_a_preference_among_words() -> None:
    model = make_student(WRITTEN["conv"], TEACHER, SPLITS.train, 0).model
    scores = model.embeddings.weight[5:, model.config.hidden_size :]
    assert (scores == 0).all() and (model.score.weight == 0).all()
    assert [layer.mix.out_features for layer in model.convolutions] == [32, 32]
    before = copy.deepcopy(model.state_dict())
    again = make_student(WRITTEN["conv"], TEACHER, SPLITS.train, 0).model.state_dict()
    assert all(torch.equal(before[name], again[name]) for name in before)
