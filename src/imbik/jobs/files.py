"""Files written whole, read back, and never taken over from others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from imbik.errors import UserError


def refuse_foreign(folder: Path, ours: AbstractSet[str]) -> None:
    """Refuse to replace a folder that holds anything else than what ``ours`` names.

    Raises:
        UserError: naming what stands there.
    """
    found = sorted(path.name for path in folder.iterdir() if path.name not in ours) if folder.is_dir() else []
    if found:
        raise UserError(
            "the candidate's folder holds other files, which writing it would delete",
            where=folder,
            found=", ".join(found[:6]),
            fix="choose another --out, or another name for the recipe",
        )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a whole file or nothing."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """What :func:`write_json` wrote; empty where there is no such file, or none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
