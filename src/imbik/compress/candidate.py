"""Candidates: plan -> student, steps, checkpoint folder, artefacts. What fails is returned, and the others go on."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from imbik.compress.artefacts import export_all, export_teachers
from imbik.compress.candidate_folder import CandidateFolder, Complete, Missing, Record, Stale
from imbik.compress.card import student_card
from imbik.compress.options import Run
from imbik.compress.ownership import begin_candidate
from imbik.compress.plan import CandidatePlan, Plans, refuse_without_engine
from imbik.jobs.files import replacing_folder
from imbik.jobs.workspace import MODEL_FILES, Clock
from imbik.locale.notes import sentence
from imbik.measure.values import Failure
from imbik.models.architectures.registry import is_own
from imbik.models.checkpoint import save_checkpoint
from imbik.models.facts import DECISION_KEY, architecture, set_decision
from imbik.models.structure import structure_of
from imbik.training.context import Context
from imbik.training.encoding import encode_for
from imbik.training.prediction import dev_quality, settle
from imbik.training.tracking import named
from imbik.types import Checkpoint, Note, Step

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failed:
    """Something that could not be made.

    Attributes:
        name: a recipe, or ``recipe/engine`` where other engines have the model.
        error: the message.
        kind: the error's class, or ``engine``; None for a recipe that was not begun.
        note: says ``error`` in any language, where we have a sentence for it.
    """

    name: str
    error: str
    kind: str | None = None
    note: Note | None = None

    def value(self) -> Failure:
        """Return the failure as results hold it."""
        failure: Failure = {"name": self.name, "error": self.error}
        if self.kind is None:
            failure["skipped"] = True
        else:
            failure["kind"] = self.kind
        if self.note is not None:
            failure["note"] = self.note
        return failure


@dataclass(frozen=True)
class Built:
    """A candidate on disk.

    Attributes:
        name: the recipe's.
        key: of all that its model depends on.
        artefacts: engine -> artefact folder.
        steps: all steps applied, the teacher's own included.
        train_seconds: time that its training steps took, shared beginnings included.
        parent: the same recipe without its ``quantize`` step, where the call names it; see :func:`imbik.compress.parents.parent_of`.
        failures: engines that have no artefact although another one has.
    """

    name: str
    key: str
    artefacts: dict[str, Path]
    steps: tuple[Step, ...]
    train_seconds: float
    parent: str | None
    failures: tuple[Failed, ...]


@dataclass(frozen=True)
class Made:
    """What a call made.

    Attributes:
        teacher_key: of the teacher as it is, on this data.
        built: the candidates.
        failures: what could not be made, recipes first.
    """

    teacher_key: str
    built: tuple[Built, ...]
    failures: tuple[Failed, ...]


def make_all(plans: Plans, run: Run, others: int = 0) -> Made:
    """Make the teacher's artefacts and every candidate.

    Args:
        plans: of the candidates.
        run: the call.
        others: how many students are made behind these, for the lines that count them.

    Raises:
        UserError: the teacher cannot be exported at all.
        OSError: a disk that no other recipe can write to either.
    """
    exported = export_teachers(plans.teacher_key, run)
    engines = [_engine_failure(name, engine, why) for name, one in exported.items() for engine, why in one.failures.items()]
    outcomes = list(_outcomes(plans.candidates, run, len(plans.candidates) + others))
    built = tuple(outcome for outcome in outcomes if isinstance(outcome, Built))
    engines += [failure for candidate in built for failure in candidate.failures]
    for failure in engines:
        run.say(f"{failure.name} failed, other engines have the model: {failure.error}")
    return Made(plans.teacher_key, built, (*(outcome for outcome in outcomes if isinstance(outcome, Failed)), *engines))


def _outcomes(plans: Sequence[CandidatePlan], run: Run, count: int) -> Iterator[Built | Failed]:
    began = time.monotonic()
    minutes = run.options.minutes
    for number, plan in enumerate(plans, 1):
        if minutes is not None and time.monotonic() - began > minutes * 60:
            note = Note.of("not_started", minutes=minutes)
            yield Failed(plan.name, sentence(note), note=note)
            continue
        run.say(f"[{number}/{count}] {plan.name}")
        try:
            built = make_candidate(plan, run)
            run.front.add(built.name, built.artefacts)
            yield built
        # before the general one: an OSError is an Exception too
        except (KeyboardInterrupt, OSError):
            raise  # the user's wish, or a disk that no other recipe can write to either
        except Exception as error:
            logger.debug("recipe %s failed", plan.name, exc_info=True)
            run.say(f"{plan.name} failed: {error}")
            yield Failed(plan.name, str(error) or type(error).__name__, type(error).__name__)


def make_candidate(plan: CandidatePlan, run: Run) -> Built:
    """Make one candidate, or find it finished. Artefacts that an earlier call made of the same model for other engines stay.

    Raises:
        UserError: what a step or the exporters refuse.
    """
    refuse_without_engine(plan.refusal)
    folder = CandidateFolder(plan, run)
    match folder.state():
        case Complete(record):
            run.say(f"{plan.name}: finished earlier")
        case unfinished:
            record = _make(plan, folder, unfinished, run)
    failures = {engine: why for engine, why in record.failures.items() if engine in plan.asked}
    return Built(
        name=plan.name,
        key=plan.key,
        artefacts={engine: folder.artefact(engine) for engine in plan.engines if engine not in failures},
        steps=record.steps,
        train_seconds=record.train_seconds,
        parent=plan.parent,
        failures=tuple(_engine_failure(plan.name, engine, why) for engine, why in failures.items()),
    )


def _make(plan: CandidatePlan, folder: CandidateFolder, state: Missing | Stale, run: Run) -> Record:
    """Make what is not there or no longer right, and record it beside what earlier calls said of other engines."""
    folder.refuse_foreign()
    checkpoint, seconds = apply_steps(plan, run)
    # only now: until the steps are done the candidate of an earlier call is still whole and usable
    folder.clear(state)
    _save_model(checkpoint, folder, run)
    exported = export_all(checkpoint, plan.engines, folder.path, run)
    earlier = state.record.failures if isinstance(state, Stale) else {}
    # what failed for engines that this call does not ask for stays on record
    others = {engine: why for engine, why in earlier.items() if engine not in plan.asked}
    record = Record(plan.key, seconds, checkpoint.steps, {**others, **exported.failures})
    folder.finish(record)
    return record


def apply_steps(plan: CandidatePlan, run: Run) -> tuple[Checkpoint, float]:
    """Return the student after all steps, and the seconds they took in all; finished steps are not applied again."""
    recipe = plan.recipe
    # keys[0] is the student before any step, which is quicker made than kept
    finished = run.steps.latest(plan.keys[1:])
    if finished is not None:
        count, checkpoint, seconds = finished.count, finished.checkpoint, finished.seconds
    else:
        count, seconds = 0, 0.0
        checkpoint = replace(plan.student.start(run.splits.train, recipe.seed), steps=run.teacher.steps)
        set_decision(checkpoint.model, getattr(run.teacher.model.config, DECISION_KEY, None))
    for number in range(count, len(recipe.steps)):
        checkpoint, spent = _apply(plan, number, checkpoint, run)
        seconds += spent
        # a step that only changes the artefact leaves the very same weights: nothing to keep
        if not recipe.steps[number].lowered:
            run.steps.keep(plan.keys[number + 1], checkpoint, seconds)
        # training states: of no use once the step's result is on disk
        shutil.rmtree(_private(plan.keys[number + 1], run), ignore_errors=True)
    return replace(checkpoint, pairs=run.teacher.pairs), seconds


def _apply(plan: CandidatePlan, number: int, checkpoint: Checkpoint, run: Run) -> tuple[Checkpoint, float]:
    """Apply one step; return the model and the seconds it took, those before a kill included."""
    step, key = plan.recipe.steps[number], plan.keys[number + 1]
    private = _private(key, run)
    private.mkdir(parents=True, exist_ok=True)
    # 28 bits of the key: recipes that begin alike get the same seed for the same step, and so may
    # share its result, while other steps do not repeat its random numbers
    seed = int(key[:7], 16) + plan.recipe.seed
    # for what draws outside of fit(), such as the start of a projection
    torch.manual_seed(seed)
    context = Context(
        teacher=run.teacher,
        splits=run.splits,
        cache=run.cache,
        seed=seed,
        progress=run.progress,
        directory=private,
        shared=run.work / "shared",
        save_every=run.options.save_every,
    )
    with Clock(private / "seconds.json") as clock, named(f"{plan.name}/{step.name}"):
        changed = step.apply(checkpoint, context)
    logger.info("%s, %s: %.1f s", plan.name, step.name, clock.total)
    return replace(changed, model=changed.model.eval(), steps=(*checkpoint.steps, step.record())), clock.total


def _private(key: str, run: Run) -> Path:
    return run.work / "running" / key


def _save_model(checkpoint: Checkpoint, folder: CandidateFolder, run: Run) -> None:
    splits = run.splits
    encoded = encode_for(splits.task, splits.dev, checkpoint.tokenizer)
    settle(checkpoint.model, splits, encoded)  # first: the artefacts decide as the model does
    if (folder.model / "config.json").is_file():
        return
    dev = dev_quality(splits, encoded)(checkpoint.model)
    shape = architecture(checkpoint.model)
    plain = not structure_of(checkpoint.model.config) and not is_own(checkpoint.model.config)
    card = student_card(folder.plan.recipe, splits, dev, run.teacher.called, shape, checkpoint.notes, plain=plain)
    begin_candidate(folder.path, folder.plan.key)
    with replacing_folder(folder.model, lambda _: MODEL_FILES) as temporary:
        save_checkpoint(checkpoint, temporary, card)


def _engine_failure(name: str, engine: str, why: str) -> Failed:
    return Failed(f"{name}/{engine}", why, "engine")
