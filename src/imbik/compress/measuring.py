"""Measurements of what was made: all candidates side by side in one run, and ``results.json`` beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imbik.compress.candidate import Made
from imbik.compress.options import Run
from imbik.compress.rivals import Rivals
from imbik.data.carving.apart import as_read
from imbik.export.average import write_average
from imbik.images.store import shown as shown_rows
from imbik.jobs.files import read_json, sha256, write_json
from imbik.jobs.fingerprints import key_of
from imbik.jobs.paths import with_home
from imbik.locale.notes import sentence
from imbik.measure.predictions import save_predictions
from imbik.measure.process import Candidate
from imbik.measure.results import Results, disagreements, load_results, write_results
from imbik.measure.run import Measured, measure
from imbik.measure.values import Data, Disagreement, Failure
from imbik.models.checkpoint import save_checkpoint
from imbik.models.teacher import TEACHER
from imbik.report.render import write_report
from imbik.runtime.engines.average import Averages
from imbik.runtime.engines.registry import BASELINE as BASELINE_ENGINE
from imbik.runtime.engines.registry import engines as known_engines
from imbik.runtime.manifest import MANIFEST_FILE
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.training.encoding import encode
from imbik.types import Examples, Note, Splits

BASELINE = f"{TEACHER}/{BASELINE_ENGINE}"
_KEY = "measured.json"


@dataclass(frozen=True)
class Comparison:
    """Everything that is measured side by side.

    Attributes:
        candidates: the baseline first, which is the teacher in PyTorch or the average of several, then one teacher on engines that
            are only shown (a GPU), each teacher's artefacts, then the recipes in their order.
        failures: what could not be made.
        key: of all that the measurements depend on.
        run: the call.
        notes: why there are fewer rivals than there might be.
    """

    candidates: tuple[Candidate, ...]
    failures: tuple[Failure, ...]
    key: str
    run: Run
    notes: tuple[Note, ...] = ()

    @classmethod
    def of(cls, made: Made, rivals: Rivals, run: Run) -> Comparison:
        """Return the comparison of what was made, with what a user would try first beside it."""
        candidates = (*_candidates(made, run), *rivals.candidates)
        failures = tuple(failure.value() for failure in made.failures)
        key = key_of(
            {
                "candidates": [candidate.id for candidate in candidates],
                # the manifest lists the digests of all other files
                "artefacts": {c.id: sha256(c.path / MANIFEST_FILE) for c in candidates if (c.path / MANIFEST_FILE).is_file()},
                "recipes": [built.key for built in made.built],
                "threads": run.options.threads,
                "common": made.teacher_key,  # teacher, data and metric, where no recipe was built too
                # a note says the same as its error in other words
                "failures": [{k: v for k, v in failure.items() if k != "note"} for failure in failures],
            }
        )
        return cls(candidates, failures, key, run, rivals.notes)

    def measure(self) -> Results:
        """Measure everything, or take the results of an earlier call where nothing that they depend on has changed."""
        run, path = self.run, self.run.directory / "results.json"
        if path.is_file() and read_json(run.work / _KEY).get("key") == self.key:
            return load_results(path)
        run.say(f"measuring {len(self.candidates)} candidates, interleaved")
        baseline, threads, rounds = self.candidates[0].id, run.options.threads, run.options.rounds
        measured = measure(self.candidates, run.splits, baseline=baseline, threads=threads, rounds=rounds, progress=run.progress)
        for note in _easy_dev(measured, run.splits):
            run.say(sentence(note))
        return _results(measured, self.failures, self.notes, run)

    def publish(self, results: Results) -> None:
        """Write ``results.json``, then the key under which a later call takes it, then the report.

        No key stands beside the results of another call, ever.
        """
        run, key = self.run, self.run.work / _KEY
        # the key goes first and comes last: a kill between leaves results without a key, which are
        # measured again, and never a key beside results that it does not belong to
        key.unlink(missing_ok=True)
        write_results(run.directory / "results.json", results)
        write_json(key, {"key": self.key})
        write_report([results], run.directory / "report.html", lang=run.options.lang)


def _candidates(made: Made, run: Run) -> Iterator[Candidate]:
    yield from _baseline(run)
    teachers = run.teacher.members
    for name, member in teachers.items():
        for engine in run.options.engines:
            path = run.directory / name / "artefacts" / engine
            if (path / MANIFEST_FILE).is_file():
                yield Candidate(f"{name}/{engine}", name, engine, path, member.steps, None)
    names = {TEACHER, *(built.name for built in made.built)}
    for built in made.built:
        parent = built.parent if built.parent in names else None  # a parent that failed is not among the results
        parent = next(iter(teachers)) if parent == TEACHER else parent  # of several the first one's weights
        for engine, path in built.artefacts.items():
            yield Candidate(f"{built.name}/{engine}", built.name, engine, path, built.steps, built.train_seconds, parent=parent)


def _baseline(run: Run) -> Iterator[Candidate]:
    """What candidates are compared with, and the same on engines that are only shown."""
    steps = run.teacher.steps
    # of several no one is the baseline: students are compared with what they learned from
    if run.teacher.others:
        folder = run.work / "teacher-average"
        write_average(run.teacher, folder)
        yield Candidate(f"{TEACHER}/{Averages.name}", TEACHER, Averages.name, folder, steps, None)
        return
    folder = _teacher_folder(run)
    yield Candidate(BASELINE, TEACHER, BASELINE_ENGINE, folder, steps, None)
    for shown in known_engines().values():
        if shown.shown_only and shown.runs_checkpoints and shown.available():
            yield Candidate(f"{TEACHER}/{shown.name}", TEACHER, shown.name, folder, steps, None)


def _teacher_folder(run: Run) -> Path:
    """Return the teacher's checkpoint folder: the user's own, or a copy where the teacher came from a hub."""
    folder = with_home(run.teacher.source)
    if folder.is_dir():
        return folder
    copied = run.work / "teacher-model"
    if not (copied / "config.json").is_file():
        save_checkpoint(run.teacher, copied)
    return copied


def _results(measured: Measured, failures: Sequence[Failure], beside: Sequence[Note], run: Run) -> Results:
    splits, tokenizer = run.splits, run.teacher.tokenizer
    save_predictions(run.directory / "teacher" / "predictions.npz", measured.predictions(str(measured.baseline), splits))
    return Results(
        task=splits.task,
        data=replace(
            Data.of(splits),
            unlabelled=len(splits.unlabelled.texts) if splits.unlabelled else 0,
            truncated={name: _truncated(getattr(splits, name), run) for name in ("train", "dev", "test")},
            max_length=None if task_of(splits.task).reads == IMAGES else int(tokenizer.model_max_length),
            notes=(*splits.notes, *_easy_dev(measured, splits), *_several(run), *beside),
        ),
        environment=measured.environment,
        baseline=measured.baseline,
        measurements=measured.measurements,
        failures=(*failures, *measured.failures),
        disagreements=_disagreements(measured, splits),
    )


def _truncated(examples: Examples, run: Run) -> int:
    """Return how many rows the teacher does not read whole."""
    task = task_of(run.splits.task)
    return 0 if task.reads == IMAGES else encode(as_read(examples, task.name), run.teacher.tokenizer).truncated


def _easy_dev(measured: Measured, splits: Splits) -> list[Note]:
    """Return a note where dev is far easier for the teacher than test: then it is no fair sample of test."""
    teacher = next(m for m in measured.measurements if m.id == measured.baseline)
    dev, test = teacher.dev_quality, teacher.quality
    if dev.value is None or dev.low is None or dev.high is None or test.value is None or test.low is None or test.high is None:
        return []
    merit = task_of(splits.task).metric(splits.metric).merit  # an error is better when it is lower
    best_of_test = max(merit(test.low), merit(test.high))
    worst_of_dev = min(merit(dev.low), merit(dev.high))
    # each value outside of the other's interval: more than chance between two samples of one
    # population
    if merit(dev.value) <= best_of_test or worst_of_dev <= merit(test.value):
        return []
    return [Note.of("easy_dev", dev=dev.value, test=test.value)]


def _disagreements(measured: Measured, splits: Splits) -> dict[str, tuple[Disagreement, ...]]:
    """Return the test texts on which a candidate answers otherwise than the teacher; for tasks that answer with one label."""
    answers = {identifier: task_of(splits.task).one_label(outputs["test"]) for identifier, outputs in measured.logits.items()}
    teacher = answers.pop(str(measured.baseline))
    if teacher is None or splits.test.targets is None:
        return {}
    texts = shown_rows(splits.test.texts) if splits.test.pairs is None else _Joined(splits)
    gold = np.asarray(splits.test.targets).tolist()
    return {
        identifier: disagreements(texts, gold, teacher.tolist(), labels.tolist(), splits.labels)
        for identifier, labels in answers.items()
        if labels is not None
    }


def _several(run: Run) -> list[Note]:
    """Return a note on who the teachers are, where there are several."""
    if not run.teacher.others:
        return []
    teachers = run.teacher.members
    told = "; ".join(f"{name}: {member.source}" for name, member in teachers.items())
    return [Note.of("teachers_averaged", count=len(teachers), teachers=told, first=next(iter(teachers)))]


class _Joined(Sequence[str]):
    """Both texts of a pair as one line, made when asked for."""

    def __init__(self, splits: Splits) -> None:
        self.examples = splits.test

    def __len__(self) -> int:
        return len(self.examples.texts)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        assert self.examples.pairs is not None
        return f"{self.examples.texts[index]} | {self.examples.pairs[index]}"
