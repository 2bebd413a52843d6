"""Make one candidate of a recipe: student, steps, checkpoint folder, artefact. Each finished step is kept under a key of all it
depends on, so recipes that begin alike share their beginning and a run that was killed continues behind its last finished step."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imbik.compress.card import student_card
from imbik.compress.keys import recipe_key
from imbik.errors import UserError
from imbik.export.accuracy import Limit
from imbik.export.artefact import export
from imbik.jobs.files import read_json, refuse_foreign, write_json
from imbik.jobs.fingerprints import key_of
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import NAME, Clock
from imbik.methods.registry import check_order, make_method, settled
from imbik.models.checkpoint import fingerprint, save_checkpoint
from imbik.models.facts import architecture
from imbik.models.pretrained import load_checkpoint
from imbik.models.structure import structure_of
from imbik.runtime.engines import quantize_step, refusal
from imbik.runtime.processors import int8_preset
from imbik.students.catalogue import make_student
from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.encoding import encode_for
from imbik.training.prediction import dev_quality
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Recipe, Splits, Step

logger = logging.getLogger(__name__)
_DONE = "candidate.json"


@dataclass(frozen=True)
class Built:
    """A candidate on disk.

    Attributes:
        recipe: what made it.
        model: its checkpoint folder.
        artefacts: engine -> artefact folder.
        steps: all steps applied, the teacher's own included.
        train_seconds: time that its training steps took, shared beginnings included.
    """

    recipe: Recipe
    model: Path
    artefacts: dict[str, Path]
    steps: tuple[Step, ...]
    train_seconds: float


class Builder:
    """Builds candidates of one teacher on one data set into one folder.

    Args:
        teacher: the model to compress; its name for model cards is ``source``.
        splits: the data.
        directory: the output folder; ``directory/.imbik`` keeps finished steps and the teacher's outputs.
        engines: engines to build artefacts for.
        progress: where progress is shown.
        save_every: seconds between training states on disk.
        min_retention: share of the teacher's dev quality that quantizing must keep (:class:`imbik.export.accuracy.Limit`); None: no limit.
        preset: the processor that artefacts are made for, :func:`imbik.runtime.processors.int8_preset`; None: this one.
    """

    def __init__(
        self,
        teacher: Checkpoint,
        source: str,
        splits: Splits,
        directory: Path,
        engines: Sequence[str],
        progress: Progress,
        save_every: float,
        min_retention: float | None = None,
        preset: Mapping[str, Any] | None = None,
    ) -> None:
        self.min_retention, self.preset = min_retention, dict(preset or int8_preset())
        teacher = replace(teacher, pairs=splits.train.pairs is not None)
        self.teacher, self.source, self.splits, self.directory = teacher, source, splits, directory
        self.work, self.engines, self.progress, self.save_every = directory / NAME, tuple(engines), progress, save_every
        self.teacher_key = fingerprint(teacher)
        self.failures: dict[str, str] = {}  # "recipe/engine" -> why that engine has no artefact although another one has
        self.cache = TeacherCache(self.work / "teacher", teacher)

    def key(self, recipe: Recipe, steps: int | None = None) -> str:
        """Of all that the first ``steps`` steps of ``recipe`` depend on."""
        return recipe_key(recipe, steps, self.teacher, self.teacher_key, self.splits)

    def build(self, recipe: Recipe, say: Callable[[str], None]) -> Built:
        """The candidate of ``recipe``, made or found finished. Artefacts that an earlier call made of the same model for other engines
        stay.

        Raises:
            UserError: what the student, a step or the exporter refuses.
        """
        folder = self.directory / recipe.name
        record, key = read_json(folder / _DONE), self.key(recipe)
        failures = (record.get("failures") or {}) if record.get("key") == key else {}
        asked = {name: why for name, why in failures.items() if name.rpartition("/")[2] in self.engines}
        if record.get("key") == key and self._complete(folder, recipe, asked):
            say(f"{recipe.name}: finished earlier")
            self.failures |= asked
        else:
            check_order(recipe.steps, recipe.name)
            checkpoint, seconds = self._checkpoint(recipe)
            self._clear(folder, recipe, keep=record.get("key") == key)
            others = {name: why for name, why in failures.items() if name not in asked}
            record = {"key": key, "train_seconds": seconds, "steps": [dict(s) for s in checkpoint.steps], "failures": others}
            self._publish(recipe, checkpoint, folder, record)
        engines = [engine for engine in self._engines(recipe.steps) if f"{recipe.name}/{engine}" not in self.failures]
        artefacts = {engine: folder / "artefacts" / engine for engine in engines}
        return Built(recipe, folder / "model", artefacts, tuple(record["steps"]), float(record["train_seconds"]))

    def export_teacher(self) -> dict[str, Path]:
        """The teacher's own artefacts, unchanged weights: a candidate like any other. One that was made of another teacher, on other
        data or for another processor is made anew."""
        note, folder = self.work / "teacher-artefacts.json", self.directory / "teacher"
        made_for = None if quantize_step(self.teacher.steps) is None else [self.preset, self.min_retention]
        key = key_of({"recipe": self.key(Recipe("teacher", ())), "for": made_for})
        made = read_json(note)
        for engine in self._engines(self.teacher.steps):
            if made.get(engine) != key:
                shutil.rmtree(folder / "artefacts" / engine, ignore_errors=True)
        out = self._export(self.teacher, folder)
        write_json(note, made | dict.fromkeys(out, key))
        return out

    def teacher_folder(self) -> Path:
        """The teacher's checkpoint folder: the user's own, or a copy where the teacher came from a hub."""
        folder = Path(self.source)
        if folder.is_dir():
            return folder
        copied = self.work / "teacher-model"
        if not (copied / "config.json").is_file():
            save_checkpoint(self.teacher, copied)
        return copied

    def _complete(self, folder: Path, recipe: Recipe, failures: Mapping[str, str]) -> bool:
        """Whether every artefact is there, made for this processor and, where quantized, inside this limit."""
        engines = [engine for engine in self._engines(recipe.steps) if f"{recipe.name}/{engine}" not in failures]
        return all(self._fits(folder / "artefacts" / engine, recipe) for engine in engines)

    def _fits(self, artefact: Path, recipe: Recipe) -> bool:
        """Whether an artefact is there and today's call would make it the same."""
        manifest = read_json(artefact / "manifest.json")
        if quantize_step(recipe.steps) is None:
            return bool(manifest)
        return manifest.get("cpu") == self.preset and self._holds((manifest.get("parity") or {}).get("limit"))

    def _clear(self, folder: Path, recipe: Recipe, keep: bool) -> None:
        """Delete what is to be made anew: everything, or (``keep``: the model is the same) the artefacts that no longer fit.

        Raises:
            UserError: the folder holds files of the user's.
        """
        refuse_foreign(folder, {"model", "artefacts", _DONE, _DONE + ".tmp"})
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        for artefact in (folder / "artefacts" / engine for engine in self.engines):
            if not self._fits(artefact, recipe):
                shutil.rmtree(artefact, ignore_errors=True)

    def _holds(self, limit: Mapping[str, Any] | None) -> bool:
        """Whether an artefact that was made under ``limit`` would be made the same under today's."""
        if limit is None or self.min_retention is None:
            return limit is None and self.min_retention is None
        untouched = limit["kept"] == limit["before"] >= self.min_retention
        return bool(untouched or limit["min_retention"] == self.min_retention)

    def _engines(self, steps: Sequence[Step]) -> list[str]:
        """The engines that can build a model with these steps.

        Raises:
            UserError: none of them can.
        """
        reasons = {engine: refusal(engine, steps) for engine in self.engines}
        able = [engine for engine, reason in reasons.items() if reason is None]
        if not able:
            raise UserError("; ".join(str(reason) for reason in reasons.values()), fix="choose another engine or another recipe")
        return able

    def _checkpoint(self, recipe: Recipe) -> tuple[Checkpoint, float]:
        """Teacher or student after all steps, and the seconds they took in all."""
        start, found, seconds = 0, None, 0.0
        for count in range(len(recipe.steps), 0, -1):
            folder = self.work / "steps" / self.key(recipe, count)
            if (folder / "step.json").is_file():
                found, start = folder, count
                seconds = float(read_json(folder / "step.json")["seconds"])
                break
        if found is not None:
            checkpoint = load_checkpoint(found, role="student")
        else:
            checkpoint = make_student(recipe.student, self.teacher, self.splits.train, recipe.seed)
            checkpoint = replace(checkpoint, steps=self.teacher.steps)
        for number in range(start, len(recipe.steps)):
            checkpoint, seconds = self._step(recipe, number, checkpoint, seconds)
        return replace(checkpoint, pairs=self.teacher.pairs), seconds

    def _step(self, recipe: Recipe, number: int, checkpoint: Checkpoint, before: float) -> tuple[Checkpoint, float]:
        step = recipe.steps[number]
        made = make_method(step, recipe.name)
        key = self.key(recipe, number + 1)
        private = self.work / "running" / key
        private.mkdir(parents=True, exist_ok=True)
        seed = int(key[:7], 16) + recipe.seed
        torch.manual_seed(seed)
        context = Context(self.teacher, self.splits, self.cache, seed, self.progress, private, self.work / "shared", self.save_every)
        began = time.perf_counter()
        with Clock(private / "seconds.json") as clock:
            changed = made.apply(checkpoint, context)
        logger.info("%s, %s: %.1f s", recipe.name, made.name, time.perf_counter() - began)
        changed = replace(changed, model=changed.model.eval(), steps=(*checkpoint.steps, settled(step)))
        seconds = before + clock.total
        if not getattr(made, "lowered", False):
            self._keep(changed, self.work / "steps" / key, seconds)
        shutil.rmtree(private, ignore_errors=True)
        return changed, seconds

    def _keep(self, checkpoint: Checkpoint, folder: Path, seconds: float) -> None:
        temporary = folder.with_name(folder.name + ".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        save_checkpoint(checkpoint, temporary)
        write_json(temporary / "step.json", {"seconds": seconds})
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)

    def _publish(self, recipe: Recipe, checkpoint: Checkpoint, folder: Path, record: dict[str, Any]) -> None:
        if not (folder / "model" / "config.json").is_file():
            dev = dev_quality(self.splits, encode_for(self.splits.task, self.splits.dev, checkpoint.tokenizer))(checkpoint.model)
            shape, plain = architecture(checkpoint.model), not structure_of(checkpoint.model.config)
            card = student_card(recipe, self.splits, dev, self.source, shape, checkpoint.notes, plain=plain)
            save_checkpoint(checkpoint, folder / "model", card)
        made = self._export(checkpoint, folder)
        names = [f"{recipe.name}/{engine}" for engine in self.engines if engine not in made]
        record["failures"] |= {name: self.failures[name] for name in names if name in self.failures}
        write_json(folder / _DONE, record)

    def _export(self, checkpoint: Checkpoint, folder: Path) -> dict[str, Path]:
        """Engine -> artefact. An engine that fails is left out and recorded in ``failures`` as long as another one succeeds."""
        out, errors = {}, list[Exception]()
        for engine in self._engines(checkpoint.steps):
            target = folder / "artefacts" / engine
            try:
                if not (target / "manifest.json").is_file():
                    self._export_to(checkpoint, engine, target)
                out[engine] = target
            except OSError:
                raise
            except Exception as error:
                logger.info("%s for %s failed", folder.name, engine, exc_info=True)
                self.failures[f"{folder.name}/{engine}"] = str(error) or type(error).__name__
                errors.append(error)
        if not out:
            raise errors[0]
        return out

    def _export_to(self, checkpoint: Checkpoint, engine: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        export(
            checkpoint,
            engine,
            target,
            texts=self.splits.dev,
            calibration=self.splits.train,
            preset=self.preset,
            limit=self._limit(checkpoint),
            progress=self.progress,
        )

    def _limit(self, checkpoint: Checkpoint) -> Limit | None:
        if self.min_retention is None or quantize_step(checkpoint.steps) is None:
            return None
        return Limit(self.splits.dev, self.splits.metric, self.min_retention, self._teacher_on_dev())

    def _teacher_on_dev(self) -> float:
        task = task_of(self.splits.task)
        dev = self.splits.dev
        if task.places:  # of which the cache knows nothing
            return dev_quality(self.splits, encode_for(task.name, dev, self.teacher.tokenizer))(self.teacher.model)
        outputs = self.cache.logits(dev, self.progress).outputs(np.arange(len(dev.texts)))
        return float(task.score(self.splits.metric, task.decode(outputs), np.asarray(dev.targets)))
