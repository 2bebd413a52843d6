"""Model cards of teachers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imbik import __version__
from imbik.locale.notes import sentence
from imbik.models.checkpoint import CARD_HEAD, label_line
from imbik.types import Splits

if TYPE_CHECKING:
    from imbik.finetune.results import Finetuned, FittedMlm


def teacher_card(result: Finetuned, splits: Splits, base: str) -> str:
    """Return README.md of a fine-tuned teacher."""
    notes = "".join(f"* {sentence(note)}\n" for note in splits.notes)
    best = result.best_epoch or "0 (the base as it is with a linear head)"
    return (
        CARD_HEAD.format(tags="")
        + f"# Teacher: {base} fine-tuned for {splits.task}\n\n"
        + f"Made by imbik {__version__} from `{base}` on `{splits.source}` ({len(splits.train.texts)} training rows).\n\n"
        + f"| split | {splits.metric} | rows |\n|---|---|---|\n"
        + f"| dev | {result.dev:.4f} | {len(splits.dev.texts)} |\n| test | {result.test:.4f} | {len(splits.test.texts)} |\n\n"
        + f"Best of {result.epochs} epochs: {best}. {result.truncated} training texts were cut.\n\n"
        + (f"Notes on the data:\n\n{notes}\n" if notes else "")
        + label_line(splits)
    )


def mlm_card(result: FittedMlm, corpus: str, base: str) -> str:
    """Return README.md of a masked language model."""
    rows = "".join(
        f"| {name} | {quality.loss:.3f} | {quality.perplexity:.1f} | {quality.accuracy:.4f} |\n"
        for name, quality in (("before", result.before), ("after", result.after))
    )
    return (
        CARD_HEAD.format(tags="- fill-mask\n")
        + f"# Masked language model: {base}\n\n"
        + f"Made by imbik {__version__} from `{base}` on `{corpus}` ({result.blocks} blocks, {result.epochs} epochs).\n\n"
        + f"On {result.after.tokens} masked tokens of held-out blocks:\n\n"
        + "| | cross-entropy (nats) | perplexity | accuracy |\n|---|---|---|---|\n"
        + rows
    )
