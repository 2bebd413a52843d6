"""Fixtures that several files use."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a hub


@pytest.fixture(autouse=True, scope="session")
def short_measurements():
    """One cold start instead of three and short turns: importing PyTorch again and again is most of a tiny run's time."""
    with pytest.MonkeyPatch.context() as patch:
        timing = importlib.import_module("imbik.measure.timing")
        patch.setattr(timing, "REQUESTS", 10)
        patch.setattr(timing, "_TURN", 0.05)
        patch.setattr(importlib.import_module("imbik.measure.run"), "COLD_STARTS", 1)
        yield


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets; the test is skipped without it."""
    folder = Path(os.environ.get("IMBIK_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder} (IMBIK_DATA names another folder)")
    return folder
