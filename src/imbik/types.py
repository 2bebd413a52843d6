"""The values that cross the doorways between rooms. Frozen, without behavior, cheap to import (no torch).

A text column is any ``Sequence[str]``; :mod:`imbik.data.load` gives one that lives in a memory-mapped file, so that a million rows
cost no more memory than ten thousand.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

TaskName = str
"""Name of a registered task, see :mod:`imbik.tasks.registry`."""

TakeNote = Callable[["Note"], object]
"""Takes a note for the user."""
Say = Callable[[str], object]
"""Takes one line for the user."""

Step = Mapping[str, Mapping[str, Any]]
"""One recipe step as written: ``{"distill": {"temperature": 2.0}}``."""


Scalar = str | int | float | tuple[str, ...]


@dataclass(frozen=True)
class Note:
    """What a reader of data, a checkpoint or results must know, as a value; :mod:`imbik.locale.notes` gives its sentence in a language.

    Attributes:
        kind: key of its sentence in group ``note`` of ``locale/*.yaml``.
        values: what stands in the sentence's placeholders; shares are fractions, times as the sentence's unit says.

    >>> Note.of("in_train", count=25, total=3080, split="test")
    Note(kind='in_train', values={'count': 25, 'total': 3080, 'split': 'test'})
    """

    kind: str
    values: Mapping[str, Scalar] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, **values: Scalar) -> Note:
        """Return a note with its values as keyword arguments; NumPy scalars become Python's."""
        return cls(kind, {name: value.item() if hasattr(value, "item") else value for name, value in values.items()})

    @classmethod
    def text(cls, text: str) -> Note:
        """Return a note that says ``text`` in every language: one that imbik has no sentence for."""
        return cls("text", {"text": text})


@dataclass(frozen=True)
class Examples:
    """Rows of one split, column by column.

    Attributes:
        texts: N texts; of a task that reads images, the bytes of N image files (:class:`imbik.images.store.ImageStore`).
        pairs: N second texts, or None for single texts.
        targets: an array whose first axis is N, in the task's own form: label indices ``(N,)``, 0/1 ``(N, L)``, values ``(N,)``,
            spans ``(N, 2)``, or an object array of one array per row (tags); None when the rows carry no labels.
        fingerprint: sha256 of the content (texts, pairs, targets), hex.
    """

    texts: Sequence[Any]
    pairs: Sequence[Any] | None
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
        scored: of a task whose models read the two texts of a row apart, the rows of train with their labels, once ``train`` holds each
            different text by itself; else None.
    """

    train: Examples
    dev: Examples
    test: Examples
    task: TaskName
    labels: tuple[str, ...]
    metric: str
    source: str
    fingerprint: str
    notes: tuple[Note, ...] = ()
    unlabelled: Examples | None = None
    scored: Examples | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A PyTorch model with its tokenizer and the steps that made it.

    Attributes:
        model: a ``transformers.PreTrainedModel`` (eval mode, on CPU) whose config carries ``id2label``.
        tokenizer: what turns rows into what the model reads: a fast transformers tokenizer, whose ``model_max_length`` is the length
            texts are cut to; of a model that reads images an :class:`imbik.images.processor.ImageProcessor`.
        task: see :data:`TaskName`.
        steps: a record of the recipe steps applied so far, every setting written out; nothing here is run again.
        notes: what steps found out on the way that a reader of the model card should know.
        pairs: whether it was trained on pairs of texts; None: not known.
    """

    model: Any
    tokenizer: Any
    task: TaskName
    steps: tuple[Step, ...] = ()
    notes: tuple[Note, ...] = ()
    pairs: bool | None = None


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


_MOVED = {
    "Advice": "imbik.advise.verdict",
    "Measurement": "imbik.measure.measurement",
    "Recipe": "imbik.recipes.recipe",
    "Scenario": "imbik.advise.scenario",
}


def __getattr__(name: str) -> object:
    """Return a value that stood here in version 0.1, with a warning that names its room; it goes with version 0.3."""
    if name not in _MOVED:
        raise AttributeError(f"module 'imbik.types' has no attribute {name!r}")
    warnings.warn(f"imbik.types.{name} is now {_MOVED[name]}.{name}", DeprecationWarning, stacklevel=2)
    return getattr(importlib.import_module(_MOVED[name]), name)
