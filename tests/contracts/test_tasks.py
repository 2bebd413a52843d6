"""Every registered task keeps the contract, and so does one of a stranger's whose answers are spans of a text."""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imbik.data.load import load_data
from imbik.errors import UserError
from imbik.finetune.classifier import finetune
from imbik.jobs.progress import Silent
from imbik.measure.process import Candidate
from imbik.measure.results import Results, load_results, results_document
from imbik.measure.run import measure
from imbik.measure.worker import Worker
from imbik.methods.registry import make_method
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.runtime.predictor import load_artefact
from imbik.students.catalogue import make_student
from imbik.tasks import registry
from imbik.tasks.outputs import numbers_of
from imbik.tasks.registry import registered, task_of
from imbik.testing.task_contract import check_task
from imbik.testing.task_examples import TASK_EXAMPLES, TaskExample
from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits
from imbik.training import heads
from imbik.training.settings import Training

LABELS = ("start", "end")
HELPERS = Path(__file__).parents[1] / "helpers"


def last_word(_texts, pairs):
    """The span of the second text's last word."""
    return np.array([(pair.rfind(" ") + 1, len(pair)) for pair in pairs], np.int64)


SPAN = TaskExample(LABELS, last_word, lambda _text, _pair, target: {"start": int(target[0]), "end": int(target[1])}, pairs=True)


@pytest.fixture
def toy_span():
    """The task and its head, registered for the time of a test."""
    for name in ("toy_span", "toy_span_head"):
        importlib.reload(importlib.import_module(name))
    yield task_of("toy-span")
    registry._TASKS.pop("toy-span")
    heads._HEADS.pop("toy-span")


def test_every_registered_task_has_an_example_and_a_head():
    assert set(TASK_EXAMPLES) == set(registered()) == set(heads._HEADS)


@pytest.mark.parametrize("name", sorted(TASK_EXAMPLES))
def test_the_contract(name, tmp_path):
    check_task(name, tmp_path)


def test_a_task_that_answers_with_spans_keeps_the_contract(toy_span, tmp_path):
    check_task("toy-span", tmp_path, example=SPAN)


def test_the_contract_notices_a_metric_that_is_better_the_other_way(toy_span, tmp_path, monkeypatch):
    upside_down = [replace_direction(metric) for metric in toy_span.metrics]
    monkeypatch.setattr(type(toy_span), "metrics", tuple(upside_down))
    with pytest.raises(AssertionError, match="better than the targets"):
        check_task("toy-span", tmp_path, example=SPAN)


def replace_direction(metric):
    return type(metric)(metric.name, metric.per_item, less_is_better=not metric.less_is_better)


def written(folder: Path, rows: int = 90) -> Path:
    """A file of questions, contexts and answers."""
    part = tiny_splits("toy-span", rows=rows, pairs=True, example=SPAN).train
    with (folder / "spans.jsonl").open("w") as file:
        for text, pair, target in zip(part.texts, part.pairs, part.targets, strict=True):
            cells = {"question": text, "context": pair, "answer": {"start": int(target[0]), "end": int(target[1])}, "id": "x"}
            file.write(json.dumps(cells) + "\n")
    return folder / "spans.jsonl"


def test_spans_go_from_a_file_through_training_and_distillation_to_answers(toy_span, tmp_path):
    said: list[str] = []
    splits = load_data(written(tmp_path), task="toy-span", metric="toy-miss", say=said.append)
    assert "label = answer" in said[0] and "text = question, text-pair = context" in said[0]
    assert splits.train.targets.shape == (len(splits.train), 2) and splits.labels == LABELS
    for start, stop in splits.test.targets[:3]:
        assert stop > start >= 0
    save_checkpoint(tiny_bert(("x", "y"), layers=2), tmp_path / "base")  # a classifier's encoder gets the task's head
    settings = Training(epochs=12, learning_rate=3e-3, batch_tokens=512)
    result = finetune(tmp_path / "base", splits, tmp_path / "teacher", settings=settings, progress=Silent(), say=said.append)
    assert 0 <= result.dev < 8, f"the answers are {result.dev} characters off"
    teacher = load_checkpoint(tmp_path / "teacher")
    assert teacher.task == "toy-span" and type(teacher.model).__name__ == "BertForQuestionAnswering"

    student = make_student({"layers": 1}, teacher, splits.train, 0)
    context = tiny_context(teacher, splits, tmp_path / "work")
    student = make_method({"distill": {"epochs": 4, "hard": 0.5, "learning_rate": 3e-3}}, "r").apply(student, context)
    assert context.cache.runs > 0
    save_checkpoint(replace(student, pairs=True), tmp_path / "student")
    predictor = load_artefact(tmp_path / "student", threads=1)
    decoded = predictor.predict(["card"], ["my bank account"])
    (answer,) = toy_span.answers(decoded, LABELS, ["card"], ["my bank account"], 1)
    assert answer["answer"] == "my bank account"[answer["start"] : answer["end"]] != ""


def test_a_worker_writes_spans_and_reads_no_more_than_a_text_needs(toy_span, tmp_path):
    from imbik.measure.predictions import load_outputs
    from imbik.measure.timing import write_rows

    splits = tiny_splits("toy-span", pairs=True, example=SPAN)
    save_checkpoint(tiny_bert(LABELS, "toy-span", layers=1), tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", splits.test.texts, splits.test.pairs)
    worker = Worker(str(tmp_path / "model"), 1)
    worker.scores(str(tmp_path / "rows.jsonl"), len(splits.test), str(tmp_path / "out.npy"), 64)
    outputs = load_outputs(tmp_path / "out.npy")
    direct = worker.predictor.scores(list(splits.test.texts), list(splits.test.pairs))
    np.testing.assert_allclose(numbers_of(outputs), numbers_of(direct), atol=1e-6)
    assert [len(row) for row in outputs["start_logits"]] == [len(row) for row in outputs["places"]]


def test_a_task_that_a_package_announces_is_measured_in_processes_of_its_own(toy_span, tmp_path, monkeypatch):
    announced = tmp_path / "site" / "toy-1.dist-info"
    announced.mkdir(parents=True)
    (announced / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (announced / "entry_points.txt").write_text("[imbik.tasks]\ntoy = toy_span\n[imbik.heads]\ntoy = toy_span_head\n")
    paths = [str(tmp_path / "site"), str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    splits = tiny_splits("toy-span", pairs=True, example=SPAN)
    save_checkpoint(tiny_bert(LABELS, "toy-span", layers=1), tmp_path / "one")
    save_checkpoint(tiny_bert(LABELS, "toy-span", layers=1, seed=2), tmp_path / "two")
    candidates = [Candidate(name, name, "pytorch", tmp_path / name) for name in ("one", "two")]
    measured = measure(candidates, splits, baseline="one", rounds=1, threads=1)
    assert not measured.failures
    first, second = measured.measurements
    assert first.quality.metric == "toy-exact" and first.quality.low <= first.quality.value <= first.quality.high
    assert first.agreement == 1.0 and second.agreement is not None and second.agreement < 1.0
    assert first.calibration.ece is None and not first.per_class
    results = Results("toy-span", {"metric": "toy-exact"}, measured.environment, "one", measured.measurements)
    (tmp_path / "results.json").write_text(json.dumps(results_document(results)))
    loaded = load_results(tmp_path / "results.json")
    assert loaded.task == "toy-span" and loaded.measurements[1].quality.value == second.quality.value


def test_a_cell_that_is_no_span_is_refused_with_its_row(toy_span, tmp_path):
    path = written(tmp_path, rows=30)
    lines = path.read_text().splitlines()
    lines[6] = json.dumps({"question": "a", "context": "b", "answer": "b"})
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"(?s)row 7, column 'answer': not a span"):
        load_data(path, task="toy-span", say=lambda _: None)
    with pytest.raises(UserError, match="toy-span needs two texts a row"):
        load_data(path, task="toy-span", text="question", say=lambda _: None)


def test_a_stored_teacher_survives_a_torn_record_of_spans(toy_span, tmp_path):
    from imbik.models.teacher import Teacher
    from imbik.training.teacher_cache import TeacherCache

    splits = tiny_splits("toy-span", pairs=True, example=SPAN)
    teacher = Teacher.of(tiny_bert(LABELS, "toy-span", layers=1))
    cache = TeacherCache(tmp_path, teacher)
    whole = cache.logits(splits.test, Silent()).outputs(np.arange(len(splits.test)))
    for name, cut in (("keys.bin", 20), ("logits.bin", 9), ("sizes.bin", 3)):
        with open(cache.directory / name, "r+b") as file:
            file.truncate(os.path.getsize(cache.directory / name) - cut)
    again = TeacherCache(tmp_path, teacher)
    values = again.logits(splits.test, Silent()).outputs(np.arange(len(splits.test)))
    assert 0 < again.runs < len(splits.test)
    np.testing.assert_allclose(numbers_of(values), numbers_of(whole), atol=1e-5)


@pytest.mark.parametrize("problem", [None, "single_label_classification", "regression"])
def test_a_new_task_takes_over_nobodys_models(tmp_path, monkeypatch, problem):
    """A plain transformers folder stays what it was, whatever the new task's name and head."""
    from imbik.tasks.classification import Classification

    registered()
    monkeypatch.setattr(registry, "_TASKS", {"a-new-one": None, **registry._TASKS})  # before all others
    kind = type("New", (Classification,), {"name": "a-new-one", "problem_type": problem, "plain_models": False, "fits": lambda *_: True})
    registry.register(kind)
    for task, labels in (("classification", ("a", "b", "c")), ("regression", ("score",))):
        checkpoint = tiny_bert(labels, task, layers=1)
        checkpoint.model.save_pretrained(tmp_path / task)
        checkpoint.tokenizer.save_pretrained(tmp_path / task)
        assert load_checkpoint(tmp_path / task).task == task
