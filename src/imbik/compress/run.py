"""The main job: teacher + recipes + data -> candidates, each made, exported and measured the same way, and the best one chosen."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from imbik.advise.choice import choose, pareto
from imbik.compress.builder import Builder, Built
from imbik.compress.keys import check_sources
from imbik.errors import UserError
from imbik.export.artefact import check_engine
from imbik.jobs.files import read_json, sha256, write_json
from imbik.jobs.fingerprints import key_of
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import locked
from imbik.locale.phrases import Phrases
from imbik.measure.predictions import save_predictions
from imbik.measure.process import Candidate
from imbik.measure.results import Results, disagreements, load_results, write_results
from imbik.measure.run import Measured, measure
from imbik.recipes.ladder import ladder
from imbik.recipes.recipe import load_recipe
from imbik.report.render import write_report
from imbik.runtime.engines.pytorch import CUDA, cuda_dtype
from imbik.runtime.manifest import NAME as MANIFEST
from imbik.students.catalogue import check_student
from imbik.tasks.registry import task_of
from imbik.tasks.task import check_pairs
from imbik.training.encoding import encode
from imbik.types import Checkpoint, Recipe, Splits

logger = logging.getLogger(__name__)
BASELINE = "teacher/pytorch"
_KEY = "measured.json"
_RESERVED = {"teacher", "results.json", "report.html"}
_LONGEST = 100


@dataclass(frozen=True)
class Limits:
    """What the user asks of a candidate. ``min_retention``: share of the teacher's dev quality; ``max_latency_ms``: p95 of a single
    request; ``max_mb``: million bytes shipped."""

    min_retention: float = 0.97
    max_latency_ms: float | None = None
    max_mb: float | None = None


@dataclass
class _Outcome:
    built: list[Built] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)


def compress(
    teacher: Checkpoint,
    splits: Splits,
    directory: Path,
    *,
    source: str,
    recipes: Sequence[str | Path | Recipe] = (),
    engines: Sequence[str] = ("onnx",),
    limits: Limits | None = None,
    minutes: float | None = None,
    threads: int | None = None,
    lang: str = "en",
    progress: Progress,
    say: Callable[[str], None],
    save_every: float = 30.0,
    preset: Mapping[str, Any] | None = None,
) -> Results:
    """Make, export and measure one candidate per recipe, and choose. Run again, it continues behind what is finished.

    Args:
        teacher: the model to compress, :func:`imbik.load_checkpoint`.
        splits: the data, :func:`imbik.load_data`, its labels in the teacher's order.
        directory: gets ``results.json``, ``teacher/``, and a folder per candidate.
        source: what to call the teacher (its folder or hub name).
        recipes: names, files or recipes; none: a ladder for this teacher (:mod:`imbik.recipes.ladder`).
        engines: what to build artefacts for.
        limits: what the choice must meet.
        minutes: no new recipe starts after this time.
        threads: of every engine while measuring; default: the physical cores.
        lang: of report.html, ``en`` or ``tr``.
        progress: where progress is shown.
        say: takes one line for the user.
        save_every: seconds between training states on disk.
        preset: the processor that int8 artefacts are made for, :func:`imbik.runtime.processors.int8_preset`; default: this one.

    Returns:
        What ``results.json`` holds.

    Raises:
        UserError: a teacher of pairs and data of single texts (or the other way round), a recipe that cannot be loaded, a folder that
            cannot be written. A recipe that fails while it runs is recorded in
            ``failures`` and the others go on.
    """
    check_pairs(teacher.pairs, splits.train.pairs is not None, "teacher")
    loaded = _load(recipes or ladder(teacher))
    for recipe in loaded:
        _check(recipe, teacher)
    for engine in engines:
        check_engine(engine)
    Phrases(lang)  # refuses an unknown language now, not after hours of training
    limits = limits or Limits()
    with locked(directory):
        builder = Builder(teacher, source, splits, directory, engines, progress, save_every, limits.min_retention, preset)
        builder.export_teacher()
        outcome = _build(builder, loaded, minutes, say)
        results = judge(_measure(builder, outcome, threads, progress, say), limits)
        _write(results, builder, outcome, threads)
        write_report([results], directory / "report.html", lang=lang)
    return results


def _measure(builder: Builder, outcome: _Outcome, threads: int | None, progress: Progress, say: Callable[[str], None]) -> Results:
    """The measurements of what was built: of an earlier call where nothing that they depend on has changed, else of now."""
    candidates = _candidates(builder, outcome.built)
    results = _measured_before(builder, outcome, candidates, threads)
    if results is not None:
        return results
    say(f"measuring {len(candidates)} candidates, interleaved")
    measured = measure(candidates, builder.splits, baseline=BASELINE, threads=threads, progress=progress)
    for note in _easy_dev(measured, builder.splits):
        say(note)
    return _results(measured, builder, outcome.failures)


def judge(results: Results, limits: Limits) -> Results:
    """The same measurements with the Pareto front and the choice under ``limits``."""
    choice = choose(results.measurements, results.baseline, limits.min_retention, limits.max_latency_ms, limits.max_mb)
    return replace(results, choice=choice, pareto=pareto(results.measurements))


def _check(recipe: Recipe, teacher: Checkpoint) -> None:
    """Refuse what can be seen before anything is trained, with the recipe's name."""
    try:
        check_student(recipe.student, teacher)
    except UserError as error:
        error.where = f"{recipe.name}, {error.where}" if error.where else recipe.name
        raise
    check_sources(recipe, teacher)


def _load(recipes: Sequence[str | Path | Recipe]) -> list[Recipe]:
    loaded = [recipe if isinstance(recipe, Recipe) else load_recipe(recipe) for recipe in recipes]
    names = [recipe.name for recipe in loaded]
    folded = [name.casefold() for name in names]  # one folder on many systems
    twice = sorted({name for name in names if folded.count(name.casefold()) > 1})
    if twice:
        raise UserError("two recipes have the same name", where="--recipe", found=", ".join(twice), fix="change 'name:' in one of them")
    for name in names:
        if name.casefold() in _RESERVED or len(name) > _LONGEST:
            what = f"a name of more than {_LONGEST} letters" if len(name) > _LONGEST else "a name that the output folder needs"
            raise UserError(f"a recipe cannot have {what}", where="--recipe", found=name, fix="write it to a file and change its 'name:'")
    return loaded


def _build(builder: Builder, recipes: Sequence[Recipe], minutes: float | None, say: Callable[[str], None]) -> _Outcome:
    outcome = _Outcome()
    began = time.monotonic()
    for number, recipe in enumerate(recipes, 1):
        if minutes is not None and time.monotonic() - began > minutes * 60:
            outcome.failures.append({"name": recipe.name, "error": f"not started: the {minutes:g} minutes were used up", "skipped": True})
            continue
        say(f"[{number}/{len(recipes)}] {recipe.name}")
        try:
            outcome.built.append(builder.build(recipe, say))
        except (KeyboardInterrupt, OSError):
            raise  # the user's wish, or a disk that no other recipe can write to either
        except Exception as error:
            logger.debug("recipe %s failed", recipe.name, exc_info=True)
            outcome.failures.append({"name": recipe.name, "error": str(error) or type(error).__name__, "kind": type(error).__name__})
            say(f"{recipe.name} failed: {error}")
    for name, message in builder.failures.items():
        outcome.failures.append({"name": name, "error": message, "kind": "engine"})
        say(f"{name} failed, other engines have the model: {message}")
    return outcome


def _candidates(builder: Builder, built: Sequence[Built]) -> list[Candidate]:
    """The baseline first, then the teacher on the GPU where there is one, its own artefacts, then the recipes in their order."""
    steps = builder.teacher.steps
    out = [Candidate(BASELINE, "teacher", "pytorch", builder.teacher_folder(), steps, None)]
    if cuda_dtype() is not None:
        out.append(Candidate(f"teacher/{CUDA}", "teacher", CUDA, builder.teacher_folder(), steps, None))
    for engine in builder.engines:
        path = builder.directory / "teacher" / "artefacts" / engine
        if (path / MANIFEST).is_file():
            out.append(Candidate(f"teacher/{engine}", "teacher", engine, path, steps, None))
    for one in built:
        for engine, path in one.artefacts.items():
            out.append(Candidate(f"{one.recipe.name}/{engine}", one.recipe.name, engine, path, one.steps, one.train_seconds))
    return out


def _run_key(builder: Builder, outcome: _Outcome, candidates: Sequence[Candidate], threads: int | None) -> str:
    """Of all that the measurements depend on."""
    recipes = [builder.key(one.recipe) for one in outcome.built]
    artefacts = {c.id: sha256(c.path / MANIFEST) for c in candidates if (c.path / MANIFEST).is_file()}
    common = builder.key(Recipe("teacher", ()))  # teacher, data and metric, where no recipe was built too
    parts = {"candidates": [c.id for c in candidates], "artefacts": artefacts, "recipes": recipes, "threads": threads, "common": common}
    return key_of(parts | {"failures": outcome.failures})


def _measured_before(builder: Builder, outcome: _Outcome, candidates: Sequence[Candidate], threads: int | None) -> Results | None:
    """The results of an earlier call with the same candidates, if it finished: they are not measured twice."""
    path = builder.directory / "results.json"
    if not path.is_file() or read_json(builder.work / _KEY).get("key") != _run_key(builder, outcome, candidates, threads):
        return None
    return load_results(path)


def _write(results: Results, builder: Builder, outcome: _Outcome, threads: int | None) -> None:
    """``results.json``, then the key under which a later call takes it; no key stands beside the results of another call, ever."""
    key = builder.work / _KEY
    key.unlink(missing_ok=True)
    write_results(builder.directory / "results.json", results)
    write_json(key, {"key": _run_key(builder, outcome, _candidates(builder, outcome.built), threads)})


def _results(measured: Measured, builder: Builder, failures: Sequence[Mapping[str, Any]]) -> Results:
    splits = builder.splits
    save_predictions(builder.directory / "teacher" / "predictions.npz", measured.predictions(BASELINE, splits))
    return Results(
        task=splits.task,
        data={
            "source": splits.source,
            "fingerprint": splits.fingerprint,
            "labels": list(splits.labels),
            "metric": splits.metric,
            "rows": {name: len(getattr(splits, name).texts) for name in ("train", "dev", "test")},
            "unlabelled": len(splits.unlabelled.texts) if splits.unlabelled else 0,
            "truncated": {name: encode(getattr(splits, name), builder.teacher.tokenizer).truncated for name in ("train", "dev", "test")},
            "max_length": int(builder.teacher.tokenizer.model_max_length),
            "notes": [*splits.notes, *_easy_dev(measured, splits)],
        },
        environment=measured.environment,
        baseline=BASELINE,
        measurements=measured.measurements,
        failures=(*failures, *measured.failures),
        disagreements=_disagreements(measured, splits),
    )


def _easy_dev(measured: Measured, splits: Splits) -> list[str]:
    """Dev that is far easier for the teacher than test is no fair sample of test; the reader of the choice must know."""
    teacher = next(m for m in measured.measurements if m.id == BASELINE)
    dev, test = teacher.dev_quality, teacher.quality
    merit = task_of(splits.task).metric(splits.metric).merit  # an error is better when it is lower
    best_of_test, worst_of_dev = (max(map(merit, (test["low"], test["high"]))), min(map(merit, (dev["low"], dev["high"]))))
    if merit(dev["value"]) <= best_of_test or worst_of_dev <= merit(test["value"]):
        return []
    note = (
        f"the teacher scores {dev['value']:.4f} on dev and {test['value']:.4f} on test: it has seen the dev rows, or dev is more like "
        "train than test is; retention on dev, which the choice goes by, may not hold on test; a dev file like the test file mends it"
    )
    return [note]


def _disagreements(measured: Measured, splits: Splits) -> dict[str, list[dict[str, Any]]]:
    """Return test texts on which a candidate answers otherwise than the teacher; for tasks that answer with one label."""
    answers = {identifier: task_of(splits.task).one_label(outputs["test"]) for identifier, outputs in measured.logits.items()}
    teacher = answers.pop(BASELINE)
    if teacher is None or splits.test.targets is None:
        return {}
    texts = splits.test.texts if splits.test.pairs is None else _Joined(splits)
    gold = np.asarray(splits.test.targets).tolist()
    return {
        identifier: disagreements(texts, gold, teacher.tolist(), labels.tolist(), splits.labels)
        for identifier, labels in answers.items()
        if labels is not None
    }


class _Joined(Sequence[str]):
    """Both texts of a pair as one line, made when asked for."""

    def __init__(self, splits: Splits) -> None:
        self.examples = splits.test

    def __len__(self) -> int:
        return len(self.examples.texts)

    def __getitem__(self, index: Any) -> Any:
        assert self.examples.pairs is not None
        return f"{self.examples.texts[index]} | {self.examples.pairs[index]}"
