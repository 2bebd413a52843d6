"""Second moments and Fisher information against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imbik.factorization.matrices import matrices_of
from imbik.factorization.moments import count_uses, fisher_inputs, input_moments
from imbik.models.structure import tie_module
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.training.encoding import encode
from imbik.training.losses import label_loss

NAMES = ("bert.encoder.layer.1.attention.self.value", "bert.encoder.layer.3.output.dense", "bert.encoder.layer.3.attention.self.query")


def prepared(task="classification", share=False, pairs=False):
    labels = ("score",) if task == "regression" else ("bad", "good", "other")
    checkpoint, splits = tiny_bert(labels, task), tiny_splits(task, rows=23, pairs=pairs)
    if share:
        tie_module(checkpoint.model, "bert.encoder.layer.2", "bert.encoder.layer.1")
    modules = {name: matrix.module for name, matrix in matrices_of(checkpoint.model, nmf=False).items()}
    return checkpoint, splits, modules


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("task", ["classification", "multi-label", "regression"])
def test_fisher_information_is_that_of_a_plain_loop(task, share):
    checkpoint, splits, modules = prepared(task, share)
    model, data = checkpoint.model, encode(splits.train, checkpoint.tokenizer)
    found = fisher_inputs(model, modules, data, splits.train.targets, task)
    assert all(parameter.grad is None for parameter in model.parameters()), "no gradient is left behind"
    wanted = {name: np.zeros(modules[name].in_features) for name in NAMES}
    for text, target in zip(splits.train.texts, splits.train.targets, strict=True):
        model.zero_grad()
        logits = model(**checkpoint.tokenizer([text], return_tensors="pt")).logits
        label_loss(task, logits, torch.from_numpy(np.asarray(target)[None])).backward()
        for name in NAMES:
            wanted[name] += modules[name].weight.grad.double().square().sum(0).numpy()
    for name in NAMES:
        np.testing.assert_allclose(found[name], wanted[name] / len(splits.train.texts), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("pairs", [False, True])
def test_second_moments_are_those_of_a_plain_loop_without_padding(pairs):
    checkpoint, splits, modules = prepared(pairs=pairs)
    data = encode(splits.train, checkpoint.tokenizer)
    found = input_moments(checkpoint.model, modules, data)
    seen = []
    name = NAMES[1]
    handle = modules[name].register_forward_hook(lambda _, inputs, output: seen.append(inputs[0][0].double()))
    with torch.no_grad():
        for row, text in enumerate(splits.train.texts):
            second = [splits.train.pairs[row]] if pairs else None
            checkpoint.model(**checkpoint.tokenizer([text], second, return_tensors="pt"))
    handle.remove()
    rows = torch.cat(seen).numpy()
    np.testing.assert_allclose(found[name], rows.T @ rows / len(rows), rtol=1e-4, atol=1e-6)


def test_a_shared_matrix_is_used_more_than_once():
    checkpoint, splits, modules = prepared(share=True)
    counts = count_uses(checkpoint.model, modules, encode(splits.train, checkpoint.tokenizer))
    assert {name for name, count in counts.items() if count == 2} == {name for name in modules if ".layer.1." in name}
    assert set(counts.values()) == {1, 2} and not any(".layer.2." in name for name in modules)
