"""Quality of texts asked one by one, where the gate saw that an artefact answers them otherwise in a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from imbik.locale.notes import sentence
from imbik.measure import alone as module
from imbik.measure.alone import quality_alone
from imbik.testing.tiny import tiny_splits

SPLITS = tiny_splits(rows=80)
TARGETS = np.asarray(SPLITS.test.targets)
RIGHT = np.eye(3, dtype=np.float32)[TARGETS]


class Process:
    """A worker that is right on the texts it is asked one by one."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.rows: list[list[str]] = []

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        self.asked.append({"do": do} | fields)
        self.rows = [json.loads(line) for line in Path(fields["rows"]).read_text(encoding="utf-8").splitlines()]
        np.save(fields["out"], RIGHT[: fields["count"]])
        return {}


def manifest(**alone: Any) -> dict[str, Any]:
    return {"parity": {"alone": {"agreement": 1.0, "max_abs_relative": 0.0} | alone}}


@pytest.mark.parametrize("seen", [{"agreement": 0.99}, {"max_abs_relative": 0.002}, {"agreement": None, "max_abs_relative": 0.002}])
def test_both_qualities_are_stated_on_the_same_rows(seen: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 30)
    process, batch = Process(), np.roll(RIGHT, 1, axis=0)
    (note,) = quality_alone(process, manifest(**seen), SPLITS, batch, tmp_path)  # type: ignore[arg-type]
    assert [row[0] for row in process.rows] == list(SPLITS.test.texts[:30]) and process.asked[0]["budget"] == 1
    expected = accuracy_score(TARGETS[:30], batch[:30].argmax(1))
    assert dict(note.values) == {"count": 30, "metric": "accuracy", "alone": 1.0, "batch": pytest.approx(expected)}
    assert "accuracy 1.0000 asked one by one" in sentence(note)


@pytest.mark.parametrize("known", [manifest(), manifest(max_abs_relative=0.0009), {"parity": {}}])
def test_nothing_is_asked_where_answers_do_not_depend_on_the_batch(known: dict[str, Any], tmp_path: Path) -> None:
    process = Process()
    assert quality_alone(process, known, SPLITS, RIGHT, tmp_path) == () and process.asked == []  # type: ignore[arg-type]
