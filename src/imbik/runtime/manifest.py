"""``manifest.json``: what an artefact folder is, checked with one clear message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.jobs.files import sha256
from imbik.types import Artefact

SCHEMA = 1
NAME = "manifest.json"
BATCH_TOKENS = 1024
"""Tokens of a batch, padding included, unless a manifest or the caller says otherwise."""

_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "engine": str,
    "model": str,
    "task": str,
    "labels": list,
    "max_length": int,
    "padding": dict,
    "inputs": list,
    "steps": list,
    "files": dict,
}


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of an artefact folder, with every file there and of the recorded size.

    Raises:
        UserError: no folder, no manifest, broken JSON, another schema, a missing field, a missing or changed
            file.
    """
    manifest = _parsed(directory)
    if manifest.get("schema") != SCHEMA:
        raise UserError(
            "the manifest has another schema",
            where=directory / NAME,
            found=manifest.get("schema"),
            expected=SCHEMA,
            fix="export the model again, or install the imbik that wrote it",
        )
    for field, kind in _REQUIRED.items():
        if not isinstance(manifest.get(field), kind):
            raise UserError(
                f"the manifest's field '{field}' is missing or of the wrong kind",
                where=directory / NAME,
                found=repr(manifest.get(field))[:80],
                fix="export the model again",
            )
    _check_sizes(directory, manifest["files"])
    return manifest


def _parsed(directory: Path) -> dict[str, Any]:
    path = directory / NAME
    if not directory.is_dir():
        raise UserError(
            "no such artefact folder",
            where=directory,
            expected="a folder written by imbik export or imbik compress",
        )
    if not path.is_file():
        raise UserError(
            "not an artefact: it has no manifest.json",
            where=directory,
            found=", ".join(sorted(entry.name for entry in directory.iterdir())[:6]) or "an empty folder",
            expected="a folder written by imbik export or imbik compress (DIR/<recipe>/artefacts/<engine>)",
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError("the manifest is not valid JSON", where=path, found=str(error), fix="export the model again") from None
    if not isinstance(manifest, dict):
        raise UserError(
            "the manifest is not a JSON object",
            where=path,
            found=type(manifest).__name__,
            fix="export the model again",
        )
    return manifest


def _check_sizes(directory: Path, files: Mapping[str, Any]) -> None:
    for name, entry in files.items():
        path = directory / name
        if not path.is_file():
            raise UserError(
                "a file of the artefact is missing",
                where=path,
                fix="copy the whole folder, or export the model again",
            )
        if path.stat().st_size != entry["bytes"]:
            raise UserError(
                "a file of the artefact was changed or cut short",
                where=path,
                found=f"{path.stat().st_size} bytes",
                expected=f"{entry['bytes']} bytes",
                fix="copy the folder again, or export the model again",
            )


def verify(directory: str | Path) -> dict[str, Any]:
    """Read the manifest and compare every file's sha256 with it (loading compares sizes only, which costs
    nothing).

    Raises:
        UserError: as :func:`read_manifest`, or a file's content differs.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    for name, entry in manifest["files"].items():
        found = sha256(directory / name)
        if found != entry["sha256"]:
            raise UserError(
                "a file of the artefact was changed",
                where=directory / name,
                found=f"sha256 {found[:12]}…",
                expected=f"sha256 {entry['sha256'][:12]}…",
                fix="copy the folder again, or export the model again",
            )
    return manifest


def read_artefact(directory: str | Path) -> Artefact:
    """An artefact folder as a value.

    Raises:
        UserError: as :func:`read_manifest`.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    files = {name: int(entry["bytes"]) for name, entry in manifest["files"].items()}
    files[NAME] = (directory / NAME).stat().st_size
    digests = {name: str(entry["sha256"]) for name, entry in manifest["files"].items()}
    digests[NAME] = sha256(directory / NAME)
    return Artefact(
        path=directory,
        engine=manifest["engine"],
        files=files,
        bytes=sum(files.values()),
        sha256=digests,
        steps=tuple(manifest["steps"]),
        parity=manifest.get("parity") or {},
    )
