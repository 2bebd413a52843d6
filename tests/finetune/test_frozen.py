"""A frozen encoder under a linear head: equal to scikit-learn on the same states, in a plain model of the same kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from imbik.finetune import frozen
from imbik.finetune.frozen import COSTS, can_read_mean, fit_frozen_head, read_mean
from imbik.models.units import Units, answer_in
from imbik.tasks.registry import task_of
from imbik.testing.tiny import logits_of, tiny_bert, tiny_splits
from imbik.training.encoding import encode
from imbik.training.precision import full_precision
from imbik.training.prediction import model_inputs, to_batch
from imbik.types import Checkpoint, Examples


@pytest.fixture(autouse=True)
def in_float32() -> Iterator[None]:
    with full_precision():
        yield


def states(checkpoint: Checkpoint, examples: Examples, below: int) -> np.ndarray:
    """tanh(LN(x_1 + mean(x)) / 2) of the states ``below`` layers deep, text by text in NumPy."""
    data, found = encode(examples, checkpoint.tokenizer), []
    for row in range(len(data)):
        with torch.no_grad():
            outputs = checkpoint.model(**model_inputs(to_batch(data, np.array([row]))), output_hidden_states=True)
        x = outputs.hidden_states[below][0].double().numpy()
        mixed = x[0] + x.mean(0)
        mixed = (mixed - mixed.mean()) / np.sqrt(mixed.var() + 1e-5)
        found.append(np.tanh(mixed / 2))
    return np.array(found)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_rewritten_model_reads_the_mean_below_its_last_layer(layers: int) -> None:
    checkpoint, splits = tiny_bert(layers=layers), tiny_splits()
    expected = states(checkpoint, splits.dev, layers - 1)
    assert can_read_mean(checkpoint.model)
    read_mean(checkpoint.model)
    weights, bias = (p.detach().double().numpy() for p in (checkpoint.model.classifier.weight, checkpoint.model.classifier.bias))
    np.testing.assert_allclose(logits_of(checkpoint, splits.dev), expected @ weights.T + bias, atol=2e-5)


def test_the_head_is_scikit_learns_on_the_same_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "COSTS", (0.03,))
    checkpoint, splits = tiny_bert(("a", "b", "c"), layers=2), tiny_splits()
    targets = np.arange(len(splits.train.texts)) % 3
    splits = replace(splits, labels=("a", "b", "c"), train=replace(splits.train, targets=targets))
    found = fit_frozen_head(checkpoint, splits)
    assert found is not None and found.cost == 0.03 and found.rows == len(targets)
    if found.reads == "mean":
        rows, dev = (states(tiny_bert(("a", "b", "c"), layers=2), part, 1) for part in (splits.train, splits.dev))
        center, spread = rows.mean(0), np.sqrt((rows**2).mean(0))
        machine = LogisticRegression(C=0.03, max_iter=2000, tol=1e-8).fit((rows - center) / spread, targets)
        ours = torch.softmax(torch.tensor(logits_of(checkpoint, splits.dev)), 1).numpy()
        np.testing.assert_allclose(ours, machine.predict_proba((dev - center) / spread), atol=5e-3)


def test_dropout_hardly_disturbs_the_head() -> None:
    """States that hardly differ from text to text, as those of a real encoder, get no weights that dropout turns into noise."""
    checkpoint, splits = tiny_bert(("a", "b", "c"), layers=1), tiny_splits(rows=300)
    with torch.no_grad():
        checkpoint.model.bert.pooler.dense.weight.mul_(0.02)
        checkpoint.model.bert.pooler.dense.bias.fill_(1.0)
        if can_read_mean(checkpoint.model):  # the states below the only layer: far from zero, and near one another
            checkpoint.model.bert.embeddings.LayerNorm.weight.mul_(0.02)
            checkpoint.model.bert.embeddings.LayerNorm.bias.copy_(torch.linspace(-3, 3, 32))
    targets = np.arange(len(splits.train.texts)) % 3
    splits = replace(splits, labels=("a", "b", "c"), train=replace(splits.train, targets=targets))
    assert fit_frozen_head(checkpoint, splits) is not None
    data = encode(splits.train, checkpoint.tokenizer)
    batch = model_inputs(to_batch(data, np.arange(len(data)), torch.device("cpu")))
    with torch.no_grad():
        calm = checkpoint.model.eval()(**batch).logits
        torch.manual_seed(0)
        shaken = checkpoint.model.train()(**batch).logits
    loss, with_dropout = (float(torch.nn.functional.cross_entropy(z, torch.tensor(targets))) for z in (calm, shaken))
    assert with_dropout < 1.3 * loss


@pytest.mark.parametrize("task", ["classification", "multi-label", "regression"])
def test_the_better_of_both_readings_stays_and_its_merit_is_that_on_dev(task: str) -> None:
    splits = tiny_splits(task, rows=300)
    checkpoint = tiny_bert(splits.labels, task, layers=2)
    before = {name: tensor.clone() for name, tensor in checkpoint.model.state_dict().items()}
    if task == "regression":
        answer_in(checkpoint.model, Units.of(np.asarray(splits.train.targets)))
    found = fit_frozen_head(checkpoint, splits)
    assert found is not None and found.cost in COSTS
    kind = task_of(task)
    value = kind.score(splits.metric, kind.decode(np.float32(logits_of(checkpoint, splits.dev))), np.asarray(splits.dev.targets))
    assert kind.metric(splits.metric).merit(float(value)) == pytest.approx(found.merit, abs=0.02)
    changed = {name for name, tensor in checkpoint.model.state_dict().items() if not torch.equal(tensor, before[name])}
    frozen_layers = [name for name in changed if "encoder.layer.0." in name or "embeddings" in name]
    assert not frozen_layers and "classifier.weight" in changed
    assert any("encoder.layer.1." in name for name in changed) is (found.reads == "mean")


def test_an_architecture_with_another_head_is_read_as_it_is() -> None:
    checkpoint, splits = tiny_bert(family="distilbert", layers=2), tiny_splits()
    assert not can_read_mean(checkpoint.model)
    found = fit_frozen_head(checkpoint, splits)
    assert found is not None and found.reads == "first"


def test_a_label_without_a_text_is_never_answered() -> None:
    checkpoint, splits = tiny_bert(("a", "b", "c"), layers=1), tiny_splits()
    two = replace(splits, labels=("a", "b", "c"), train=replace(splits.train, targets=np.asarray(splits.train.targets) % 2))
    fit_frozen_head(checkpoint, two)
    assert not (logits_of(checkpoint, splits.test).argmax(1) == 2).any()


def test_of_many_rows_a_seeded_part_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "MOST_ROWS", 20)
    found = fit_frozen_head(tiny_bert(layers=1), tiny_splits(rows=200))
    assert found is not None and found.rows == 20


def test_a_task_of_spans_has_no_linear_head() -> None:
    splits = replace(tiny_splits(), task="token-classification")
    checkpoint = tiny_bert(layers=1)
    before = {name: tensor.clone() for name, tensor in checkpoint.model.state_dict().items()}
    assert fit_frozen_head(checkpoint, splits) is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in checkpoint.model.state_dict().items())
