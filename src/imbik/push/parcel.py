"""What is pushed: the files of a finished model, by the names that they have in the repository."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from imbik.errors import UserError
from imbik.jobs.reading import read_text
from imbik.jobs.workspace import MODEL_FILES
from imbik.measure.measurement import Measurement
from imbik.measure.results import load_results
from imbik.measure.values import Results
from imbik.runtime.manifest import MANIFEST_FILE, complete, read_manifest

_RESULTS, _CARD, _RECORD = "results.json", "README.md", "imbik.json"
_WEIGHTS = ("model.safetensors", "structured.safetensors")
_WRITTEN = ("config.json", "imbik.json", "finetune.json")
"""JSON files that may name folders of the machine on which they were written."""

_HUB = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Parcel:
    """A model that is to be pushed.

    Attributes:
        name: of the candidate or the folder.
        files: name in the repository -> the file, or its content.
        config: the model's transformers config; empty where an artefact comes without its model.
        manifests: of the artefacts, by engine.
        results: of the run that it was measured in.
        measured: what was measured of it.
    """

    name: str
    files: Mapping[str, Path | bytes]
    config: Mapping[str, Any] = field(default_factory=dict)
    manifests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    results: Results | None = None
    measured: tuple[Measurement, ...] = ()

    def fact(self, name: str) -> Any:
        """Return a field of the config; None where it has none."""
        return self.config.get(name)

    @property
    def onnx(self) -> str | None:
        """Folder of the artefact whose model is an ONNX file, which other libraries open too; None without one."""
        return next((name for name, one in self.manifests.items() if _is_onnx(one)), None)

    @property
    def task(self) -> str:
        """The task's name; empty where nothing says it."""
        for manifest in self.manifests.values():
            return str(manifest["task"])
        record = self.files.get(_RECORD, b"{}")
        known = {"task": None} | json.loads(record if isinstance(record, bytes) else record.read_bytes())
        return str(known["task"] or "")


def _is_onnx(manifest: Mapping[str, Any]) -> bool:
    return str(manifest["model"]).endswith(".onnx")


def pack(folder: Path) -> Parcel:
    """Collect what there is to push.

    Args:
        folder: that ``compress`` wrote (its chosen candidate is taken), a candidate in it, a checkpoint (what ``finetune`` wrote), or an
            artefact.

    Raises:
        UserError: none of these, or nothing was chosen; files that are not whole.
    """
    if not folder.is_dir():
        raise UserError("no such folder", where=folder, expected="what imbik compress, finetune or export wrote")
    if (folder / MANIFEST_FILE).is_file():
        return _of_artefacts(folder.name, {}, {}, [folder])
    if (folder / "config.json").is_file():
        return _of_model(folder.name, folder, [])
    if (folder / _RESULTS).is_file():
        return _of_candidate(folder / _chosen(load_results(folder / _RESULTS), folder / _RESULTS))
    if (folder / "model").is_dir() or (folder / "artefacts").is_dir():
        return _of_candidate(folder)
    raise UserError(
        "nothing to push in the folder",
        where=folder,
        found=", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "an empty folder",
        expected=f"{_RESULTS}, model/, config.json or {MANIFEST_FILE}",
        fix="name a folder that imbik compress, finetune or export wrote",
    )


def _chosen(results: Results, where: Path) -> str:
    if results.choice is None or not results.choice.id:
        raise UserError("no candidate was chosen", where=where, fix="name the candidate's folder")
    return results.choice.id.rpartition("/")[0]


def _of_candidate(folder: Path) -> Parcel:
    artefacts = sorted(path.parent for path in (folder / "artefacts").glob(f"*/{MANIFEST_FILE}"))
    parcel = (
        _of_model(folder.name, folder / "model", artefacts)
        if (folder / "model" / "config.json").is_file()
        else _of_artefacts(folder.name, {}, {}, artefacts)
    )
    # a candidate is measured beside the others, one folder above
    known = folder.parent / _RESULTS
    if not known.is_file():
        return parcel
    results = load_results(known)
    measured = tuple(one for one in results.measurements if one.id.rpartition("/")[0] == folder.name)
    return Parcel(parcel.name, parcel.files, parcel.config, parcel.manifests, results, measured)


def _of_model(name: str, folder: Path, artefacts: list[Path]) -> Parcel:
    # safetensors alone: other files of weights may run code when they are opened
    if not any((folder / weights).is_file() for weights in _WEIGHTS):
        raise UserError("no safetensors weights beside the config", where=folder, expected=" or ".join(_WEIGHTS))
    files: dict[str, Path | bytes] = {}
    # by name: what somebody put beside a model is not ours to publish
    for name_in_folder in sorted(MODEL_FILES - {_CARD}):
        path = folder / name_in_folder
        if path.is_file():
            files[name_in_folder] = _without_paths(path) if name_in_folder in _WRITTEN else path
    config = json.loads(files["config.json"])  # type: ignore[arg-type]
    return _of_artefacts(name, files, config, artefacts)


def _of_artefacts(name: str, files: Mapping[str, Path | bytes], config: Mapping[str, Any], artefacts: list[Path]) -> Parcel:
    manifests = {}
    laid = dict(files)
    for folder in artefacts:
        manifest = read_manifest(folder)
        engine = str(manifest["engine"])
        manifests[engine] = manifest
        laid |= _artefact(folder, engine, json.loads(read_text(folder / MANIFEST_FILE, "manifest")))
    if not laid:
        raise UserError("nothing to push in the folder", where=name, expected=f"config.json or {MANIFEST_FILE}")
    return Parcel(name, laid, config, manifests)


def _artefact(folder: Path, engine: str, written: dict[str, Any]) -> dict[str, Path | bytes]:
    """Return an artefact as a sub-folder of its engine's name, which imbik opens; an ONNX model bears the name by which others seek it."""
    known: dict[str, Any] = written["files"]
    names = {name: name for name in known}
    if _is_onnx(written):
        # transformers.js asks for `model` in float32 and for `model_quantized` in 8 bits, in the folder onnx
        names[written["model"]] = "model_quantized.onnx" if complete(written)["quantisation"] else "model.onnx"
        written = {**written, "model": names[written["model"]], "files": {names[name]: facts for name, facts in known.items()}}
    # checksums stay: only names changed
    content = json.dumps(written, indent=1, sort_keys=True, ensure_ascii=False).encode()
    return {f"{engine}/{names[name]}": folder / name for name in known} | {f"{engine}/{MANIFEST_FILE}": content}


def _without_paths(path: Path) -> bytes:
    """Return a JSON file in which absolute paths of this machine are their last names."""
    value = json.loads(read_text(path, "file"))
    return (json.dumps(_bare(value), indent=2, ensure_ascii=False) + "\n").encode()


def _bare(value: Any) -> Any:
    """Return a value without absolute paths.

    >>> _bare({"base": "/home/me/models/base", "also": ["owner/name", 3]})
    {'base': 'base', 'also': ['owner/name', 3]}
    """
    if isinstance(value, dict):
        return {name: _bare(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if isinstance(value, str) and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).drive):
        return PureWindowsPath(value).name
    return value


def hub_name(name: object) -> str | None:
    """Return what may be the name of something on a hub, None for what is a path or no name.

    >>> hub_name("google/bert_uncased"), hub_name("/home/me/base"), hub_name("data")
    ('google/bert_uncased', None, None)
    """
    return name if isinstance(name, str) and _HUB.fullmatch(name) and not Path(name).exists() else None
