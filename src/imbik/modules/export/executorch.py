"""Any module -> ExecuTorch program for XNNPACK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from imbik.errors import UserError
from imbik.export.executorch import lowered
from imbik.jobs.quiet import silenced
from imbik.modules.arguments import first_line
from imbik.modules.export.flat import Flat
from imbik.runtime.engines.executorch import MODEL


def write_executorch(flat: Flat, batch: bool, directory: Path) -> dict[str, Any]:
    """Write ``model.pte`` for one row at a time, and return what the manifest records.

    Raises:
        UserError: torch.export or ExecuTorch cannot take the module.
    """
    rows = tuple(value[:1].clone() if batch else value for value in flat.inputs.values)
    try:
        with silenced(), torch.no_grad():
            program = torch.export.export(flat, rows)
            (directory / MODEL).write_bytes(lowered(program, dynamic=False))
    except Exception as error:
        raise UserError(
            "the module cannot be exported to ExecuTorch",
            where=type(flat.inner).__name__,
            found=first_line(error),
            expected="a forward pass that torch.export takes",
            fix="choose another engine",
        ) from error
    return {"model": MODEL, "graph": {"backend": "xnnpack"}}
