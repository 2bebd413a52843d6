"""Importance against finite differences and NumPy; the search against every choice there is; costs against the counter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from imbik.factorization.moments import count_uses
from imbik.models.blocks import Block, blocks_of
from imbik.models.facts import flops, parameters
from imbik.pruning.allocation import alike, choices, most_important, shared
from imbik.pruning.costs import costs_of
from imbik.pruning.cuts import cut, masked, prunable
from imbik.pruning.importance import importance
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.training.encoding import encode
from imbik.training.losses import label_loss


def setting(family="bert"):
    checkpoint, splits = tiny_bert(family=family, layers=2, heads=4), tiny_splits(rows=12)
    return checkpoint, encode(splits.train, checkpoint.tokenizer), np.asarray(splits.train.targets)


def slopes(checkpoint, data, targets, block):
    """∂L/∂m of every text and unit by central differences, ``(N, count)``."""
    model = checkpoint.model.double()
    found = np.zeros((len(data), block.count))
    for row, unit in itertools.product(range(len(data)), range(block.count)):
        ids = torch.tensor([data.row(row)])
        losses = []
        for step in (1e-4, -1e-4):
            mask = torch.ones(block.count, dtype=torch.float64)
            mask[unit] += step
            with masked(model, [block], {block.writer: mask}), torch.no_grad():
                losses.append(float(label_loss("classification", model(input_ids=ids).logits, torch.tensor([targets[row]]))))
        found[row, unit] = (losses[0] - losses[1]) / 2e-4
    model.float()
    return found


@pytest.mark.parametrize("family", ["bert", "modernbert", "albert"])
def test_fisher_and_taylor_are_the_gradients_of_masks(family):
    checkpoint, data, targets = setting(family)
    block = next(block for block in blocks_of(checkpoint.model) if block.kind == "heads")
    wanted = slopes(checkpoint, data, targets, block)
    for kind, mean in (("fisher", np.square(wanted).mean(0)), ("taylor", np.abs(wanted).mean(0))):
        found = importance(kind, checkpoint.model, [block], data, targets, "classification")[block.writer]
        np.testing.assert_allclose(found, mean, rtol=2e-3, atol=1e-7)
    assert all(parameter.grad is None for parameter in checkpoint.model.parameters())


def test_activation_is_what_a_unit_writes():
    checkpoint, data, targets = setting()
    for block in blocks_of(checkpoint.model):
        writer, seen = checkpoint.model.get_submodule(block.writer), []
        handle = writer.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(inputs[0].flatten(0, -2)))
        for row in range(len(data)):
            kinds = torch.zeros(1, len(data.row(row)), dtype=torch.long)
            checkpoint.model(input_ids=torch.tensor([data.row(row)]), token_type_ids=kinds)
        handle.remove()
        x, weight = torch.cat(seen).detach().double().numpy(), writer.weight.detach().double().numpy()
        parts = [slice(unit * block.size, (unit + 1) * block.size) for unit in range(block.count)]
        energy = [np.square(x[:, part] @ weight[:, part].T).sum(1).mean() for part in parts]
        found = importance("activation", checkpoint.model, [block], data, targets, "classification")[block.writer]
        np.testing.assert_allclose(found, np.array(energy) / np.sum(energy), rtol=1e-4)


def test_magnitude_is_the_norm_of_rows_and_columns():
    checkpoint, data, targets = setting()
    heads, units = blocks_of(checkpoint.model)[:2]
    layer = checkpoint.model.bert.encoder.layer[0]
    wanted = layer.intermediate.dense.weight.square().sum(1) + layer.output.dense.weight.square().sum(0)
    found = importance("magnitude", checkpoint.model, [heads, units], data, targets, "classification")
    np.testing.assert_allclose(found[units.writer], (wanted / wanted.sum()).detach().numpy(), rtol=1e-5)
    own, out = layer.attention.self, layer.attention.output.dense.weight.detach()

    def head(rows):
        readers = sum(float(module.weight.detach()[rows].square().sum()) for module in (own.query, own.key, own.value))
        return readers + float(out[:, rows].square().sum())

    ratio = found[heads.writer][1] / found[heads.writer][0]
    assert ratio == pytest.approx(head(slice(8, 16)) / head(slice(0, 8)), rel=1e-5)


def random_blocks(generator):
    blocks = [Block("heads", i, 3, 4, 1, (), f"h{i}") for i in range(2)] + [Block("units", i, 4, 1, 1, (), f"u{i}") for i in range(2)]
    scores = {b.writer: generator.exponential(size=b.count) for b in blocks}
    costs = {b.writer: (12.0 if b.kind == "heads" else 2.0) * np.arange(b.count + 1) for b in blocks}
    return blocks, scores, costs


def lost(blocks, scores, counts):
    return sum(np.sort(scores[b.writer])[: b.count - n].sum() for b, n in zip(blocks, counts, strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_the_search_finds_what_trying_everything_finds(seed):
    blocks, scores, costs = random_blocks(np.random.default_rng(seed))
    for budget in (40.0, 60.0, 75.0):
        every = [
            counts
            for counts in itertools.product(*(choices(b, 1) for b in blocks))
            if sum(costs[b.writer][n] for b, n in zip(blocks, counts, strict=True)) <= budget
        ]
        found = shared(blocks, scores, costs, budget, 1)
        assert tuple(found) in every
        # the hull's order is optimal up to one step, and no step here loses more than a head
        assert lost(blocks, scores, found) <= min(lost(blocks, scores, counts) for counts in every) + max(max(s) for s in scores.values())
        same = [c for c in every if c[0] == c[1] and c[2] == c[3]]
        assert lost(blocks, scores, alike(blocks, scores, costs, budget, 1)) == pytest.approx(min(lost(blocks, scores, c) for c in same))


def test_a_budget_that_pays_all_keeps_all_and_one_that_pays_nothing_says_so():
    blocks, scores, costs = random_blocks(np.random.default_rng(0))
    assert shared(blocks, scores, costs, 1e9, 1) == [3, 3, 4, 4]
    assert shared(blocks, scores, costs, 1.0, 1) is None and alike(blocks, scores, costs, 1.0, 1) is None
    assert most_important(np.array([0.0, 3.0, 1.0, 3.0]), 3).tolist() == [1, 2, 3]


@pytest.mark.parametrize("family", ["bert", "modernbert", "albert"])
def test_costs_are_what_the_counters_count(family):
    model = tiny_bert(family=family, layers=3, heads=4).model
    data = encode(tiny_splits(rows=8).train, tiny_bert().tokenizer)
    blocks = prunable(model)
    uses = count_uses(model, {b.writer: model.get_submodule(b.writer) for b in blocks}, data)
    tokens = 12.0
    costs = {measure: costs_of(model, blocks, measure, uses, tokens) for measure in ("flops", "parameters")}
    before, size = flops(model), parameters(model)
    counts = {b.writer: max(1, b.count // 2) for b in blocks}
    cut(model, blocks, {b.writer: np.arange(counts[b.writer]) for b in blocks})
    after = flops(model)
    saved = {m: sum(float(c[b.writer][-1] - c[b.writer][counts[b.writer]]) for b in blocks) for m, c in costs.items()}
    assert size - parameters(model) == saved["parameters"]
    at = np.array([1.0, tokens, tokens**2])
    assert float(np.dot(np.subtract(before, after), at)) / tokens == pytest.approx(saved["flops"], rel=1e-6)
