"""Model cards: what a checkpoint is, how it was made and what it was measured at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imbik.types import Splits

if TYPE_CHECKING:
    pass

_HEAD = "---\nlibrary_name: transformers\ntags:\n- imbik\n{tags}---\n\n"


def _labels(splits: Splits) -> str:
    return f"Labels ({len(splits.labels)}): " + ", ".join(f"`{label}`" for label in splits.labels) + "\n"
