"""``imbik demo``: the whole story on the bundled bank messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imbik.data.bundled import bundled_base, bundled_data
from imbik.jobs.progress import Progress
from imbik.measure.results import Results

BUNDLED = "all-MiniLM-L6-v2"
RECIPES = ("int8", "layers-1+int8", "layers-2+int8", "layers-3+int8", "mini-2x192+int8", "mini-4x256+int8")
"""The fixed set of the demo."""

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
class Story:
    """What the demo gives: the results and the folder of its run, and the chosen artefact's answers as (message, label, probability)."""

    results: Results
    answers: tuple[tuple[str, str, float], ...]
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
    """Fine-tune a teacher, compress it by six recipes, measure, choose, report, answer.

    Args:
        directory: gets ``teacher/`` and ``run/``, in Turkish on the bundled messages ``teacher-tr/`` and ``run-tr/``; continues what a
            killed run left.
        base: pretrained encoder; default: the bundled one.
        data: default: the bundled bank messages.
        columns: ``text``, ``text_pair``, ``label`` where they cannot be guessed.
        lang: of the report, and of the bundled messages.
        progress: where progress is shown.
        say: takes one line for the user.
    """
    from imbik.compress.run import compress
    from imbik.data.load import load_data
    from imbik.finetune.classifier import finetune
    from imbik.models.pretrained import load_checkpoint
    from imbik.runtime.predictor import load_artefact
    from imbik.tasks.registry import task_of

    start = base if base is not None else bundled_base()
    turkish = lang == "tr" and data is None and not columns
    mine, texts = ("-tr", MESSAGES_TR) if turkish else ("", MESSAGES)
    chosen_columns = columns or ({"text": "text_tr" if turkish else "text", "label": "intent"} if data is None else {})
    splits = load_data(data if data is not None else bundled_data(), say=say, **chosen_columns)
    teacher, run = directory / f"teacher{mine}", directory / f"run{mine}"
    if not (teacher / "imbik.json").is_file():
        name = BUNDLED if base is None else Path(str(start)).name
        say(f"1. fine-tuning a teacher from {name} on {len(splits.train.texts)} messages")
        finetune(start, splits, teacher, progress=progress, say=say)
    say("2. compressing it")
    results = compress(load_checkpoint(teacher), splits, run, source=str(teacher), recipes=RECIPES, lang=lang, progress=progress, say=say)
    choice = results.get(results.choice.id if results.choice else None)
    answers: tuple[tuple[str, str, float], ...] = ()
    artefact = None if choice is None else run / choice.name / "artefacts" / choice.engine
    if artefact is not None and artefact.is_dir() and splits.train.pairs is None:
        predictor = load_artefact(artefact)
        messages = texts if data is None else tuple(splits.test.texts[:4])
        outputs, task = predictor.scores(messages), task_of(splits.task)
        if task.one_label(outputs) is not None:  # it answers with one label
            said = task.answers(task.decode(outputs), predictor.labels, messages, None, 1)
            answers = tuple((message, *task.lines(answer)[0]) for message, answer in zip(messages, said, strict=True))
    return Story(results, answers, teacher, run)
