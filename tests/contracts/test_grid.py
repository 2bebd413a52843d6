"""Every engine answers every task as PyTorch does, with the students that ``docs/tasks.md`` says it runs; the rest is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.export.builders.registry import builders, refusal
from imbik.models.checkpoint import save_checkpoint
from imbik.runtime.engines import engines
from imbik.runtime.predictor import load_artefact
from imbik.students.catalogue import make_student
from imbik.students.pooled import why_not
from imbik.tasks.outputs import IMAGES, numbers_of
from imbik.tasks.registry import registered
from imbik.testing.contract import EXAMPLES, takes
from imbik.testing.task_examples import TASK_EXAMPLES
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.testing.tiny_images import tiny_image_model

ARCHITECTURES = {None: "bert", "bigrams": "imbik_bag", "lstm-16": "imbik_lstm"}
BIGRAMS = {"family": "bag", "hidden": 16, "bigrams": 50}
FLOAT = {"name": "x86", "weight_bits": 8}


def _cells() -> list[object]:
    """Engine, task and student of every cell; slow where an engine compiles for long."""
    cells = []
    for name in builders():
        marks = [] if engines()[name].installed() else [pytest.mark.skip(reason=f"{engines()[name].packages[0]} is not installed")]
        marks += [pytest.mark.slow] if name == "executorch" else []
        cells += [pytest.param(name, task, student, marks=marks) for task in registered() for student in ARCHITECTURES]
    return cells


@pytest.mark.parametrize(("name", "task", "student"), _cells())
def test_an_engine_answers_as_pytorch_or_is_refused(name: str, task: str, student: str | None, tmp_path: Path) -> None:
    pairs = TASK_EXAMPLES[task].pairs
    splits = tiny_splits(task, rows=24, pairs=pairs)
    images = registered()[task].reads == IMAGES
    teacher = tiny_image_model(labels=splits.labels, num_hidden_layers=1) if images else tiny_bert(splits.labels, task, layers=1)
    if student is not None and why_not(task, None) is not None:
        with pytest.raises(UserError, match="without layers"):
            make_student(BIGRAMS if student == "bigrams" else student, teacher, splits.train, 0)
        return
    checkpoint = replace(
        make_student(BIGRAMS if student == "bigrams" else student, teacher, splits.train, 0), pairs=pairs and not registered()[task].apart
    )
    if refusal(name, (), ARCHITECTURES[student], task=task) is not None:
        with pytest.raises(UserError, match="does not run models"):
            export(checkpoint, name, tmp_path / "artefact", texts=splits.dev)
        return
    export(checkpoint, name, tmp_path / "artefact", texts=splits.dev, preset=FLOAT)
    save_checkpoint(checkpoint, tmp_path / "model")
    rows = list(splits.dev.texts), None if splits.dev.pairs is None else list(splits.dev.pairs)
    found, wanted = (numbers_of(load_artefact(tmp_path / folder, threads=1).scores(*rows)) for folder in ("artefact", "model"))
    assert np.abs(found - wanted).max() <= 0.05 * max(1.0, np.abs(wanted).max()), "half precision where a processor has it"


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_step_is_refused_for_few_tasks_alone(name: str) -> None:
    """The steps themselves are run by the contracts of methods, of tokens and of embeddings."""
    refused = {task for task in registered() if not takes(name, task)}
    tokens = {"question-answering", "token-classification"}
    images = set() if name in ("distill", "low_rank", "quantize") else {"image-classification"}
    expected = {"mobilebert": {*tokens, "embedding"}, "dimensions": set(registered()) - {"embedding"}}
    assert refused == expected.get(name, set()) | images
