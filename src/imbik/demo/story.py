"""``imbik demo``: the whole story on the bundled bank messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imbik.data.bundled import bundled_base
from imbik.jobs.progress import Progress
from imbik.measure.results import Results
from imbik.types import Splits

BUNDLED = "all-MiniLM-L6-v2"
RECIPES = ("bag-few+int8", "int8")
"""The fixed set of the demo, cheapest first: a student without layers that learns from few texts, and the teacher itself in integers."""

_TEACHER: dict[str, Any] = {"linear_start": False, "changes": {"epochs": 4, "batch_tokens": 512}}
"""How the English teacher is trained on the demo's own messages: few passes over made ones; of some hundred texts a head that begins
small leaves softer answers to learn from than one that was fitted."""

_TEACHER_TR: dict[str, Any] = {"linear_start": True, "changes": {"epochs": 3, "batch_tokens": 512}}
"""The Turkish one: the base reads English, and without a fitted head four passes end far below."""

_ROUNDS = 3
"""Turns of each candidate while it is timed: intervals are wider than those of five, and a minute is saved."""

MESSAGES = (
    "someone is using my card in another city, please stop it",
    "I typed the wrong account number and the rent went to a stranger",
    "How much do you charge for sending money abroad?",
    "the app closes itself every time I open it",
)
"""New messages that the chosen artefact answers at the end."""

MESSAGES_TR = (
    "birisi kartımı başka bir şehirde kullanıyor, lütfen durdurun",
    "Yanlış hesap numarası yazdım, kira tanımadığım birine gitti",
    "Yurt dışına para göndermek için ne kadar alıyorsunuz?",
    "uygulama her açtığımda kendi kendine kapanıyor",
)
"""The same in Turkish."""


@dataclass(frozen=True)
class Answers:
    """What the chosen artefact says of some messages.

    Attributes:
        lines: (message, label, probability).
        temperature: T that its logits are divided by, fitted on dev; then a share p of the answers of probability p is right.
        wrong_by: mean difference on test between how sure it is and how often it is right, before and behind that division.
    """

    lines: tuple[tuple[str, str, float], ...]
    temperature: float
    wrong_by: tuple[float, float]


@dataclass(frozen=True)
class Story:
    """What the demo gives: the results and the folder of its run, and the chosen artefact's answers; None: the task has no one label."""

    results: Results
    answers: Answers | None
    teacher: Path
    run: Path


def run_demo(
    directory: Path,
    *,
    base: str | Path | None = None,
    data: str | Path | None = None,
    columns: dict[str, Any] | None = None,
    lang: str = "en",
    progress: Progress,
    say: Callable[[str], None],
) -> Story:
    """Fine-tune a teacher, compress it by two recipes, measure, choose, report, answer.

    Args:
        directory: gets ``data/``, ``teacher/`` and ``run/``, in Turkish on the bundled messages ``teacher-tr/`` and ``run-tr/``; continues
            what a killed run left.
        base: pretrained encoder; default: the bundled one.
        data: default: the bundled bank messages, and made ones to learn from (:func:`imbik.demo.messages.write_messages`).
        columns: ``text``, ``text_pair``, ``label`` where they cannot be guessed.
        lang: of the report, and of the bundled messages.
        progress: where progress is shown.
        say: takes one line for the user.
    """
    from imbik.compress.options import Options
    from imbik.compress.run import compress
    from imbik.models.pretrained import load_checkpoint

    turkish = lang == "tr" and data is None and not columns
    mine, texts = ("-tr", MESSAGES_TR) if turkish else ("", MESSAGES)
    splits = _messages(directory / "data", "text_tr" if turkish else "text", columns, say) if data is None else _given(data, columns, say)
    teacher, run = directory / f"teacher{mine}", directory / f"run{mine}"
    if not (teacher / "imbik.json").is_file():
        _finetune(base, splits, teacher, {} if data is not None else _TEACHER_TR if turkish else _TEACHER, progress, say)
    say("2. compressing it")
    checkpoint = load_checkpoint(teacher)
    options = Options(source=str(teacher), recipes=RECIPES, lang=lang, rivals=True, rounds=_ROUNDS)
    results = compress(checkpoint, splits, run, options, progress=progress, say=say)
    choice = results.get(results.choice.id if results.choice else None)
    artefact = None if choice is None else run / choice.name / "artefacts" / choice.engine
    asked = texts if data is None else tuple(splits.test.texts[:4])
    answers = _answers(artefact, splits, asked) if artefact is not None and artefact.is_dir() else None
    return Story(results, answers, teacher, run)


def _messages(folder: Path, column: str, columns: dict[str, Any] | None, say: Callable[[str], None]) -> Splits:
    """Return the bundled messages with made ones, which are written to a folder so that they can be looked at and used again."""
    from imbik.data.load import load_data
    from imbik.demo.messages import UNLABELLED_FILE, write_messages

    write_messages(folder)
    return load_data(folder / "labelled", unlabelled=folder / UNLABELLED_FILE, say=say, **(columns or {"text": column, "label": "intent"}))


def _given(data: str | Path, columns: dict[str, Any] | None, say: Callable[[str], None]) -> Splits:
    from imbik.data.load import load_data

    return load_data(data, say=say, **(columns or {}))


def _finetune(
    base: str | Path | None, splits: Splits, teacher: Path, settings: dict[str, Any], progress: Progress, say: Callable[[str], None]
) -> None:
    from imbik.finetune.classifier import finetune

    start = base if base is not None else bundled_base()
    name = BUNDLED if base is None else Path(str(start)).name
    say(f"1. fine-tuning a teacher from {name} on {len(splits.train.texts)} messages")
    finetune(start, splits, teacher, **settings, progress=progress, say=say)


def _answers(artefact: Path, splits: Splits, messages: tuple[str, ...]) -> Answers | None:
    """Return the artefact's answers with probabilities that are calibrated on dev; None for a task without one label a text."""
    from imbik.cascade.calibration import fitted
    from imbik.runtime.predictor import load_artefact
    from imbik.tasks.registry import task_of

    task, predictor = task_of(splits.task), load_artefact(artefact)
    if splits.train.pairs is not None or task.one_label(predictor.scores(messages)) is None:
        return None
    # on dev, which no weight was trained on: on train it is surer than it should be
    (weight,) = fitted([np.asarray(predictor.scores(splits.dev.texts))], np.asarray(splits.dev.targets))
    test, targets = np.asarray(predictor.scores(splits.test.texts)), np.asarray(splits.test.targets)
    before, behind = (task.calibration(task.decode(factor * test), targets) or 0.0 for factor in (1.0, weight))
    outputs = weight * np.asarray(predictor.scores(messages))
    said = task.answers(task.decode(outputs), predictor.labels, messages, None, 1)
    lines = tuple((message, *task.lines(answer)[0]) for message, answer in zip(messages, said, strict=True))
    return Answers(lines, 1 / weight, (before, behind))
