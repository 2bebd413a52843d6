"""Model cards: what a checkpoint is, how it was made and what it was measured at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml

from imbik import __version__
from imbik.types import Recipe, Splits

if TYPE_CHECKING:
    from imbik.finetune.classifier import Finetuned
    from imbik.finetune.mlm import FittedMlm

_HEAD = "---\nlibrary_name: transformers\ntags:\n- imbik\n{tags}---\n\n"


_PLAIN = """```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained("model")
tokenizer = AutoTokenizer.from_pretrained("model")
```

"""
_CHANGED = """transformers alone cannot open this folder: some layers were replaced or are shared, as `imbik_structure` in
`config.json` lists. imbik opens it; the exported artefact needs neither.

```python
from imbik.checkpoint import load_checkpoint

checkpoint = load_checkpoint("model")
model, tokenizer = checkpoint.model, checkpoint.tokenizer
```

"""


def teacher_card(result: Finetuned, splits: Splits, base: str) -> str:
    """README.md of a fine-tuned teacher."""
    notes = "".join(f"* {note}\n" for note in splits.notes)
    return (
        _HEAD.format(tags="")
        + f"# Teacher: {base} fine-tuned for {splits.task}\n\n"
        + f"Made by imbik {__version__} from `{base}` on `{splits.source}` ({len(splits.train.texts)} training rows).\n\n"
        + f"| split | {splits.metric} | rows |\n|---|---|---|\n"
        + f"| dev | {result.dev:.4f} | {len(splits.dev.texts)} |\n| test | {result.test:.4f} | {len(splits.test.texts)} |\n\n"
        + f"Best of {result.epochs} epochs: {result.best_epoch}. {result.truncated} training texts were cut.\n\n"
        + (f"Notes on the data:\n\n{notes}\n" if notes else "")
        + _labels(splits)
    )


def mlm_card(result: FittedMlm, corpus: str, base: str) -> str:
    """README.md of a masked language model."""
    rows = "".join(
        f"| {name} | {quality.loss:.3f} | {quality.perplexity:.1f} | {quality.accuracy:.4f} |\n"
        for name, quality in (("before", result.before), ("after", result.after))
    )
    return (
        _HEAD.format(tags="- fill-mask\n")
        + f"# Masked language model: {base}\n\n"
        + f"Made by imbik {__version__} from `{base}` on `{corpus}` ({result.blocks} blocks, {result.epochs} epochs).\n\n"
        + f"On {result.after.tokens} masked tokens of held-out blocks:\n\n"
        + "| | cross-entropy (nats) | perplexity | accuracy |\n|---|---|---|---|\n"
        + rows
    )


def student_card(
    recipe: Recipe,
    splits: Splits,
    dev: float,
    teacher: str,
    architecture: dict[str, Any],
    notes: Sequence[str] = (),
    *,
    plain: bool,
) -> str:
    """README.md of a compressed checkpoint; test quality stands in results.json, measured on the artefact.

    Args:
        plain: transformers opens the folder; otherwise it has replaced or shared layers (:mod:`imbik.models.structure`).
    """
    steps = yaml.safe_dump({"student": recipe.student, "steps": [dict(s) for s in recipe.steps], "seed": recipe.seed}, sort_keys=False)
    shape = ", ".join(f"{key} {value}" for key, value in architecture.items())
    return (
        _HEAD.format(tags="- distillation\n")
        + f"# {recipe.name}\n\nA {splits.task} model made by imbik {__version__} from the teacher `{teacher}`.\n\n"
        + f"Shape: {shape}. Dev {splits.metric}: {dev:.4f} ({len(splits.dev.texts)} rows). "
        + "Size, speed and test quality are measured on the artefact and stand in `results.json`.\n\n"
        + f"```yaml\n{steps}```\n\n"
        + "".join(f"* {note}\n" for note in notes)
        + ("\n" if notes else "")
        + (_PLAIN if plain else _CHANGED)
        + _labels(splits)
    )


def _labels(splits: Splits) -> str:
    return f"Labels ({len(splits.labels)}): " + ", ".join(f"`{label}`" for label in splits.labels) + "\n"
