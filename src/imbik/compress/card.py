"""The model card of a student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from imbik import __version__
from imbik.locale.notes import sentence
from imbik.models.checkpoint import CARD_HEAD, label_line
from imbik.recipes.recipe import Recipe
from imbik.tasks.registry import task_of
from imbik.types import Note, Splits

_CHANGED = """transformers alone cannot open this folder: its architecture is imbik's own (`model_type` in `config.json`), or some
layers were replaced or are shared (`imbik_structure` there). imbik opens it; the exported artefact needs neither.

```python
from imbik import load_checkpoint

checkpoint = load_checkpoint("model")
model, tokenizer = checkpoint.model, checkpoint.tokenizer
```

"""


def student_card(
    recipe: Recipe,
    splits: Splits,
    dev: float,
    teacher: str,
    architecture: dict[str, Any],
    notes: Sequence[Note] = (),
    *,
    plain: bool,
) -> str:
    """Return README.md of a compressed checkpoint; test quality stands in results.json, measured on the artefact.

    Args:
        plain: transformers opens the folder; otherwise it has replaced or shared layers (:mod:`imbik.models.structure`) or an
            architecture of imbik's own (:mod:`imbik.models.architectures`).
    """
    steps = yaml.safe_dump(recipe.written(), sort_keys=False)
    task = task_of(splits.task)
    opened = "```python\n" + "\n".join(task.opening("model")) + "\n```\n\n"
    shape = ", ".join(f"{key} {value}" for key, value in architecture.items())
    return (
        CARD_HEAD.format(tags="- distillation\n").replace("transformers", task.library if plain else "transformers")
        + f"# {recipe.name}\n\nA {splits.task} model made by imbik {__version__} from the teacher `{teacher}`.\n\n"
        + f"Shape: {shape}. Dev {splits.metric}: {dev:.4f} ({len(splits.dev.texts)} rows). "
        + "Size, speed and test quality are measured on the artefact and stand in `results.json`.\n\n"
        + f"```yaml\n{steps}```\n\n"
        + "".join(f"* {sentence(note)}\n" for note in notes)
        + ("\n" if notes else "")
        + (opened if plain else _CHANGED)
        + label_line(splits)
    )
