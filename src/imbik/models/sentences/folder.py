"""Folders of sentence-transformers: which files beside the encoder say how its states become one vector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imbik.jobs.files import inside
from imbik.jobs.reading import damage_told

MODULES = "modules.json"
SETTINGS = ("sentence_bert_config.json", "config_sentence_transformers.json")
_PARTS = ("config.json", "model.safetensors")


def local_folder(source: str | Path) -> Path:
    """Return the folder itself, or of a hub name the local copy of its small files.

    >>> local_folder(".").name
    ''
    """
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    patterns = [MODULES, *SETTINGS, "imbik.json", *(f"*_*/{name}" for name in _PARTS)]
    return Path(snapshot_download(str(source), allow_patterns=patterns))


def modules_of(folder: Path) -> list[dict[str, Any]]:
    """Return what ``modules.json`` lists; empty where there is none.

    Each entry has ``type`` and ``path``.

    Raises:
        UserError: the file is damaged, or names something outside the folder.
    """
    path = folder / MODULES
    if not path.is_file():
        return []
    with damage_told("no list of modules of sentence-transformers", path, fix="copy the folder again"):
        modules = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(modules, list) or not all(isinstance(one["path"], str) and isinstance(one["type"], str) for one in modules):
            raise ValueError("not a list of modules with type and path")
    for one in modules:
        # the encoder itself may lie in the folder, under an empty path
        if one["path"]:
            inside(folder, one["path"], path)
    return modules


def side_files(folder: Path) -> list[str]:
    """Return the files beside the encoder, relative to the folder.

    They say how its states are pooled, and what imbik wrote.
    """
    names = [MODULES, *SETTINGS, "imbik.json"]
    names += [f"{one['path']}/{part}" for one in modules_of(folder) if one["path"] for part in _PARTS]
    return [name for name in names if (folder / name).is_file()]
