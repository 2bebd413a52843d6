"""Stored predictions of a teacher: they fit the rows that are measured, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.measure.predictions import Predictions, check_fits, load_predictions, save_predictions
from imbik.testing.tiny import tiny_splits

SPLITS = tiny_splits()
ROWS, LABELS = len(SPLITS.test), len(SPLITS.labels)
GOOD = np.random.default_rng(0).normal(size=(ROWS, LABELS)).astype(np.float32)


def stored(tmp_path: Path, logits: dict[str, Any]) -> Predictions:
    about = ("teacher/pytorch", SPLITS.labels, SPLITS.task, {"test": SPLITS.test.fingerprint})
    save_predictions(tmp_path / "p.npz", Predictions(*about, logits))
    return load_predictions(tmp_path / "p.npz")


def test_those_of_the_same_rows_fit(tmp_path: Path) -> None:
    check_fits(stored(tmp_path, {"test": GOOD}), SPLITS, "p.npz")


@pytest.mark.parametrize(
    ("logits", "found"),
    [
        ({}, "nothing of the test rows"),
        ({"test": GOOD[:10]}, "10 rows"),
        ({"test": np.concatenate([GOOD, GOOD])}, f"{2 * ROWS} rows"),
        ({"test": GOOD[:, :2]}, "rows of another form"),
        ({"test": GOOD * np.nan}, "not finite"),
        ({"test": GOOD * np.inf}, "not finite"),
    ],
)
def test_others_are_refused_with_what_was_found(tmp_path: Path, logits: dict[str, Any], found: str) -> None:
    with pytest.raises(UserError, match=rf"p\.npz: .*Found: .*{found}"):
        check_fits(stored(tmp_path, logits), SPLITS, "p.npz")
