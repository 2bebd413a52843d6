"""Quality of texts that are asked one by one, where an artefact answers a text otherwise in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imbik.measure.measurement import Parity, group
from imbik.measure.predictions import load_outputs
from imbik.measure.process import Process
from imbik.measure.timing import write_rows
from imbik.tasks.outputs import Outputs, take
from imbik.tasks.registry import task_of
from imbik.tasks.retention import Evaluable
from imbik.types import Note

ROWS = 1000
"""Test texts that are asked one by one, at most."""

_ROUNDING = 1e-3
"""Largest difference of outputs, relative to the largest, that is no other answer."""


def quality_alone(process: Process, manifest: Mapping[str, Any], data: Evaluable, logits: Outputs, folder: Path) -> tuple[Note, ...]:
    """Return the quality of the first test texts in batches and one by one, where the parity gate saw that these differ.

    Args:
        process: of the candidate; it is timed already.
        manifest: of the artefact.
        data: whose test rows are asked.
        logits: of all of them, in batches.
        folder: for files on the way.
    """
    seen = group(Parity, manifest["parity"]).alone
    if data.test.targets is None or not seen or (seen["agreement"] in (None, 1.0) and seen["max_abs_relative"] <= _ROUNDING):
        return ()
    count = min(ROWS, len(data.test.texts))
    rows, out = folder / "alone.jsonl", folder / "alone.npy"
    write_rows(rows, data.test.texts[:count], None if data.test.pairs is None else data.test.pairs[:count])
    # no two rows fit into a batch of one token
    process.ask("scores", rows=str(rows), count=count, out=str(out), budget=1)
    task, targets = task_of(data.task), np.asarray(data.test.targets)[:count]
    alone, batch = (task.score(data.metric, task.decode(outputs), targets) for outputs in (load_outputs(out), take(logits, slice(count))))
    return (Note.of("alone", count=count, metric=data.metric, alone=alone, batch=batch),)
