"""A model's folder: ``model.json`` and ``arrays.safetensors``, tied by a checksum; no file of others is replaced."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np

from imbik.errors import UserError
from imbik.jobs.files import sha256
from imbik.recommend.data.ratings import Array, Compressed
from imbik.recommend.models.settings import Setting

FORMAT = 1
MODEL_FILES = ("model.json", "model.tmp", "arrays.safetensors", "arrays.imbik-tmp", "arrays.tmp")
"""Everything that a save may leave in a folder, killed or not; ``arrays.tmp`` is of imbik 0.1."""

_PAPERS = ("model.json", "model.tmp")
_ARRAYS = "arrays.safetensors"
_HEAD = '{"format": 1, "sha256": "'
_OURS = {"seen.indptr", "seen.indices"}  # arrays that every model has, and nobody else's file


class Document(TypedDict):
    """What ``model.json`` says of a model, beside the format and the checksum of the arrays."""

    model: str
    settings: dict[str, Setting]
    facts: dict[str, float]
    range: tuple[float, float]
    users: list[str]
    items: list[str]


def write_folder(folder: Path, document: Document, arrays: Mapping[str, Array]) -> None:
    """Write ``model.json`` (settings, facts, ids) and ``arrays.safetensors``.

    Two files cannot be replaced at once. Killed between them it leaves new arrays with the old ``model.json`` beside
    the new ``model.tmp``; :func:`read_folder` takes the one of the two that fits the arrays.

    Raises:
        UserError: the folder holds a file of these names that is no model of imbik.
    """
    from safetensors.numpy import save_file

    check_replaceable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "arrays.imbik-tmp"
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)
        text = json.dumps({"format": FORMAT, "sha256": sha256(temporary), **document}, ensure_ascii=False)
        (folder / "model.tmp").write_text(text, encoding="utf-8")
        os.replace(temporary, folder / _ARRAYS)
    finally:
        temporary.unlink(missing_ok=True)
    os.replace(folder / "model.tmp", folder / "model.json")


def check_replaceable(folder: Path) -> None:
    """Check that what a save would replace in a folder was written by a save: a name proves nothing.

    Raises:
        UserError: naming the file of others.
    """
    for name, is_ours in ((_PAPERS[0], _is_paper), (_PAPERS[1], _is_paper), (_ARRAYS, _are_arrays)):
        if os.path.lexists(folder / name) and not is_ours(folder / name):
            raise UserError(
                "the folder holds a file of this name that is no model of imbik",
                where=folder / name,
                expected="a new folder, or one of a model",
                fix="choose another folder with --out, or move the file away",
            )


def _is_paper(path: Path) -> bool:
    """Return whether a file is our ``model.json``; one that was cut off while it was written begins like one."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        return text.startswith(_HEAD) or {"format", "sha256", "model", "settings"} <= set(json.loads(text))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _are_arrays(path: Path) -> bool:
    """Return whether the header of a safetensors file names the arrays that each model has."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return set(json.loads(file.read(min(length, 1 << 20)))) >= _OURS
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def read_folder(folder: Path) -> tuple[Document, dict[str, Array]]:
    """Read what :func:`write_folder` wrote; use it inside :func:`imbik.jobs.reading.damage_told`.

    Raises:
        UserError: no model, one of another format, or two files that do not belong together.
        ValueError: or one of its kind: a damaged file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    papers = [folder / name for name in _PAPERS if (folder / name).is_file()]
    if not papers or not (folder / _ARRAYS).is_file():
        raise UserError(
            "this folder holds no model",
            where=folder,
            expected="model.json and arrays.safetensors",
            fix="write one with `imbik recommend fit ... --out FOLDER`",
        )
    document = _fitting(papers, sha256(folder / _ARRAYS))
    if document["format"] != FORMAT:
        raise UserError(
            "a model of another format", where=folder, found=document["format"], expected=FORMAT, fix="fit again with this version"
        )
    try:
        arrays = load_file(folder / _ARRAYS)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    low, high = list(document["range"])  # type: ignore[call-overload]
    checked = Document(
        model=str(document["model"]),
        settings=_mapping(document["settings"]),  # type: ignore[typeddict-item]
        facts={name: _number(value) for name, value in _mapping(document["facts"]).items()},
        range=(_number(low), _number(high)),
        users=_texts(document["users"]),
        items=_texts(document["items"]),
    )
    return checked, arrays


def _fitting(papers: list[Path], digest: str) -> dict[str, object]:
    """Return the first of the papers that was written for arrays of this digest."""
    for path in papers:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["sha256"] == digest:
            return dict(document)
    raise UserError("the two files do not belong together", where=papers[0].parent, found="another checksum", fix="fit again")


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("not a mapping")
    return value


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("ids are not a list of texts")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"not a finite number: {str(value)[:40]}")
    return float(value)


def check_compressed(matrix: Compressed, rows: int, columns: int) -> None:
    """Check that the pointers of a compressed matrix stay inside it: compiled loops do not.

    Raises:
        ValueError: they do not.
    """
    indptr, indices = matrix.indptr, matrix.indices
    if any(array.dtype.kind != "i" or array.ndim != 1 for array in (indptr, indices)):
        raise ValueError("pointers are not integers")
    if len(indptr) != rows + 1 or (len(indices) and int(indices.max()) >= columns):
        raise ValueError("users or items are missing")
    if indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any() or (len(indices) and int(indices.min()) < 0):
        raise ValueError("pointers leave the matrix")
