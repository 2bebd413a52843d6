"""Model cards: what a checkpoint is, how it was made and what it was measured at."""

from __future__ import annotations

from imbik.types import Splits

_HEAD = "---\nlibrary_name: transformers\ntags:\n- imbik\n{tags}---\n\n"


def _labels(splits: Splits) -> str:
    """Write the line of a card that lists the labels."""
    return f"Labels ({len(splits.labels)}): " + ", ".join(f"`{label}`" for label in splits.labels) + "\n"
