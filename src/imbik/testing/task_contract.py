"""What an author of a task runs on it, in our tests and outside of them: the contract of :class:`imbik.tasks.task.Task` as checks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from imbik.data.carving.apart import learned_apart
from imbik.data.columns import ColumnNames
from imbik.data.load import load_data
from imbik.jobs.progress import Silent
from imbik.measure.predictions import Predictions, load_predictions, save_predictions
from imbik.measure.results import Results, results_document
from imbik.models.checkpoint import save_checkpoint
from imbik.models.inputs import Tensors
from imbik.models.pretrained import load_checkpoint
from imbik.models.teacher import Teacher
from imbik.runtime.predictor import load_artefact
from imbik.tasks.intervals import bootstrap_interval
from imbik.tasks.outputs import IMAGES, Array, Outputs, count_of, numbers_of, take, to_arrays
from imbik.tasks.registry import registered, task_of
from imbik.tasks.retention import agreement, asked_of, quality, retention
from imbik.tasks.task import Task
from imbik.testing.task_examples import TASK_EXAMPLES, TaskExample
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.testing.tiny_images import tiny_image_model
from imbik.training.encoding import encode_for
from imbik.training.heads import head_of
from imbik.training.precision import full_precision
from imbik.training.prediction import RowTargets, mask_of, predict, run, to_batch
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Splits

_LABELLED_ROWS = 40
_TOLERANCE = 1e-5


def check_task(name: str, directory: Path, *, example: TaskExample | None = None) -> Splits:
    """Run a registered task through the contract; an AssertionError says which clause it breaks.

    Checked: a file is read into targets, the same each time, and split; a model of the task is made, saved and known again; training
    on labels and on a teacher lowers the losses; a teacher's stored outputs are its outputs; what a predictor gives is what training
    sees; answers are JSON, one a text; every metric is best where predictions are the targets, and is resampled as it is computed;
    predictions survive the disk; results can be written.

    Args:
        name: of the task.
        directory: empty.
        example: labels, targets and cells; default: the task's entry in :data:`imbik.testing.task_examples.TASK_EXAMPLES`.

    Returns:
        The splits that it was checked on.
    """
    task = task_of(name)
    assert task.name == name and task.metrics, "a task has a name and a metric"
    example = example or TASK_EXAMPLES[name]
    splits = tiny_splits(name, rows=80, pairs=example.pairs, example=example)
    check_reading(task, splits, example, directory / "data.jsonl")
    checkpoint = _tiny(task, example.labels, layers=2)
    check_head(task, checkpoint, splits)
    check_stored_teacher(task, checkpoint, splits, directory / "cache")
    outputs = check_predictor(task, checkpoint, splits, directory / "model")
    check_metrics(task, outputs, splits)
    check_answers(task, outputs, splits)
    check_records(task, outputs, splits, directory / "predictions.npz")
    return splits


def check_reading(task: Task, splits: Splits, example: TaskExample, path: Path) -> None:
    """Check that a file of the example's cells is read back into its targets, and is split."""
    part = splits.train
    targets = np.asarray(part.targets)
    with path.open("w", encoding="utf-8") as file:
        for row in range(min(_LABELLED_ROWS, len(part))):
            pair = None if part.pairs is None else part.pairs[row]
            cells = {"text": _stored(part.texts[row], path, row), "label": example.cell(part.texts[row], pair, targets[row])}
            file.write(json.dumps(cells if pair is None else cells | {"second": pair}) + "\n")
    columns = ColumnNames("text", "second" if example.pairs else None, "label")
    first, second = (load_data(path, columns, task=task.name, say=lambda _: None) for _ in range(2))
    assert first.fingerprint == second.fingerprint, "the same file gives another fingerprint"
    assert first.metric == task.metric().name, "the default metric is the task's"
    expected = {text: targets[row] for row, text in enumerate(part.texts)}
    for split in (first.train, first.dev, first.test):
        assert split.targets is not None and len(split.targets) == len(split) > 0, "a split has a target a row"
        for text, target in zip(split.texts, split.targets, strict=True):
            _check_same(target, expected[text], f"the target of {text!r} was read wrongly")
    strata = task.strata(np.asarray(first.train.targets))
    assert strata.shape == (len(first.train),) and strata.dtype == np.int64, "strata give a number a row"


def check_head(task: Task, checkpoint: Checkpoint, splits: Splits) -> None:
    """Check that both losses are scalars with gradients, that training lowers them, and that a teacher agrees with itself."""
    head, splits = head_of(task.name), learned_apart(splits)
    data = encode_for(task.name, splits.train, checkpoint.tokenizer)
    targets = RowTargets.of(splits, splits.train, data)
    # texts that are read apart have none
    assert targets is None if task.apart else targets is not None and len(targets) == len(data), "each encoded row has its target"
    batch = to_batch(data, np.arange(16))
    mask = mask_of(batch)
    width = None if mask is None else mask.shape[1]
    wanted = targets.take(batch["rows"], width, torch.device("cpu")) if targets is not None else None
    teacher = _detached(run(checkpoint.model, batch, task))
    # 0 and not the teacher's entropy, which a plain cross-entropy would leave
    assert abs(float(head.distillation_loss(teacher, teacher, 2.0, mask))) < _TOLERANCE, "a teacher disagrees with itself"
    for what in ("labels", "teacher") if wanted is not None else ("teacher",):
        student = _tiny(task, splits.labels, layers=1, seed=1).model.train()
        head.prepare(student, np.asarray(splits.train.targets))
        optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
        values = []
        # on one batch, which thirty steps learn by heart if the gradient points the right way
        for _ in range(30):
            given = run(student, batch, task)
            loss = head.loss(given, wanted) if what == "labels" else head.distillation_loss(given, teacher, 2.0, mask)
            assert loss.ndim == 0 and bool(torch.isfinite(loss)), f"the loss against {what} is not a finite scalar"
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values.append(float(loss.detach()))
        # means of three: single steps of Adam go up and down
        assert np.mean(values[-3:]) < np.mean(values[:3]), f"training does not lower the loss against {what}"


def _tiny(task: Task, labels: tuple[str, ...], layers: int, seed: int = 0) -> Checkpoint:
    """Return a tiny model of a task."""
    if task.reads == IMAGES:
        return tiny_image_model(labels=labels, seed=seed, num_hidden_layers=layers)
    return tiny_bert(labels, task.name, layers=layers, seed=seed)


def _stored(row: str | bytes, beside: Path, number: int) -> str:
    """Return what a file of rows says of one: a text, or the name of the file that an image is written to."""
    if isinstance(row, str):
        return row
    file = beside.with_name(f"{number}.png")
    file.write_bytes(row)
    return file.name


def _detached(outputs: Tensors) -> Tensors:
    return {name: one.detach() for name, one in outputs.items()} if isinstance(outputs, Mapping) else outputs.detach()


def check_stored_teacher(task: Task, checkpoint: Checkpoint, splits: Splits, directory: Path) -> None:
    """Check that what a teacher said comes back from the disk, in any order, and is computed once."""
    teacher = Teacher.of(checkpoint)
    stored = TeacherCache(directory, teacher).logits(splits.dev, Silent())
    again = TeacherCache(directory, teacher)
    rows = np.arange(len(splits.dev))[::-1].copy()
    values = again.logits(splits.dev, Silent()).outputs(rows)
    assert again.runs == 0, "the teacher was run again on texts that it had read"
    whole = predict(checkpoint.model, encode_for(task.name, splits.dev, checkpoint.tokenizer), task.name)
    _check_close(values, take(whole, rows), "what the teacher said changed on the disk")
    _check_close(stored.outputs(rows), values, "what the teacher said changed on the disk")


def check_predictor(task: Task, checkpoint: Checkpoint, splits: Splits, directory: Path) -> Outputs:
    """Check that a saved model is known as one of this task, and that a predictor gives what training sees; return its outputs."""
    save_checkpoint(checkpoint, directory)
    loaded = load_checkpoint(directory)
    assert loaded.task == task.name, f"a saved model comes back as one for {loaded.task}"
    test = splits.test
    with full_precision():  # as a predictor computes
        seen = predict(checkpoint.model, encode_for(task.name, test, checkpoint.tokenizer), task.name)
    predictor = load_artefact(directory, threads=1)
    pairs = None if test.pairs is None else list(test.pairs)
    outputs = predictor.scores(list(test.texts), pairs)
    assert count_of(outputs) == len(test), "a predictor gives an output a text"
    _check_close(outputs, seen, "a predictor gives other outputs than training sees")
    alone = predictor.scores(list(test.texts[:1]), None if pairs is None else pairs[:1])
    _check_close(alone, take(outputs, slice(1)), "a text alone gives other outputs than among others")
    return outputs


def check_metrics(task: Task, outputs: Outputs, splits: Splits) -> None:
    """Check every metric: best where predictions are the targets, and its bootstrap what a plain loop over scores gives."""
    targets = np.asarray(splits.test.targets)
    decoded = task.decode(outputs, asked_of(splits, splits.test))
    predictions = task.predicted(decoded)
    assert len(predictions) == len(targets), "predictions have a row a text"
    width = task.width(decoded)
    everywhere = {metric.name: metric for known in registered().values() for metric in known.metrics}
    items = np.random.default_rng(3).integers(0, len(targets), (20, len(targets)))
    for metric in task.metrics:
        assert metric.less_is_better == everywhere[metric.name].less_is_better, f"another task's {metric.name} is better the other way"
        value = task.score(metric.name, decoded, targets)
        perfect = metric.score(targets, targets, width)
        assert math.isfinite(value) and not metric.better(value, perfect), f"{metric.name}: a model is better than the targets"
        drawn = metric.draws(predictions, targets, width)(items)
        plain = [metric.score(predictions[rows], targets[rows], width) for rows in items]
        np.testing.assert_allclose(drawn, plain, rtol=_TOLERANCE, atol=1e-7, err_msg=f"{metric.name} is resampled wrongly")
        low, high = bootstrap_interval(metric.name, decoded, targets, task.name, resamples=50)
        assert low <= high, f"{metric.name}: an interval that ends before it begins"
    same = task.agreement(outputs, outputs)
    assert same is None or same == 1.0, "a model disagrees with itself"
    codes = task.codes(targets)
    assert codes is None or codes.shape == (len(targets),), "codes give a number a row"


def check_answers(task: Task, outputs: Outputs, splits: Splits) -> None:
    """Check that what is said of texts is JSON, one answer a text, and can be shown."""
    test = splits.test
    pairs = None if test.pairs is None else list(test.pairs)
    answers = task.answers(task.decode(outputs, asked_of(splits, test)), splits.labels, list(test.texts), pairs, 2)
    assert len(answers) == len(test), "a text has one answer"
    for answer in answers:
        assert json.loads(json.dumps(answer)) == answer and "text" not in answer, "an answer is in JSON's own types"
        lines = task.lines(answer)
        assert lines and all(isinstance(what, str) and math.isfinite(value) for what, value in lines), "an answer has lines to show"
    labels = task.one_label(outputs)
    assert labels is None or (labels.shape == (len(test),) and labels.max() < len(splits.labels)), "one_label gives an index a text"


def check_records(task: Task, outputs: Outputs, splits: Splits, path: Path) -> None:
    """Check that predictions survive the disk and that quality can be written into results."""
    save_predictions(path, Predictions("a/b", splits.labels, task.name, {"test": splits.test.fingerprint}, {"test": outputs}))
    loaded = load_predictions(path).logits["test"]
    _check_close(loaded, outputs, "predictions changed on the disk")
    measured = quality(splits, "test", splits.test, {"test": loaded})
    assert measured["low"] <= measured["value"] <= measured["high"] and measured["n"] == len(splits.test), "quality has an interval"
    kept = retention(splits, outputs, loaded)
    assert kept is None or math.isclose(kept["value"], 1.0), "a model keeps all of itself"
    assert agreement(task.name, outputs, None) is None
    decoded = task.decode(outputs, asked_of(splits, splits.test))
    targets = np.asarray(splits.test.targets)
    classes = task.per_class(decoded, targets, splits.labels)
    assert json.loads(json.dumps([measured, task.calibration(decoded, targets), classes], allow_nan=False)), "measurements can be written"
    document = results_document(Results(task=task.name))
    assert json.loads(json.dumps(document, allow_nan=False))["task"] == task.name, "results can be written"


def _check_same(one: Array, other: Array, message: str) -> None:
    if np.asarray(one).dtype.kind == "U":
        np.testing.assert_array_equal(one, other, err_msg=message)
    else:
        np.testing.assert_allclose(one, other, rtol=1e-6, err_msg=message)


def _check_close(one: Outputs, other: Outputs, message: str) -> None:
    np.testing.assert_allclose(numbers_of(one), numbers_of(other), rtol=1e-4, atol=_TOLERANCE, err_msg=message)
    # where one of them has no places (what a teacher's store keeps are its numbers) there is nothing more to compare
    left, right = (to_arrays(outputs, "x") for outputs in (one, other))
    for name in (left.keys() & right.keys()) - {"x"}:
        np.testing.assert_allclose(left[name], right[name], rtol=1e-4, atol=_TOLERANCE, err_msg=message)
