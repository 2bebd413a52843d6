"""What is measured of one candidate, as frozen values; field for field a measurement of ``results.json``.

None means *not measured here*, everywhere. :mod:`imbik.measure.schema` reads and writes these values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, MinLen
from pydantic import AllowInfNan, BeforeValidator, Strict

from imbik.types import Note, Step


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Number = Annotated[float, Strict(), AllowInfNan(False)]
Amount = Annotated[Number, Ge(0)]
Count = Annotated[int, Strict(), Ge(0), BeforeValidator(_whole)]
"""How pydantic checks numbers when they are read: one in quotes is no number, NaN is none either, and 2e7 is a whole number, as in JSON."""


@dataclass(frozen=True)
class _Part:
    """A group of figures that can be missing as a whole."""

    def __bool__(self) -> bool:
        """Return whether any figure of the group is there."""
        # 0 is a figure: an agreement or an error of 0 was measured
        return any(getattr(self, entry.name) not in (None, ()) for entry in fields(self))


Group = TypeVar("Group", bound=_Part)


@dataclass(frozen=True)
class Quality(_Part):
    """A task metric on one split with its 95 % bootstrap interval over ``n`` rows."""

    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    metric: str | None = None
    split: str | None = None
    n: Count | None = None


@dataclass(frozen=True)
class Retention(_Part):
    """Test quality over the baseline's, paired on the same rows, with its 95 % interval."""

    value: Number | None = None
    low: Number | None = None
    high: Number | None = None


@dataclass(frozen=True)
class OverRival(_Part):
    """Test quality less that of the best rival (by dev), paired on the same rows, with its 95 % interval; more is better.

    Attributes:
        id: of that rival.
    """

    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    id: str | None = None


@dataclass(frozen=True)
class Latency(_Part):
    """Milliseconds of single requests: percentiles and mean of ``requests`` texts with ``tokens`` tokens on average."""

    p50: Amount | None = None
    p95: Amount | None = None
    p99: Amount | None = None
    mean: Amount | None = None
    batch: Count | None = None
    tokens: Amount | None = None
    requests: Count | None = None
    length_multiple: Count | None = None

    def percentiles(self) -> Mapping[int, float]:
        """Return percentile -> milliseconds, of those that were measured.

        >>> Latency(p50=2.0, p95=5.0).percentiles()
        {50: 2.0, 95: 5.0}
        """
        return {q: value for q, value in ((50, self.p50), (95, self.p95), (99, self.p99)) if value}


@dataclass(frozen=True)
class Throughput(_Part):
    """Texts a second in batches of ``batch`` texts on average: the median of the ``rounds``.

    Attributes:
        first_sight_per_s: the same in a process that has read no text yet, and remembers no word.
        texts: texts of one pass. None: measured by an imbik that timed the same texts again and again, whose words it remembered.
        read_before: other texts of the task that the process had read before a pass.
    """

    items_per_s: Amount | None = None
    batch: Amount | None = None
    batch_tokens: Count | None = None
    rounds: tuple[Amount, ...] | None = None
    first_sight_per_s: Amount | None = None
    texts: Count | None = None
    read_before: Count | None = None

    @property
    def unsteadiness(self) -> float | None:
        """Rate of the fastest round over that of the slowest: near 1 where nothing else ran."""
        return max(self.rounds) / min(self.rounds) if self.rounds and min(self.rounds) > 0 else None


@dataclass(frozen=True)
class Calibration(_Part):
    """How far stated probabilities are from being right: the expected calibration error."""

    ece: Amount | None = None


@dataclass(frozen=True)
class ClassQuality(_Part):
    """What one label's predictions are worth on the reported split, over its ``support`` rows."""

    precision: Number | None = None
    recall: Number | None = None
    f1: Number | None = None
    support: Count | None = None


@dataclass(frozen=True)
class Architecture(_Part):
    """A Transformer's family and shape; None where its config does not tell."""

    family: str | None = None
    layers: Count | None = None
    hidden: Count | None = None
    heads: Count | None = None
    intermediate: Count | None = None
    vocabulary: Count | None = None


@dataclass(frozen=True)
class SpeedBeside(_Part):
    """A quantized artefact timed in turn with the same model in float when it was made."""

    p50_ms: Amount | None = None
    float_p50_ms: Amount | None = None
    items_per_s: Amount | None = None
    float_items_per_s: Amount | None = None
    slower: bool | None = None


@dataclass(frozen=True)
class Parity(_Part):
    """What the parity gate saw: the artefact against its checkpoint, and how many products really became int8.

    Attributes:
        max_abs: largest difference of logits; ``max_abs_relative``: over the largest logit.
        agreement: share of equal predictions on ``texts`` texts.
        float_matmuls: products with a weight left in float.
        reverted: operators put back to float to keep quality.
        alone: its answers to texts one by one beside those in batches, as :meth:`imbik.export.parity.Gate.check` records them.
        limit: what quantizing was allowed to cost on dev and what it kept, as :class:`imbik.export.accuracy.Held` records it.
    """

    max_abs: Amount | None = None
    max_abs_relative: Amount | None = None
    agreement: Amount | None = None
    texts: Count | None = None
    int8_ops: Count | None = None
    float_matmuls: Count | None = None
    reverted: tuple[str, ...] = ()
    alone: Mapping[str, Any] | None = None
    limit: Mapping[str, Any] | None = None
    float_parent: SpeedBeside | None = None


@dataclass(frozen=True)
class Cascaded(_Part):
    """What a cascade is made of, cheapest stage first.

    Attributes:
        stages: ids of the artefacts.
        thresholds: confidences that the stages but the last one ask of themselves.
        shares: of the reported texts, answered by each.
    """

    stages: tuple[str, ...] = ()
    thresholds: tuple[Number, ...] = ()
    shares: tuple[Amount, ...] = ()


@dataclass(frozen=True)
class Selective(_Part):
    """How many texts a model that may abstain answers, and how many of these answers are wrong; on the reported split.

    Attributes:
        label: what is said instead of an answer.
        coverage, risk: at the threshold chosen on dev.
        aurc: area under the curve of risk over coverage.
        curve_coverage, curve_risk: points of the curve.
        outside: texts that are not of the task, where some were given; ``refused``: the share of them that is not answered.
        auroc: how often a text of the task is surer than one that is not.
    """

    label: str | None = None
    coverage: Amount | None = None
    risk: Amount | None = None
    aurc: Amount | None = None
    curve_coverage: tuple[Amount, ...] = ()
    curve_risk: tuple[Amount, ...] = ()
    outside: Count | None = None
    refused: Amount | None = None
    auroc: Amount | None = None


def group(kind: type[Group], known: Mapping[str, Any] | None) -> Group:
    """Return a group of figures from a mapping by their names; what the group has no field for is left out.

    >>> group(Calibration, {"ece": 0.02, "bins": 15}), group(Calibration, None)
    (Calibration(ece=0.02), Calibration(ece=None))
    """
    names = {entry.name for entry in fields(kind)}
    values = {name: value for name, value in (known or {}).items() if name in names}
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
        elif name == "float_parent":
            values[name] = group(SpeedBeside, value)
    return kind(**values)


@dataclass(frozen=True)
class Measurement:
    """One recipe on one engine.

    Attributes:
        id: ``recipe/engine``, unique in a run.
        name: the recipe's name.
        parent: name of the recipe without its ``quantize`` step, for a quantized candidate; None for others.
        steps: the recipe steps that made the model, the teacher's own included.
        params: weights that count, a shared one once.
        flops_per_item: of one text of the mean length.
        bytes: all that is shipped; ``model_bytes``: the model file alone.
        quality: on the reported split (test); ``dev_quality``: on dev, by which is chosen.
        rival: it is what a user would try first: measured for comparison, never chosen.
        over_rival: what it gains over the best of these.
        cascade: its stages, where it has several.
        selective: what it leaves unanswered, where it may.
        agreement: share of predictions equal to the baseline's.
        per_class: by label.
        cpu_s_per_1000: processor seconds for 1,000 texts in batches.
        train_seconds: of its training steps, shared beginnings included.
        threads: compute threads while measured.
        notes: what was noted while it was made and measured.
    """

    id: Annotated[str, MinLen(1)]
    name: Annotated[str, MinLen(1)]
    engine: Annotated[str, MinLen(1)]
    parent: str | None = None
    steps: tuple[Step, ...] = ()
    architecture: Architecture = Architecture()
    params: Count | None = None
    flops_per_item: Amount | None = None
    bytes: Count | None = None
    model_bytes: Count | None = None
    quality: Quality = Quality()
    dev_quality: Quality = Quality()
    retention: Retention = Retention()
    agreement: Amount | None = None
    calibration: Calibration = Calibration()
    per_class: Mapping[str, ClassQuality] = field(default_factory=dict)
    latency_ms: Latency = Latency()
    throughput: Throughput = Throughput()
    peak_rss_bytes: Count | None = None
    cold_start_s: Amount | None = None
    cpu_s_per_1000: Amount | None = None
    train_seconds: Amount | None = None
    threads: Count | None = None
    parity: Parity = Parity()
    notes: tuple[Note, ...] = ()
    rival: bool = False
    over_rival: OverRival = OverRival()
    cascade: Cascaded = Cascaded()
    selective: Selective = Selective()

    @property
    def quantized(self) -> bool:
        """Whether a step quantized it."""
        return any("quantize" in step for step in self.steps)
