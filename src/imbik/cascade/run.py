"""The job: candidates of a finished run -> one artefact that answers as a cascade, measured beside its stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from imbik.advise.choice import pareto
from imbik.cascade.artefact import ENGINE, write_cascade
from imbik.cascade.policy import Policy, Target, choose, evaluate
from imbik.cascade.selective import area, coverage_and_risk, threshold_for, told_apart
from imbik.cascade.stages import Answered, Chain, Source, answered, check_task
from imbik.errors import UserError
from imbik.jobs.progress import Progress
from imbik.machine import physical_cores
from imbik.measure.measurement import Cascaded, Measurement, Selective
from imbik.measure.predictions import Predictions
from imbik.measure.process import Candidate
from imbik.measure.results import Results
from imbik.measure.run import measure
from imbik.measure.values import Data
from imbik.runtime.cascade import Abstention, Cascade, confidence
from imbik.runtime.manifest import read_manifest
from imbik.runtime.predictor import load_artefact
from imbik.tasks.outputs import only
from imbik.types import Examples, Note, Splits

NAME = "cascade"
_POINTS = 100
"""Points of a curve that are kept."""


@dataclass(frozen=True)
class Abstain:
    """When no answer is given.

    Attributes:
        risk: largest share of wrong answers among those that are given, on dev.
        label: what is said instead.
        outside: texts that are not of the task, to see how many are left unanswered; None: none are known.
    """

    risk: float
    label: str = "abstain"
    outside: Examples | None = None


@dataclass(frozen=True)
class Made:
    """A cascade on disk.

    Attributes:
        folder: the artefact.
        chain: its stages on dev.
        policy: thresholds, and what they give on dev.
        abstention: when no answer is given.
        reference: share of right answers of which the target is a share.
    """

    folder: Path
    chain: Chain
    policy: Policy
    abstention: Abstention | None
    reference: float


def make_cascade(
    stages: Sequence[Answered],
    splits: Splits,
    target: Target,
    folder: Path,
    abstain: Abstain | None = None,
    teacher: Predictions | None = None,
) -> Made:
    """Fit weights and choose thresholds on dev, and write the artefact.

    Args:
        stages: cheapest first.
        splits: the data of their run.
        target: what the thresholds are chosen for.
        folder: the artefact folder.
        abstain: when no answer is given; None: always one is.
        teacher: its stored predictions, of which the target is a share; None: a share of the last stage's right answers.

    Raises:
        UserError: the stages have different labels, a label for no answer that is one of the task's, or a risk that no threshold keeps.
    """
    labels = {tuple(stage.manifest["labels"]) for stage in stages}
    if labels != {tuple(splits.labels)}:
        raise UserError("the stages have different labels", where="--stages", found=", ".join(stage.source.id for stage in stages))
    targets = np.asarray(splits.dev.targets, np.int64)
    chain = Chain.of(stages, targets)
    known = None if teacher is None or "dev" not in teacher.logits else only(teacher.logits["dev"])
    reference = float(np.mean((stages[-1].logits if known is None else known).argmax(axis=1) == targets))
    policy = choose(chain.right, chain.sure, [stage.cost for stage in stages], target, reference)
    by, rows = evaluate(policy.thresholds, chain.sure), np.arange(len(targets))
    abstention = None if abstain is None else _abstention(abstain, chain.sure[by, rows], chain.right[by, rows], splits)
    write_cascade(chain, policy, abstention, folder, {name: value for name, value in asdict(target).items() if value is not None})
    return Made(folder, chain, policy, abstention, reference)


def _abstention(abstain: Abstain, sure: np.ndarray, right: np.ndarray, splits: Splits) -> Abstention:
    if abstain.label in splits.labels:
        raise UserError(
            "the label for no answer is one of the task's", where="--abstain-label", found=abstain.label, fix="name another one"
        )
    threshold = threshold_for(sure, right, abstain.risk)
    if threshold is None:
        raise UserError(
            "no threshold keeps so few wrong answers: the surest answer on dev is wrong",
            where="--abstain",
            found=abstain.risk,
            fix="allow more",
        )
    return Abstention(abstain.label, threshold)


def cascade(
    chain: Sequence[Source],
    splits: Splits,
    out: Path,
    *,
    target: Target,
    abstain: Abstain | None = None,
    beside: Sequence[Source] = (),
    predictions: Predictions | None = None,
    threads: int | None = None,
    progress: Progress,
    say: Callable[[str], None],
) -> Results:
    """Make a cascade of artefacts and measure it in one interleaved run beside each of them alone.

    Args:
        chain: its stages, cheapest first.
        splits: the data of their run.
        out: gets the artefact folder ``cascade/artefacts/cascade``.
        target: what the thresholds are chosen for.
        abstain: when no answer is given; None: always one is.
        beside: further artefacts to measure.
        predictions: the teacher's, for what is kept of it.
        threads: of every engine; None: the physical cores.
        progress, say: where progress and lines for the user go.

    Returns:
        What ``results.json`` holds; it is not written.

    Raises:
        UserError: see :func:`make_cascade`; a task without one label a text.
    """
    check_task(splits)
    threads = threads or physical_cores()
    stages = [answered(source, splits.dev, threads, progress) for source in chain]
    made = make_cascade(stages, splits, target, out / NAME / "artefacts" / ENGINE, abstain, predictions)
    say(_said(made))
    own = _candidate(Source(f"{NAME}/{ENGINE}", made.folder))
    alone = [_candidate(source) for source in dict.fromkeys((*chain, *beside))]
    data = splits if made.abstention is None else replace(splits, labels=(*splits.labels, made.abstention.label))
    measured = measure([own, *alone], data, predictions=predictions, threads=threads, progress=progress)
    found = tuple(described(m, made, splits, abstain, threads) if m.id == own.id else m for m in measured.measurements)
    return Results(
        task=splits.task,
        data=Data.of(data),
        environment=measured.environment,
        measurements=found,
        failures=measured.failures,
        pareto=pareto(found),
    )


def _candidate(source: Source) -> Candidate:
    name, _, engine = source.id.rpartition("/")
    return Candidate(source.id, name, engine, source.folder, tuple(read_manifest(source.folder)["steps"]))


def _said(made: Made) -> str:
    policy, stages = made.policy, made.chain.stages
    kept = f"{policy.right / max(made.reference, 1e-12):.1%} of the teacher's right answers on dev"
    cost = f"{policy.cost / stages[-1].cost:.1%} of the last stage's processor time"
    shares = ", ".join(f"{stage.source.id} {share:.1%}" for stage, share in zip(stages, policy.shares, strict=True))
    missed = "" if policy.met else " (the target is not met; this is the nearest)"
    return f"cascade: {kept} at {cost}{missed}; answered by {shares}"


def described(m: Measurement, made: Made, splits: Splits, abstain: Abstain | None, threads: int) -> Measurement:
    """Return the measurement of a cascade with what each stage answered of test, and with its curve of coverage and risk."""
    model = load_artefact(made.folder, threads=threads)
    assert isinstance(model, Cascade)
    test = splits.test
    logits, by = model.answered(test.texts, test.pairs)
    shares = tuple(float(share) for share in np.bincount(by, minlength=len(made.chain.stages)) / max(len(by), 1))
    parts = Cascaded(tuple(stage.source.id for stage in made.chain.stages), made.policy.thresholds, shares)
    m = replace(m, cascade=parts, notes=m.notes if made.policy.met else (*m.notes, Note.of("cascade_missed")))
    if made.abstention is None or test.targets is None:
        return m
    sure, right = confidence(logits).astype(np.float64), logits.argmax(axis=1) == np.asarray(test.targets)
    _, coverage, risk = coverage_and_risk(sure, right)
    given = sure >= made.abstention.threshold
    chosen = np.unique(np.linspace(0, len(coverage) - 1, _POINTS).round().astype(int))
    found = Selective(
        label=made.abstention.label,
        coverage=float(given.mean()),
        risk=float((~right[given]).mean()) if given.any() else 0.0,
        aurc=area(coverage, risk),
        curve_coverage=tuple(map(float, coverage[chosen])),
        curve_risk=tuple(map(float, risk[chosen])),
    )
    if abstain is not None and abstain.outside is not None:
        unknown, _ = model.answered(abstain.outside.texts)
        outside = confidence(unknown).astype(np.float64)
        refused = float((outside < made.abstention.threshold).mean())
        found = replace(found, outside=len(outside), refused=refused, auroc=told_apart(sure, outside))
    return replace(m, selective=found)
