"""What trainings tell a tracker, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import GeneralTracker

from imbik.errors import MissingExtra, UserError
from imbik.finetune.classifier import LabelLoss
from imbik.jobs.progress import Silent
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.training.encoding import encode
from imbik.training.loop import fit
from imbik.training.prediction import RowTargets, dev_score
from imbik.training.settings import RunSettings, Training
from imbik.training.tracking import named, tracked, tracking


class Notebook(GeneralTracker):
    """Keeps what it is told."""

    name = "notebook"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {}
        self.told: list[tuple[int | None, dict[str, float]]] = []
        self.ended = False

    @property
    def tracker(self) -> Any:
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.settings = values

    def log(self, values: dict[str, float], step: int | None = None, **_: Any) -> None:
        self.told.append((step, values))

    def finish(self) -> None:
        self.ended = True


def learn(folder: Path) -> Any:
    splits = tiny_splits()
    checkpoint = tiny_bert()
    data, dev = encode(splits.train, checkpoint.tokenizer), encode(splits.dev, checkpoint.tokenizer)
    targets = RowTargets.of(splits, splits.train, data)
    assert targets is not None
    settings, run = Training(epochs=2, learning_rate=1e-3, batch_tokens=64), RunSettings(0, folder, Silent())
    return fit(checkpoint.model, LabelLoss(splits.task, targets), data, settings, run, what="test", evaluate=dev_score(splits, dev))


def test_every_step_and_every_epoch_is_told_under_its_name(tmp_path: Path) -> None:
    notebook = Notebook()
    with tracking(notebook, tmp_path, {"epochs": 2, "base": tmp_path, "seed": None}), named("layers-1/distill"):
        state = learn(tmp_path / "state")
    assert notebook.settings == {"epochs": 2, "base": str(tmp_path)}
    losses = [(step, values) for step, values in notebook.told if "layers-1/distill/loss" in values]
    assert [step for step, _ in losses] == list(range(1, state.steps_done + 1))
    assert max(values["layers-1/distill/learning_rate"] for _, values in losses) <= 1e-3
    devs = [values["layers-1/distill/dev"] for _, values in notebook.told if "layers-1/distill/dev" in values]
    assert devs == [epoch["dev"] for epoch in state.history]
    assert notebook.ended
    assert tracked() is None


def test_nothing_is_told_where_nobody_asked(tmp_path: Path) -> None:
    with tracking(None, tmp_path, {}), named("a"):
        assert tracked() is None
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_is_not_installed_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: [])
    with pytest.raises(MissingExtra, match=r"wandb: package not installed\. Do: pip install wandb"), tracking("wandb", tmp_path, {}):
        pass


def test_an_unknown_tracker_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown tracker.*tensorboard or mlflow or wandb or trackio"), tracking("excel", tmp_path, {}):
        pass
