"""A teacher for users who have none: fine-tune a pretrained encoder on the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.finetune.cards import teacher_card
from imbik.finetune.results import Finetuned
from imbik.jobs.files import read_json, write_json
from imbik.jobs.fingerprints import key_of
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import Workspace
from imbik.models.checkpoint import fingerprint, save_checkpoint
from imbik.models.pretrained import base_name, load_base, load_checkpoint, positions_of
from imbik.tasks.metrics import score
from imbik.tasks.task import TASKS
from imbik.training.encoding import Encoded, encode
from imbik.training.loop import fit
from imbik.training.losses import label_loss
from imbik.training.prediction import Batch, dev_score, model_inputs, predict_logits
from imbik.training.settings import RunSettings, Training
from imbik.types import Checkpoint, Splits, TaskName

_DONE = "finetune.json"


def finetune(
    base: str | Path,
    splits: Splits,
    directory: Path,
    *,
    settings: Training | None = None,
    changes: Mapping[str, Any] | None = None,
    max_length: int | None = None,
    seed: int = 0,
    progress: Progress,
    say: Callable[[str], None],
) -> Finetuned:
    """Fine-tune ``base`` on ``splits.train``; the epoch that is best on dev is kept. Continues after a kill; a finished
    call is not repeated.

    Args:
        base: folder or hub name of a pretrained encoder; its name is recorded in the result.
        splits: the data.
        directory: gets the teacher as a plain transformers folder with a model card.
        settings: defaults depend on how much there is to train on, see :func:`default_settings`.
        changes: fields of :class:`imbik.training.settings.Training` that differ from ``settings``.
        max_length: texts are cut to this many tokens (default: the model's limit, at most 256).
        seed: of the new head, the order of rows and dropout.
        progress: where progress is shown.
        say: takes one line for the user.

    Raises:
        UserError: the base cannot be opened, the loss is not finite, the directory holds another model,
            or another run is working in it.
    """
    checkpoint = _start(base, splits, max_length, seed)
    data = encode(splits.train, checkpoint.tokenizer)
    settings = replace(settings or default_settings(len(data)), **(changes or {}))
    arguments = {"base": fingerprint(checkpoint), "data": splits.fingerprint, "metric": splits.metric, "settings": settings.__dict__}
    key = key_of(arguments | {"seed": seed})
    if read_json(directory / _DONE).get("key") == key:
        say(f"{directory}: finished earlier")
        return _finished(directory)
    if data.truncated:
        length = checkpoint.tokenizer.model_max_length
        say(f"{data.truncated} of {len(data)} training texts are cut to {length} tokens (--max-length changes it)")
    with Workspace(directory, {"finetune": key}) as workspace:
        result = _train(checkpoint, splits, data, settings, seed, workspace.path("finetune"), progress)
        made = workspace.path("made")
        save_checkpoint(result.checkpoint, made, teacher_card(result, splits, str(base)))
        workspace.publish(made)
        facts = {entry.name: getattr(result, entry.name) for entry in fields(result) if entry.name != "checkpoint"}
        write_json(directory / _DONE, {"key": key} | facts)
    return result


def _train(
    checkpoint: Checkpoint, splits: Splits, data: Encoded, settings: Training, seed: int, directory: Path, progress: Progress
) -> Finetuned:
    dev = encode(splits.dev, checkpoint.tokenizer)
    state = fit(
        checkpoint.model,
        _Labels(splits.task, torch.from_numpy(np.asarray(splits.train.targets))),
        data,
        settings,
        RunSettings(seed, directory, progress),
        what="fine-tuning",
        evaluate=dev_score(splits, dev),
        pieces=np.union1d(data.pieces(), dev.pieces()),
    )
    test = _quality(checkpoint.model, splits, encode(splits.test, checkpoint.tokenizer))
    checkpoint = replace(checkpoint, pairs=splits.train.pairs is not None)
    return Finetuned(checkpoint, splits.metric, state.best_score, test, state.epoch, state.best_epoch + 1, data.truncated, state.seconds)


def _finished(directory: Path) -> Finetuned:
    """What an earlier call made in this folder."""
    facts = {name: value for name, value in read_json(directory / _DONE).items() if name != "key"}
    return Finetuned(load_checkpoint(directory), **facts)


def _start(base: str | Path, splits: Splits, max_length: int | None, seed: int) -> Checkpoint:
    """The base with a new head for the task."""
    torch.manual_seed(seed)
    checkpoint = load_base(base, splits.task, splits.labels)
    if max_length:
        checkpoint.tokenizer.model_max_length = min(max_length, positions_of(checkpoint.model.config))
    checkpoint.model.config.imbik_base = base_name(base)
    if splits.task == "multi-label":
        start_from_priors(checkpoint.model, np.asarray(splits.train.targets))
    return checkpoint


def default_settings(rows: int) -> Training:
    """Settings that reached the best dev score on the data sets of docs/results: more passes over fewer rows.

    >>> default_settings(3_000).epochs > default_settings(60_000).epochs
    True
    """
    epochs = 10 if rows < 20_000 else 3
    return Training(epochs=epochs, learning_rate=1.5e-4 if rows < 20_000 else 6e-5, batch_tokens=1024, patience=3)


@torch.no_grad()
def start_from_priors(model: nn.Module, targets: NDArray[np.float32]) -> None:
    """Set the head's bias to the log-odds of each label, so that training does not begin by unlearning 0.5 for all of them.

    The start that Lin et al. 2017 (arXiv 1708.02002, section 4.1) give to rare classes.

    Args:
        model: a classifier whose last Linear gives the ``L`` logits.
        targets: ``(N, L)`` of 0/1.
    """
    heads = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == targets.shape[1] and m.bias is not None]
    share = torch.from_numpy(targets.mean(axis=0)).clamp(1e-4, 1 - 1e-4)
    if heads:
        heads[-1].bias.copy_(torch.log(share / (1 - share)))


class _Labels(nn.Module):
    """Loss against the labels of the rows in the batch."""

    def __init__(self, task: TaskName, targets: Tensor) -> None:
        super().__init__()
        self.task, self.targets = task, targets

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = model(**model_inputs(batch)).logits.float()
        return label_loss(self.task, logits, self.targets[batch["rows"]].to(logits.device))


def _quality(model: nn.Module, splits: Splits, data: Any) -> float:
    probabilities = TASKS[splits.task].decode(predict_logits(model, data))
    return float(score(splits.metric, probabilities, np.asarray(splits.test.targets), splits.task))
