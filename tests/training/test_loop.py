"""The training loop: exact resume, exact compact embeddings, batches."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imbik.data.batches import shuffled_batches, sorted_batches
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.training.encoding import encode
from imbik.training.loop import fit
from imbik.training.losses import label_loss
from imbik.training.prediction import model_inputs, predict_logits
from imbik.training.settings import RunSettings, Training


class Labels(nn.Module):
    def __init__(self, targets, stop_at=None):
        super().__init__()
        self.targets, self.stop_at, self.calls = torch.from_numpy(targets), stop_at, 0

    def forward(self, model, batch):
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        return label_loss("classification", model(**model_inputs(batch)).logits.float(), self.targets[batch["rows"]])


SETTINGS = Training(epochs=3, learning_rate=1e-3, batch_tokens=64)


def run(checkpoint, splits, directory: Path, *, stop_at=None, compact=True, settings=SETTINGS, save_every=0.0):
    data = encode(splits.train, checkpoint.tokenizer)
    return fit(
        checkpoint.model,
        Labels(splits.train.targets, stop_at),
        data,
        settings,
        RunSettings(1, directory, Silent(), save_every),
        what="test",
        pieces=data.pieces() if compact else None,
    )


def equal(one, other) -> bool:
    return all(torch.equal(a, other.state_dict()[n]) for n, a in one.state_dict().items())


@pytest.mark.parametrize("stop_at", [2, 7, 19])
def test_resumed_training_ends_with_the_weights_of_an_undisturbed_run(tmp_path, stop_at):
    splits = tiny_splits()
    straight, broken = tiny_bert(), tiny_bert()
    run(straight, splits, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(broken, splits, tmp_path / "broken", stop_at=stop_at)
    resumed = tiny_bert()
    state = run(resumed, splits, tmp_path / "broken")
    assert state.finished and equal(straight.model, resumed.model)


def test_resuming_is_exact_for_matrices_that_lie_in_memory_by_columns(tmp_path):
    """As torch.linalg.solve gives the projections on the losses: the optimizer's moments must lie the same way."""
    splits = tiny_splits()

    def by_columns():
        checkpoint = tiny_bert()
        weight = checkpoint.model.classifier.weight
        checkpoint.model.classifier.weight = nn.Parameter(weight.detach().T.contiguous().T)
        assert not checkpoint.model.classifier.weight.is_contiguous()
        return checkpoint

    straight, broken, resumed = by_columns(), by_columns(), by_columns()
    run(straight, splits, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(broken, splits, tmp_path / "broken", stop_at=7)
    run(resumed, splits, tmp_path / "broken")
    assert equal(straight.model, resumed.model)


def test_training_the_used_rows_of_the_table_equals_training_all_of_it(tmp_path):
    splits = tiny_splits()
    compact, full = tiny_bert(), tiny_bert()
    before = copy.deepcopy(compact.model.get_input_embeddings().weight)
    run(compact, splits, tmp_path / "a")
    run(full, splits, tmp_path / "b", compact=False)
    assert type(compact.model.get_input_embeddings()) is nn.Embedding
    for (name, a), (_, b) in zip(compact.model.named_parameters(), full.model.named_parameters(), strict=True):
        # the gradient's norm is summed in another order, so the last bits may differ
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=name)
    used = set(encode(splits.train, compact.tokenizer).pieces().tolist())
    unused = [i for i in range(len(before)) if i not in used and i != 0]
    assert unused and torch.equal(compact.model.get_input_embeddings().weight[unused], before[unused])


def test_training_learns(tmp_path):
    splits = tiny_splits(rows=200)
    model = tiny_bert()
    run(model, splits, tmp_path, settings=Training(epochs=25, learning_rate=3e-3, batch_tokens=256))
    answers = predict_logits(model.model, encode(splits.train, model.tokenizer)).argmax(1)
    majority = np.bincount(splits.train.targets).max() / len(answers)
    assert (answers == splits.train.targets).mean() > majority + 0.15


def test_a_loss_that_is_not_finite_stops_with_a_message(tmp_path):
    splits = tiny_splits()
    with pytest.raises(UserError, match="not finite"):
        run(tiny_bert(), splits, tmp_path, settings=Training(epochs=30, learning_rate=1e22, batch_tokens=64))


def test_max_steps_and_patience_stop_training(tmp_path):
    splits = tiny_splits()
    state = run(tiny_bert(), splits, tmp_path / "a", settings=Training(epochs=50, max_steps=7, batch_tokens=64))
    assert state.steps_done == 7
    model = tiny_bert()
    data = encode(splits.train, model.tokenizer)
    scores = [0.0, 0.0, 0.0, 0.5, 0.5, 0.4, 0.9]  # three epochs at the start do not count; two behind the best one end it
    state = fit(
        model.model, Labels(splits.train.targets), data, Training(epochs=50, patience=2, batch_tokens=64),
        RunSettings(0, tmp_path / "b", Silent()), what="test", evaluate=lambda _model: scores.pop(0),
    )  # fmt: skip
    assert state.epoch == 6 and state.best_epoch == 3


@pytest.mark.parametrize(("scores", "best"), [([0.5, 0.4, 0.4], -1), ([0.5, 0.4, 0.5], 1), ([0.5, 0.6, 0.4], 0)])
def test_the_start_is_kept_where_no_epoch_is_as_good(tmp_path, scores, best):
    splits, model = tiny_splits(), tiny_bert()
    start, data = copy.deepcopy(model), encode(splits.train, model.tokenizer)
    state = fit(
        model.model, Labels(splits.train.targets), data, Training(epochs=2, batch_tokens=64),
        RunSettings(0, tmp_path, Silent()), what="test", evaluate=lambda _model: scores.pop(0), keep_start=True,
    )  # fmt: skip
    assert state.best_epoch == best and equal(start.model, model.model) == (best < 0)


def test_batches_hold_every_row_once_within_the_budget():
    lengths = np.random.default_rng(0).integers(2, 40, 500)
    for batches in (sorted_batches(lengths, 128), shuffled_batches(lengths, 128, seed=3)):
        assert sorted(np.concatenate(batches).tolist()) == list(range(500))
        assert all(lengths[b].max() * len(b) <= 128 for b in batches)
    one, other = shuffled_batches(lengths, 128, 3), shuffled_batches(lengths, 128, 3)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    padded = sum(lengths[b].max() * len(b) for b in shuffled_batches(lengths, 128, 3))
    assert padded < 1.1 * lengths.sum()


def test_predictions_keep_the_order_of_the_rows():
    splits, model = tiny_splits(), tiny_bert()
    data = encode(splits.test, model.tokenizer)
    together = predict_logits(model.model, data, budget=64)
    alone = np.concatenate(
        [predict_logits(model.model, encode(type(splits.test)([t], None, None, ""), model.tokenizer)) for t in splits.test.texts]
    )
    np.testing.assert_allclose(together, alone, atol=0.05)
