"""``manifest.json``: what an artefact folder is, checked with one clear message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from imbik.errors import UserError
from imbik.images.settings import PIXELS, PROCESSOR_FILE
from imbik.jobs.files import inside, sha256
from imbik.tasks.registry import task_of
from imbik.types import Artefact

SCHEMA = 1
MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.json"
BATCH_TOKENS = 1024
"""Tokens of a batch, padding included, unless a manifest or the caller says otherwise."""

LONGEST = 1_000_000
"""A manifest that asks for longer texts, in tokens, is damaged."""

_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_REQUIRED = ("schema", "engine", "model", "task", "labels", "max_length", "padding", "inputs", "steps", "files")
_OPTIONAL: Mapping[str, Any] = {
    "batch_tokens": None,
    "decision": None,
    "notes": (),
    "pairs": None,
    "precision": "f32",
    "quantisation": None,
    "tokenizer": TOKENIZER_FILE,
    "truncation_side": "right",
}
_NESTED: Mapping[str, Mapping[str, Any]] = {
    "graph": {"fused": True, "unfused_because": (), "int8_ops": 0, "float_matmuls": 0},
    "padding": {"id": None, "type_id": 0, "side": "right"},
    "parity": {},
    "shapes": {"multiple": 1, "minimum": 1},
    "versions": {},
}


_RENAMED = {"table": "numpy"}
"""Engines by names that they no longer have."""


def complete(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest in which every optional field has a value, so that nobody who reads one has to know the defaults.

    >>> complete({"shapes": {"multiple": 8}})["shapes"]
    {'multiple': 8, 'minimum': 1}
    """
    whole = {**_OPTIONAL, **{name: value for name, value in manifest.items() if value is not None}}
    return whole | {name: {**defaults, **(whole.get(name) or {})} for name, defaults in _NESTED.items()}


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read the manifest of an artefact folder, and check that every file that runs lies there and has the recorded size.

    Raises:
        UserError: no folder, no manifest, broken JSON, another schema, a field that is missing or makes no sense, a name that leads out
            of the folder, a file that is missing, changed, or not recorded.
    """
    manifest = parsed_manifest(directory)
    where = directory / MANIFEST_FILE
    schema = {"schema": None, **manifest}["schema"]
    if schema != SCHEMA:
        raise UserError(
            "the manifest has another schema",
            where=where,
            found=schema,
            expected=SCHEMA,
            fix="export the model again, or install the imbik that wrote it",
        )
    for field in _broken(manifest):
        raise UserError(
            f"the manifest's field '{field}' is missing or makes no sense",
            where=where,
            found=repr(manifest.get(field))[:80],
            fix="copy the folder again, or export the model again",
        )
    task_of(manifest["task"], where=where)  # refuses one that is not registered here
    manifest = complete(manifest)
    manifest["engine"] = _RENAMED.get(manifest["engine"], manifest["engine"])
    check_files(directory, manifest, {manifest["model"], manifest["tokenizer"]})
    return manifest


def parsed_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of an artefact folder as it stands there.

    Raises:
        UserError: no folder, no manifest, no JSON object.
    """
    path = directory / MANIFEST_FILE
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
    except (ValueError, RecursionError) as error:
        raise UserError("the manifest is not valid JSON", where=path, found=str(error)[:200], fix="export the model again") from None
    if not isinstance(manifest, dict):
        raise UserError(
            "the manifest is not a JSON object",
            where=path,
            found=type(manifest).__name__,
            fix="export the model again",
        )
    return manifest


def _whole(value: object, least: int, most: int) -> bool:
    """Whether a value is a whole number between two others."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _broken(manifest: Mapping[str, Any]) -> list[str]:
    """Return the fields that do not hold what a manifest must hold, in a fixed order."""
    given = {**dict.fromkeys(_REQUIRED), **_OPTIONAL, **dict.fromkeys(_NESTED), **manifest}
    nested = {name: not given[name] or isinstance(given[name], dict) for name in _NESTED}
    padding = {**_NESTED["padding"], **(given["padding"] or {})} if nested["padding"] else {}
    shapes = {**_NESTED["shapes"], **(given["shapes"] or {})} if nested["shapes"] else {}
    labels, inputs, steps, files = (given[name] for name in ("labels", "inputs", "steps", "files"))
    fits = {
        "engine": isinstance(given["engine"], str),
        "model": isinstance(given["model"], str),
        "task": isinstance(given["task"], str),
        "tokenizer": isinstance(given["tokenizer"], str),
        "labels": isinstance(labels, list) and bool(labels) and all(isinstance(label, str) for label in labels),
        "max_length": _whole(given["max_length"], 1, LONGEST),
        "padding": bool(padding)
        and _whole(padding["id"], 0, 2**31)
        and _whole(padding["type_id"], 0, 2**31)
        and padding["side"] in ("left", "right"),
        "truncation_side": given["truncation_side"] in ("left", "right"),
        "inputs": _are_inputs(inputs, given["tokenizer"]),
        "steps": isinstance(steps, list) and all(isinstance(step, dict) for step in steps),
        "batch_tokens": given["batch_tokens"] is None or _whole(given["batch_tokens"], 1, 2**31),
        "shapes": bool(shapes) and all(_whole(shapes[name], 1, LONGEST) for name in ("multiple", "minimum")),
        "files": isinstance(files, dict) and all(map(_entry, files.values())),
        "quantisation": not given["quantisation"] or isinstance(given["quantisation"], dict),
        **{name: nested[name] for name in ("versions", "parity", "graph")},
    }
    return [field for field, fit in fits.items() if not fit]


def _are_inputs(inputs: object, tokenizer: object) -> bool:
    """Whether these are the inputs of a model of texts, or of one of images, each beside the file that prepares its rows."""
    images = isinstance(tokenizer, str) and PurePosixPath(tokenizer).name == PROCESSOR_FILE
    if not isinstance(inputs, list) or images:
        return images and inputs == [PIXELS]
    return "input_ids" in inputs and all(isinstance(name, str) and name in _INPUTS for name in inputs)


def _entry(entry: object) -> bool:
    """Whether the record of a file has its size and its digest."""
    return (
        isinstance(entry, dict)
        and {"bytes", "sha256"} <= set(entry)
        and _whole(entry["bytes"], 0, 2**60)
        and isinstance(entry["sha256"], str)
    )


def check_files(directory: Path, manifest: Mapping[str, Any], needed: set[str]) -> None:
    """Check that all that an engine may open is recorded, lies inside of the folder and has the recorded size.

    Weights that lie beside the model under its name (``model.bin``, ``model.onnx.data``) are opened with it. Pages of text are for
    readers: a README that was edited or left out stops nobody.

    Args:
        directory: the folder.
        manifest: with ``model`` and ``files``.
        needed: files that are opened.

    Raises:
        UserError: the first file that is not as it was written.
    """
    where, files = directory / MANIFEST_FILE, manifest["files"]
    model = inside(directory, manifest["model"], where)
    weights = (model.with_suffix(".bin"), model.with_name(model.name + ".data"), model.with_name(model.name + "_data"))
    # onnxruntime and OpenVINO open these by the model's name, whatever the manifest says
    beside = {path.relative_to(directory).as_posix() for path in weights if path.exists()}
    for name in sorted({*needed, *beside, *files}):
        path = inside(directory, name, where)
        if name not in files:
            raise UserError(
                "the manifest does not record a file that would run",
                where=where,
                found=name,
                expected="its size and its sha256 under 'files'",
                fix="copy the folder again, or export the model again",
            )
        if _page(name):
            continue
        if not path.is_file():
            raise UserError(
                "a file of the artefact is missing",
                where=path,
                fix="copy the whole folder, or export the model again",
            )
        size = path.stat().st_size
        if size != files[name]["bytes"]:
            raise UserError(
                "a file of the artefact was changed or cut short",
                where=path,
                found=f"{size} bytes",
                expected=f"{files[name]['bytes']} bytes",
                fix="copy the folder again, or export the model again",
            )


def _page(name: str) -> bool:
    """Whether a file is a page for readers, which no engine opens."""
    return name.endswith(".md")


def verify(directory: str | Path) -> dict[str, Any]:
    """Read the manifest and compare every file's sha256 with it (loading compares sizes only, which costs nothing).

    Raises:
        UserError: as :func:`read_manifest`, or the content of a file that runs differs.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    for name, entry in manifest["files"].items():
        found = entry["sha256"] if _page(name) else sha256(directory / name)
        if found != entry["sha256"]:
            raise UserError(
                "a file of the artefact was changed",
                where=directory / name,
                found=f"sha256 {found[:12]}…",
                expected=f"sha256 {entry['sha256'][:12]}…",
                fix="copy the folder again, or export the model again",
            )
    return manifest


def artefact_files(directory: Path) -> set[str] | None:
    """Return the files of an artefact folder as its manifest lists them, itself included; None for a folder that is no artefact.

    Unlike :func:`read_manifest` it takes an incomplete one: this is the proof that a folder may be replaced, not that it can run.
    """
    try:
        manifest = json.loads((directory / MANIFEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    # of texts, or of a module that reads arrays
    kinds = ({"task", "labels"}, {"inputs", "outputs"})
    common = {"schema", "engine", "steps", "files"}
    known = isinstance(manifest, dict) and any(common | kind <= manifest.keys() for kind in kinds)
    if not known or not isinstance(manifest["files"], dict):
        return None
    return {*manifest["files"], MANIFEST_FILE}


def read_artefact(directory: str | Path) -> Artefact:
    """Return an artefact folder as a value.

    Raises:
        UserError: as :func:`read_manifest`.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    files = {name: int(entry["bytes"]) for name, entry in manifest["files"].items()}
    files[MANIFEST_FILE] = (directory / MANIFEST_FILE).stat().st_size
    digests = {name: str(entry["sha256"]) for name, entry in manifest["files"].items()}
    digests[MANIFEST_FILE] = sha256(directory / MANIFEST_FILE)
    return Artefact(
        path=directory,
        engine=manifest["engine"],
        files=files,
        bytes=sum(files.values()),
        sha256=digests,
        steps=tuple(manifest["steps"]),
        parity=manifest["parity"],
    )
