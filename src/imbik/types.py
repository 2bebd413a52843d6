"""The values that cross the doorways between rooms. Frozen, without behavior, cheap to import (no torch).

A text column is any ``Sequence[str]``; :mod:`imbik.data.load` gives one that lives in a memory-mapped file, so that a million rows
cost no more memory than ten thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

TaskName = str
"""Name of a registered task, see :mod:`imbik.tasks.registry`."""

Say = Callable[[str], object]
"""Takes one line for the user."""

Step = Mapping[str, Mapping[str, Any]]
"""One recipe step as written: ``{"distill": {"temperature": 2.0}}``."""


@dataclass(frozen=True)
class Examples:
    """Rows of one split, column by column.

    Attributes:
        texts: N texts.
        pairs: N second texts, or None for single texts.
        targets: an array whose first axis is N, in the task's own form: label indices ``(N,)``, 0/1 ``(N, L)``, values ``(N,)``,
            spans ``(N, 2)``, or an object array of one array per row (tags); None when the rows carry no labels.
        fingerprint: sha256 of the content (texts, pairs, targets), hex.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None
    targets: NDArray[Any] | None
    fingerprint: str

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Splits:
    """A task's data. ``test`` is what is reported on; ``dev`` is what is chosen on; ``train`` is what is learned from.

    Attributes:
        labels: names in the order of the target indices; one name (the column) for regression.
        metric: name of the task's metric that quality is stated in.
        source: where it came from (path or hub name), for the record.
        fingerprint: sha256 over the splits' fingerprints, hex.
        notes: what a reader of results must know (split carved from train, texts both in train and test, ...).
        unlabelled: extra texts for distillation, or None.
    """

    train: Examples
    dev: Examples
    test: Examples
    task: TaskName
    labels: tuple[str, ...]
    metric: str
    source: str
    fingerprint: str
    notes: tuple[str, ...] = ()
    unlabelled: Examples | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A PyTorch model with its tokenizer and the steps that made it.

    Attributes:
        model: a ``transformers.PreTrainedModel`` (eval mode, on CPU) whose config carries ``id2label``.
        tokenizer: a fast transformers tokenizer; ``tokenizer.model_max_length`` is the length texts are cut to.
        task: see :data:`TaskName`.
        steps: recipe steps applied so far, as written in the recipe.
        notes: what steps found out on the way that a reader of the model card should know.
        pairs: whether it was trained on pairs of texts; None: not known.
    """

    model: Any
    tokenizer: Any
    task: TaskName
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    pairs: bool | None = None


@dataclass(frozen=True)
class Recipe:
    """A named list of steps. ``student`` is None (start from a copy of the teacher), a catalogue name, a mapping of numbers
    (``layers``, ``hidden``, ``heads``, ``intermediate``, ``init``) or ``{"from": folder or hub name}``."""

    name: str
    steps: tuple[Step, ...]
    student: str | Mapping[str, Any] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Artefact:
    """A folder that an engine runs without PyTorch.

    Attributes:
        path: the folder (``manifest.json``, ``tokenizer.json``, the engine's files, README.md).
        engine: ``onnx``, ...
        files: relative path -> bytes, of all that is shipped.
        bytes: their sum.
        sha256: relative path -> hex digest.
        steps: the recipe steps that made the model.
        parity: what the parity gate found: ``max_abs``, ``agreement``, ``int8_ops``, ``float_matmuls``, ``reverted``.
    """

    path: Path
    engine: str
    files: Mapping[str, int]
    bytes: int
    sha256: Mapping[str, str]
    steps: tuple[Step, ...]
    parity: Mapping[str, Any]


@dataclass(frozen=True)
class Measurement:
    """One recipe on one engine; field for field a measurement of ``results.json`` (DESIGN: the command line's contract)."""

    id: str
    name: str
    engine: str
    steps: tuple[Step, ...]
    architecture: Mapping[str, Any]
    params: int
    flops_per_item: float
    bytes: int
    model_bytes: int
    quality: Mapping[str, Any]
    dev_quality: Mapping[str, Any]
    retention: Mapping[str, Any] | None
    agreement: float | None
    calibration: Mapping[str, Any] | None
    per_class: Mapping[str, Any] | None
    latency_ms: Mapping[str, Any]
    throughput: Mapping[str, Any]
    peak_rss_bytes: int
    cold_start_s: float
    cpu_s_per_1000: float
    train_seconds: float | None
    threads: int
    parity: Mapping[str, Any] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """Where a model must run: named requirements (measured quantity, limit, weight) and the volume a day; ``about`` holds its
    title and text by language, the target device, what is preferred among those that fit, and what the brief decided."""

    name: str
    requirements: tuple[Mapping[str, Any], ...]
    volume: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Advice:
    """Which candidate a scenario asks for, with the verdict on every requirement and the reasons in sentences."""

    choice: str | None
    verdicts: Mapping[str, Any]
    reasons: tuple[str, ...]
    pareto: tuple[str, ...]
