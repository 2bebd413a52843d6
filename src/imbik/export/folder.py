"""An artefact folder on its way to completeness: written under a temporary name, checked, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.jobs.files import sha256
from imbik.runtime.engines.pytorch import tokenizer_of
from imbik.runtime.manifest import NAME
from imbik.types import Checkpoint


def write_tokenizer(checkpoint: Checkpoint, directory: Path, max_length: int, side: str) -> None:
    """``tokenizer.json``, which cuts texts as the model needs and leaves padding to the runtime."""
    tokenizer = tokenizer_of(checkpoint)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, direction=side)
    # Written without indentation, which makes the file a third smaller.
    (directory / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")


def finish(directory: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest with size and digest of every file."""
    names = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file() and path.name != NAME)
    manifest["files"] = {name: {"bytes": (directory / name).stat().st_size, "sha256": sha256(directory / name)} for name in names}
    write_json(directory / NAME, manifest)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """A mapping as readable JSON."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def refuse_foreign(directory: Path) -> None:
    """Only an artefact (or nothing) may be replaced: whatever else the user keeps in that folder stays."""
    if directory.is_file():
        raise UserError("the output folder is a file", where=directory, fix="choose another folder with --out")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / NAME).is_file():
        raise UserError(
            "the output folder holds something else",
            where=directory,
            found=", ".join(sorted(entry.name for entry in directory.iterdir())[:6]),
            expected="a new or empty folder, or an artefact to replace",
            fix="choose another folder with --out",
        )


def put_in_place(partial: Path, directory: Path) -> None:
    """Give the finished folder its name; what stood there goes away only then."""
    old = directory.with_name(f".{directory.name}.old-{os.getpid()}")
    if directory.exists():
        directory.rename(old)
    partial.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
