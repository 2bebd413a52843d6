"""Any module -> ExecuTorch program for XNNPACK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from imbik.export.executorch import lowered
from imbik.jobs.quiet import silenced
from imbik.modules.export.flat import Flat, exporting
from imbik.runtime.engines.executorch import MODEL


def write_executorch(flat: Flat, batch: bool, directory: Path) -> dict[str, Any]:
    """Write ``model.pte`` for one row at a time, and return what the manifest records.

    Raises:
        UserError: torch.export or ExecuTorch cannot take the module.
    """
    rows = tuple(value[:1].clone() if batch else value for value in flat.inputs.values)
    with exporting(flat, "ExecuTorch", "a forward pass that torch.export takes"), silenced(), torch.no_grad():
        program = torch.export.export(flat, rows)
        (directory / MODEL).write_bytes(lowered(program, dynamic=False))
    return {"model": MODEL, "graph": {"backend": "xnnpack"}}
