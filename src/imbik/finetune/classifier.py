"""A teacher for users who have none: fine-tune a pretrained encoder on the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.finetune.cards import teacher_card
from imbik.finetune.frozen import fit_frozen_head
from imbik.finetune.results import Finetuned
from imbik.jobs.files import read_json, write_json
from imbik.jobs.fingerprints import key_of
from imbik.jobs.paths import with_home
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import Workspace
from imbik.locale.notes import sentence
from imbik.models.checkpoint import fingerprint, save_checkpoint
from imbik.models.pretrained import base_name, load_base, load_checkpoint
from imbik.models.tables import positions_of
from imbik.models.tokenizer_files import check_length
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.tasks.retention import asked_of
from imbik.tasks.task import Task
from imbik.training.encoding import Encoded, encode_for
from imbik.training.heads import head_of
from imbik.training.images.views import LABELLED, Views, seen
from imbik.training.loop import fit
from imbik.training.prediction import Batch, RowTargets, dev_score, mask_of, predict, quality_of, run, settle
from imbik.training.settings import RunSettings, Training
from imbik.types import Checkpoint, Note, Splits, TaskName

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
    linear_start: bool = True,
    views: Views | None = LABELLED,
    progress: Progress,
    say: Callable[[str], None],
) -> Finetuned:
    """Fine-tune ``base`` on ``splits.train``; the epoch that is best on dev is kept. Continues after a kill; a finished
    call is not repeated.

    Where the task has one row of numbers a text, training starts from the base as it is with the best linear head
    (:func:`imbik.finetune.frozen.fit_frozen_head`), which remains if no epoch is better on dev: fine-tuning never loses to it there.

    Args:
        base: folder or hub name of a pretrained encoder; its name is recorded in the result.
        splits: the data.
        directory: gets the teacher as a plain transformers folder with a model card.
        settings: defaults depend on how much there is to train on, see :func:`default_settings`.
        changes: fields of :class:`imbik.training.settings.Training` that differ from ``settings``.
        max_length: texts are cut to this many tokens (default: the model's limit, at most 256).
        seed: of the new head, the order of rows and dropout.
        linear_start: fit the head before the first update; without, it starts from small random numbers.
        views: of images: how each is changed anew at every step; None: not at all.
        progress: where progress is shown.
        say: takes one line for the user.

    Raises:
        UserError: the base cannot be opened, the loss is not finite, the directory holds another model,
            or another run is working in it.
    """
    _check_task(splits)
    directory, task = with_home(directory), task_of(splits.task)
    checkpoint = _start(base, splits, max_length, seed)
    _say_all(checkpoint.notes, say)
    # of random weights no linear head would say anything
    linear_start = linear_start and task.one_row and not checkpoint.notes
    views = views if task.reads == IMAGES else None
    data = encode_for(splits.task, splits.train, checkpoint.tokenizer)
    settings = replace(settings or _usual(task, len(data), checkpoint), **(changes or {}))
    key = _key(checkpoint, splits, settings, seed, linear_start, views)
    if read_json(directory / _DONE).get("key") == key:
        say(f"{directory}: finished earlier")
        return _finished(directory)
    if data.truncated:
        length = checkpoint.tokenizer.model_max_length
        say(f"{data.truncated} of {len(data)} training texts are cut to {length} tokens (--max-length changes it)")
    with Workspace(directory, {"finetune": key}) as workspace:
        fitted = linear_start and _fit_head(checkpoint, splits, seed, say)
        loss = LabelLoss(splits.task, _targets(splits, data), views)
        result = _train(checkpoint, splits, data, loss, settings, RunSettings(seed, workspace.path("finetune"), progress), fitted)
        save_checkpoint(result.checkpoint, made := workspace.path("made"), teacher_card(result, splits, str(base)))
        workspace.publish(made)
        facts = {entry.name: getattr(result, entry.name) for entry in fields(result) if entry.name != "checkpoint"}
        write_json(directory / _DONE, {"key": key} | facts)
    _say_all(result.checkpoint.notes[len(checkpoint.notes) :], say)
    return result


def _key(base: Checkpoint, splits: Splits, settings: Training, seed: int, linear_start: bool, views: Views | None) -> str:
    """Return the key of all that a teacher depends on; the base counts by its weights, not by the name of its folder."""
    arguments = {
        "base": fingerprint(base),
        "data": splits.fingerprint,
        "metric": splits.metric,
        "settings": settings.__dict__,
        "seed": seed,
    }
    arguments |= {"start": "frozen"} if linear_start else {}
    arguments |= {"views": asdict(views)} if views is not None else {}
    return key_of(arguments)


def _say_all(notes: Sequence[Note], say: Callable[[str], None]) -> None:
    for note in notes:
        say(sentence(note))


def _usual(task: Task, rows: int, base: Checkpoint) -> Training:
    """Return the settings that a task is trained with unless others are asked for."""
    return default_image_settings(rows, pretrained=not base.notes) if task.reads == IMAGES else default_settings(rows)


def _check_task(splits: Splits) -> None:
    """Refuse a task whose labels are of two texts that a model reads apart."""
    if task_of(splits.task).apart:
        raise UserError(
            "models that read two texts apart are not trained on labels",
            where="imbik finetune",
            found=splits.task,
            expected="a task whose texts have labels of their own",
            fix="name a folder of sentence-transformers as the --teacher of imbik compress",
        )


def _fit_head(checkpoint: Checkpoint, splits: Splits, seed: int, say: Callable[[str], None]) -> bool:
    """Put the best linear head on the base and say how good that is; False: the model has no such head."""
    frozen = fit_frozen_head(checkpoint, splits, seed=seed)
    if frozen is None:
        return False
    reached = quality_of(splits, frozen.merit)
    say(f"training starts from the base as it is with a linear head: {splits.metric} {reached:.4f} on dev")
    return True


def _targets(splits: Splits, data: Encoded) -> RowTargets:
    targets = RowTargets.of(splits, splits.train, data)
    assert targets is not None, "train carries targets"
    return targets


def _train(
    checkpoint: Checkpoint, splits: Splits, data: Encoded, loss: LabelLoss, settings: Training, how: RunSettings, fitted: bool
) -> Finetuned:
    """Train it; ``fitted``: its head was, so the start may be the best there is."""
    dev = encode_for(splits.task, splits.dev, checkpoint.tokenizer)
    state = fit(
        checkpoint.model,
        loss,
        data,
        settings,
        how,
        what="fine-tuning",
        evaluate=dev_score(splits, dev),
        keep_start=fitted,
        pieces=np.union1d(data.pieces(), dev.pieces()),
    )
    settle(checkpoint.model, splits, dev)
    # once and at the end: no epoch, rate or seed is chosen by it
    test, weakness = _on_test(checkpoint.model, splits, encode_for(splits.task, splits.test, checkpoint.tokenizer))
    notes = checkpoint.notes if weakness is None else (*checkpoint.notes, weakness)
    checkpoint = replace(checkpoint, pairs=splits.train.pairs is not None, notes=notes)
    return Finetuned(
        checkpoint=checkpoint,
        metric=splits.metric,
        dev=quality_of(splits, state.best_score),
        test=test,
        epochs=state.epoch,
        best_epoch=state.best_epoch + 1,
        truncated=data.truncated,
        seconds=state.seconds,
    )


def _finished(directory: Path) -> Finetuned:
    """Return what an earlier call made in this folder."""
    facts = {name: value for name, value in read_json(directory / _DONE).items() if name != "key"}
    return Finetuned(load_checkpoint(directory), **facts)


def _start(base: str | Path, splits: Splits, max_length: int | None, seed: int) -> Checkpoint:
    """Return the base with a new head for the task."""
    # before loading: the new head is drawn there
    torch.manual_seed(seed)
    checkpoint = load_base(base, splits.task, splits.labels)
    if max_length and task_of(splits.task).reads == IMAGES:
        fix = "leave it out; the size stands in preprocessor_config.json"
        raise UserError("images have no tokens to cut to", where="--max-length", found=max_length, fix=fix)
    if max_length:
        checkpoint.tokenizer.model_max_length = min(max_length, positions_of(checkpoint.model))
        check_length(checkpoint.tokenizer, "--max-length", "base model")
    checkpoint.model.config.imbik_base = base_name(base)
    # after the seed and before the fingerprint: the prepared head is a part of the start
    head_of(splits.task).prepare(checkpoint.model, np.asarray(splits.train.targets))
    return checkpoint


def default_settings(rows: int) -> Training:
    """Return the settings that reached the best dev score on the data sets of docs/results: more passes over fewer rows.

    >>> default_settings(3_000).epochs > default_settings(60_000).epochs
    True
    """
    # small data need more passes and bear a higher rate
    epochs = 10 if rows < 20_000 else 3
    return Training(epochs=epochs, learning_rate=1.5e-4 if rows < 20_000 else 6e-5, batch_tokens=1024, patience=3)


def default_image_settings(rows: int, *, pretrained: bool) -> Training:
    """Return settings for images: AdamW at a rate and a length that networks without a pretrained start need.

    >>> default_image_settings(50_000, pretrained=False).epochs > default_image_settings(50_000, pretrained=True).epochs
    True
    """
    # a start that knows something is lost at a high rate
    if pretrained:
        return Training(epochs=10 if rows < 20_000 else 4, learning_rate=1e-4, batch_tokens=1024, patience=3)
    return Training(epochs=60 if rows < 20_000 else 30, learning_rate=2e-3, batch_tokens=1024, weight_decay=0.05)


class LabelLoss(nn.Module):  # type: ignore[misc]
    """Loss against the labels of the rows in the batch.

    Args:
        task: its name.
        targets: of the rows.
        views: of images: how each is changed while the model trains; None: not at all.
    """

    def __init__(self, task: TaskName, targets: RowTargets, views: Views | None = None) -> None:
        super().__init__()
        self.views = views
        self.task = task_of(task)
        self.head = head_of(task)
        self.targets = targets

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Compute the task's loss on one batch."""
        return self.parts(model, batch)[0][0]

    def parts(self, model: nn.Module, batch: Batch) -> list[tuple[Tensor, float]]:
        """Compute the loss, and how many labels it is the mean over."""
        outputs = run(model, batch if self.views is None else seen(batch, self.views), self.task)
        mask = mask_of(batch)
        targets = self.targets.take(batch["rows"], None if mask is None else mask.shape[1], next(model.parameters()).device)
        return [(self.head.loss(outputs, targets) / self.head.unit(model), self.head.labelled(targets))]


def _on_test(model: nn.Module, splits: Splits, data: Encoded) -> tuple[float, Note | None]:
    """Return the quality on test, and a note where a model that reads no text would be as good."""
    task, targets = task_of(splits.task), np.asarray(splits.test.targets)
    decoded = task.decode(predict(model, data, task.name), asked_of(splits, splits.test))
    return float(task.score(splits.metric, decoded, targets)), task.weakness(decoded, targets)
