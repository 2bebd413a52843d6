"""Fine-tuning: a teacher that learned, its card, its labels, its folder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imbik.errors import UserError
from imbik.finetune.classifier import default_settings, finetune
from imbik.jobs.progress import Silent
from imbik.models.checkpoint import labels_of, save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.testing.tiny import logits_of, tiny_bert, tiny_splits
from imbik.training.heads import start_from_priors
from imbik.training.settings import Training


@pytest.mark.parametrize("task", ["classification", "multi-label", "regression"])
def test_a_teacher_is_made_for_every_task(task, tmp_path):
    save_checkpoint(tiny_bert(labels=("x", "y")), tmp_path / "base")
    splits = tiny_splits(task)
    said: list[str] = []
    settings = Training(epochs=2, learning_rate=1e-3, batch_tokens=128)
    result = finetune(tmp_path / "base", splits, tmp_path / "out", settings=settings, max_length=6, progress=Silent(), say=said.append)
    loaded = load_checkpoint(tmp_path / "out")
    assert loaded.task == task and labels_of(loaded) == splits.labels and loaded.pairs is False
    assert loaded.model.config.imbik_base == str(tmp_path / "base") and loaded.tokenizer.model_max_length == 6
    assert result.truncated > 0 and any("are cut to 6 tokens" in line for line in said)
    for name, tensor in result.checkpoint.model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name]), name
    # the same weights elsewhere in memory may add in another order
    np.testing.assert_allclose(logits_of(loaded, splits.test), logits_of(result.checkpoint, splits.test), atol=1e-6)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| test |" in card and str(tmp_path / "base") in card
    assert [path.name for path in (tmp_path / "out" / ".imbik").iterdir()] == ["lock"], "nothing unfinished is left behind"


def test_a_finished_teacher_is_found_and_no_other_model_is_overwritten(tmp_path):
    save_checkpoint(tiny_bert(labels=("x", "y")), tmp_path / "base")
    splits, settings = tiny_splits(), Training(epochs=1, learning_rate=1e-3, batch_tokens=128)
    common = {"settings": settings, "progress": Silent()}
    first = finetune(tmp_path / "base", splits, tmp_path / "out", say=lambda _: None, **common)
    files = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "out").iterdir() if p.is_file()}
    said: list[str] = []
    second = finetune(tmp_path / "base", splits, tmp_path / "out", say=said.append, **common)
    assert any("finished earlier" in line for line in said)
    assert (second.dev, second.test, second.best_epoch) == (first.dev, first.test, first.best_epoch)
    np.testing.assert_array_equal(logits_of(second.checkpoint, splits.test), logits_of(first.checkpoint, splits.test))
    for where, what in ((tmp_path / "out", replace(splits, metric="macro-f1")), (tmp_path / "base", splits)):
        with pytest.raises(UserError, match="holds a model already"):
            finetune(tmp_path / "base", what, where, say=lambda _: None, **common)
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "out").iterdir() if p.is_file()} == files


def test_a_multi_label_head_starts_from_the_share_of_each_label():
    model = tiny_bert(("a", "b", "c"), "multi-label").model
    targets = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=np.float32)
    start_from_priors(model, targets)
    np.testing.assert_allclose(torch.sigmoid(model.classifier.bias.detach()).numpy(), [0.75, 0.25, 1e-4], rtol=1e-3)


def test_fewer_rows_get_more_epochs():
    assert default_settings(1_000).epochs > default_settings(100_000).epochs
