"""Artefacts of any module: arrays in, arrays out, without PyTorch on ONNX Runtime and OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.runtime.engines.engine import ArtefactEngine, Session
from imbik.runtime.engines.executorch import ExecuTorch, load_method
from imbik.runtime.engines.registry import engine
from imbik.runtime.manifest import MANIFEST_FILE, SCHEMA, check_files, parsed_manifest

Array = NDArray[Any]
ENGINES = ("onnx", "openvino", "executorch")
"""Engines that artefacts of modules are made for."""


@dataclass(frozen=True)
class Port:
    """One array that goes in or comes out.

    Attributes:
        name: as the module calls it.
        shape: sizes of its axes; None: any. The first one is the batch where there is one.
        type: NumPy's name of its values.
    """

    name: str
    shape: tuple[int | None, ...]
    type: str

    def take(self, given: object) -> Array:
        """Return a value as an array that the model reads.

        Raises:
            UserError: it is of another kind or shape.
        """
        array = np.asarray(given)
        if not np.can_cast(array.dtype, self.type, "same_kind"):
            raise UserError("values of another kind", where=self.name, found=str(array.dtype), expected=self.type)
        fits = array.ndim == len(self.shape) and all(size in (None, own) for size, own in zip(self.shape, array.shape, strict=True))
        if not fits:
            raise UserError("an array of another shape", where=self.name, found=array.shape, expected=_shown(self.shape))
        return np.ascontiguousarray(array, dtype=self.type)


class ModuleArtefact:
    """An exported module, ready to answer. Several threads may ask it at once.

    Attributes:
        path: its folder.
        manifest: what the folder says of itself.
        inputs, outputs: what it reads and gives, in order.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], session: Session) -> None:
        self.path = path
        self.manifest = manifest
        self.session = session
        self.inputs = _ports(manifest["inputs"])
        self.outputs = _ports(manifest["outputs"])
        if not set(session.names) <= {port.name for port in self.inputs}:
            raise self._unlike(session.names)

    def __call__(self, *arrays: object, **named: object) -> Array | dict[str, Array]:
        """Return what the module gives of some arrays: an array, or several by name.

        Args:
            arrays: inputs in the module's order.
            named: inputs by name.

        Raises:
            UserError: an input is missing or unknown, or of another kind or shape.
        """
        names = [port.name for port in self.inputs]
        given = dict(zip(names, arrays, strict=False)) | named
        if len(arrays) > len(names) or set(given) != set(names) or len(arrays) + len(named) != len(names):
            found = ", ".join([*names[: len(arrays)], *named]) or "nothing"
            raise UserError("other inputs than the module has", found=found, expected=", ".join(names))
        feed = {port.name: port.take(given[port.name]) for port in self.inputs}
        if self.manifest["batch"] and len({len(array) for array in feed.values()}) > 1:
            sizes = ", ".join(f"{name} {len(array)}" for name, array in feed.items())
            raise UserError("inputs of different numbers of rows", found=sizes, expected="the same first axis")
        found_arrays = self._run(feed)
        if len(found_arrays) != len(self.outputs):
            raise self._unlike([port.name for port in self.outputs])
        answers = {port.name: array.astype(port.type, copy=False) for port, array in zip(self.outputs, found_arrays, strict=True)}
        return next(iter(answers.values())) if len(answers) == 1 else answers

    def _unlike(self, found: Sequence[str]) -> UserError:
        where = self.path / MANIFEST_FILE
        return UserError("the manifest is of another model", where=where, found=", ".join(found), fix="export the module again")

    def _run(self, feed: Mapping[str, Array]) -> Sequence[Array]:
        # an input that the graph has no use for is not asked for
        outputs: Any = self.session.compute({name: feed[name] for name in self.session.names})
        return list(outputs.values()) if isinstance(outputs, dict) else [outputs]


class _Programs(Session):
    """An ExecuTorch program, which runs one row at a time, as a phone would."""

    def __init__(self, method: Any, names: tuple[str, ...], outputs: tuple[str, ...], batch: bool) -> None:
        self.method, self.names, self.outputs, self.batch = method, names, outputs, batch

    def compute(self, feed: Mapping[str, Array]) -> Any:
        """Return the outputs, several by name."""
        import torch

        rows = len(next(iter(feed.values()))) if self.batch else 1
        found: list[list[Array]] = []
        for row in range(rows):
            tensors = [torch.from_numpy(feed[name][row : row + 1] if self.batch else feed[name]) for name in self.names]
            # copied: the program writes the next row's answer over this one
            found.append([tensor.numpy().copy() for tensor in self.method.execute(tensors)])
        whole = [np.concatenate(parts) if self.batch else parts[0] for parts in zip(*found, strict=True)]
        return whole[0] if len(whole) == 1 else dict(zip(self.outputs, whole, strict=True))


def load_module(directory: str | Path, threads: int = 1) -> ModuleArtefact:
    """Open a folder that :func:`imbik.export_module` wrote.

    Args:
        directory: the folder of one engine.
        threads: compute threads.

    Raises:
        UserError: the folder is incomplete or damaged, or this machine cannot run it.
    """
    directory = Path(directory)
    manifest = read_module_manifest(directory)
    path, runs = directory / manifest["model"], engine(str(manifest["engine"]), where=directory / MANIFEST_FILE)
    assert isinstance(runs, ArtefactEngine)
    if isinstance(runs, ExecuTorch):
        names, outputs = (tuple(port["name"] for port in manifest[side]) for side in ("inputs", "outputs"))
        return ModuleArtefact(directory, manifest, _Programs(load_method(path, threads), names, outputs, manifest["batch"]))
    return ModuleArtefact(directory, manifest, runs.session(path, manifest, threads))


def read_module_manifest(directory: Path) -> dict[str, Any]:
    """Read the manifest of a module's artefact, and check its files as :func:`imbik.runtime.manifest.read_manifest` does.

    Raises:
        UserError: no artefact of a module, another schema, a field that makes no sense, files that are missing or changed.
    """
    manifest = parsed_manifest(directory)
    where, again = directory / MANIFEST_FILE, "export the module again"
    if "task" in manifest:
        raise UserError("this artefact reads texts", where=where, fix="open it with imbik.load_artefact")
    fits = {
        "schema": {"schema": None, **manifest}["schema"] == SCHEMA,
        "engine": {"engine": None, **manifest}["engine"] in ENGINES,
        "model": isinstance({"model": None, **manifest}["model"], str),
        "batch": isinstance({"batch": None, **manifest}["batch"], bool),
        "inputs": _are_ports({"inputs": None, **manifest}["inputs"]),
        "outputs": _are_ports({"outputs": None, **manifest}["outputs"]),
        "files": isinstance({"files": None, **manifest}["files"], dict),
        "versions": isinstance({"versions": None, **manifest}["versions"], dict),
    }
    for field in (name for name, fit in fits.items() if not fit):
        found = repr({field: None, **manifest}[field])[:80]
        raise UserError(f"the manifest's field '{field}' is missing or makes no sense", where=where, found=found, fix=again)
    for name, entry in manifest["files"].items():
        if not isinstance(entry, dict) or not isinstance({"bytes": None, **entry}["bytes"], int):
            raise UserError("the manifest does not record the size of a file", where=where, found=name, fix=again)
    check_files(directory, manifest, {manifest["model"]})
    return {"precision": "f32", "quantisation": None, **manifest}


def _are_ports(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and _is_port(one) for one in value)


def _is_port(one: Mapping[str, Any]) -> bool:
    if not {"name", "shape", "type"} <= one.keys() or not isinstance(one["shape"], list):
        return False
    sizes = all(size is None or (isinstance(size, int) and size >= 0) for size in one["shape"])
    return sizes and isinstance(one["name"], str) and one["type"] in ("float32", "float64", "int64", "int32", "bool", "uint8")


def _ports(entries: Sequence[Mapping[str, Any]]) -> tuple[Port, ...]:
    return tuple(Port(str(one["name"]), tuple(one["shape"]), str(one["type"])) for one in entries)


def _shown(shape: tuple[int | None, ...]) -> str:
    """Return a shape with a letter for any size.

    >>> _shown((None, 3, 32))
    '(N, 3, 32)'
    """
    return "(" + ", ".join("N" if size is None else str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"
