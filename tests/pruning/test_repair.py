"""Least-squares repair: against NumPy's lstsq, exact where an exact repair exists, never worse on its own texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imbik.models.blocks import blocks_of
from imbik.pruning import repair as repairing
from imbik.pruning.cuts import cut, prunable
from imbik.pruning.repair import reference, repair
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.training.encoding import encode


def data_of(rows=80):
    return encode(tiny_splits(rows=rows).train, tiny_bert().tokenizer)


@torch.no_grad()
def logits(model, data):
    return torch.cat([model(input_ids=torch.tensor([data.row(row)])).logits for row in range(len(data))])


def run_all(model, data):
    for row in range(len(data)):
        model(input_ids=torch.tensor([data.row(row)]), token_type_ids=torch.zeros(1, len(data.row(row)), dtype=torch.long))


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert", "albert"])
@pytest.mark.parametrize("kind", ["masks", "matrices"])
def test_a_unit_that_others_can_stand_for_is_made_good_exactly(family, kind):
    model = tiny_bert(family=family, layers=2).model
    for block in [block for block in blocks_of(model) if block.kind == "units"]:
        up, writer = model.get_submodule(block.readers[0]), model.get_submodule(block.writer)
        with torch.no_grad():
            for part in range(block.parts):  # the last unit is a copy of the first: without it the first must count twice
                up.weight[part * 64 + 63] = up.weight[part * 64]
                if up.bias is not None:
                    up.bias[part * 64 + 63] = up.bias[part * 64]
            writer.weight[:, 63] = writer.weight[:, 0]
    data = data_of()
    before = logits(model, data)
    units = [block for block in prunable(model) if block.kind == "units"]
    known = reference(model, units, data)
    now = cut(model, units, {block.writer: np.arange(63) for block in units})
    broken = (logits(model, data) - before).abs().max()
    assert repair(model, now, known, kind) == len(units)
    # where layers share the block, its later runs read what its first one still wrote wrongly
    share = 0.7 if family == "albert" else 0.02
    assert (logits(model, data) - before).abs().max() < share * broken


@pytest.mark.parametrize(("family", "sources"), [
    ("bert", {"heads": (("layer", "input"),), "units": (("reader", "input"),)}),
    ("modernbert", {"heads": (("layer", "input"),), "units": (("layer", "input"), ("attention", "output"))}),
    ("mobilebert", {"units": (("reader", "input"),)}),
])  # fmt: skip
def test_the_residual_is_found_where_it_is(family, sources):
    model = tiny_bert(family=family, layers=2).model
    known = reference(model, prunable(model), data_of(20))
    for block in prunable(model):
        if block.kind in sources:
            assert known.residual[block.writer] == sources[block.kind]


def test_matrices_are_the_least_squares_of_numpy(monkeypatch):
    monkeypatch.setattr(repairing, "_RIDGES", (1e-9,))
    model, data = tiny_bert(layers=1).model, data_of(120)
    layer = model.bert.encoder.layer[0]
    units = [block for block in prunable(model) if block.kind == "units"]
    seen = {}
    layer.output.dense.register_forward_hook(lambda module, inputs, output: seen.setdefault("x", []).append((inputs[0][0], output[0])))
    run_all(model, data)
    x = torch.cat([one for one, _ in seen["x"]]).detach().double().numpy()
    target = torch.cat([one for _, one in seen["x"]]).detach().double().numpy()
    known = reference(model, units, data)
    now = cut(model, units, {units[0].writer: np.arange(20)})
    repair(model, now, known, "matrices")
    features = np.concatenate([x[:, :20], np.ones((len(x), 1))], axis=1)
    wanted, *_ = np.linalg.lstsq(features, target, rcond=None)
    writer = layer.output.dense
    np.testing.assert_allclose(writer.weight.detach().numpy(), wanted[:20].T, atol=2e-3)
    np.testing.assert_allclose(writer.bias.detach().numpy(), wanted[20], atol=2e-3)


def test_masks_are_the_least_squares_of_numpy(monkeypatch):
    monkeypatch.setattr(repairing, "_RIDGES", (1e-9,))
    model, data = tiny_bert(layers=1, heads=4).model, data_of(120)
    heads = [block for block in prunable(model) if block.kind == "heads"]
    out = model.bert.encoder.layer[0].attention.output.dense
    weight, seen = out.weight.detach().double().numpy().copy(), []
    handle = out.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0][0].detach().double().numpy()))
    run_all(model, data)
    handle.remove()
    x = np.concatenate(seen)
    parts = np.stack([x[:, h * 8 : h * 8 + 8] @ weight[:, h * 8 : h * 8 + 8].T for h in range(4)], axis=-1)  # (tokens, H, heads)
    wanted, *_ = np.linalg.lstsq(parts[..., :3].reshape(-1, 3), parts.sum(-1).reshape(-1), rcond=None)
    known = reference(model, heads, data)
    repair(model, cut(model, heads, {heads[0].writer: np.arange(3)}), known, "masks")
    now = model.bert.encoder.layer[0].attention.output.dense.weight.detach().numpy()
    for head in range(3):
        np.testing.assert_allclose(now[:, head * 8 : head * 8 + 8], wanted[head] * weight[:, head * 8 : head * 8 + 8], atol=1e-4)


def test_a_whole_model_has_nothing_to_repair():
    model, data = tiny_bert(layers=2).model, data_of(40)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    blocks = prunable(model)
    repair(model, blocks, reference(model, blocks, data), "matrices")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-5)


def test_many_tokens_are_sampled_alike_both_times(monkeypatch):
    model, data = tiny_bert(layers=2).model, data_of(200)
    monkeypatch.setattr(repairing, "MOST_TOKENS", 300)
    blocks = prunable(model)
    known = reference(model, blocks, data)
    assert all(200 < len(total) < 400 for total in known.sums.values())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    repair(model, blocks, known, "matrices")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-5)
