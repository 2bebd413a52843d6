"""Any module -> artefact folders, called done only once their answers were compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import nn

from imbik.errors import UserError
from imbik.export.folder import finish, folder_bytes
from imbik.jobs.files import replacing_folder
from imbik.jobs.paths import with_home
from imbik.jobs.progress import Progress, Silent
from imbik.modules.compress import CompressedModule
from imbik.modules.export.executorch import write_executorch
from imbik.modules.export.flat import Flat
from imbik.modules.export.onnx import write_onnx
from imbik.modules.export.openvino import write_openvino
from imbik.modules.export.parity import check_parity
from imbik.modules.step import count_parameters
from imbik.modules.steps.quantize import Quantize
from imbik.runtime.engines.registry import engine
from imbik.runtime.manifest import SCHEMA, artefact_files
from imbik.runtime.modules import ENGINES


@dataclass(frozen=True)
class _Writer:
    """What writes the files of an engine.

    Attributes:
        write: ``(module, batch, folder)`` -> what the manifest says of them.
        integers: whether modules in int8 are taken.
    """

    write: Callable[[Flat, bool, Path], dict[str, Any]]
    integers: bool = True


_WRITERS: Mapping[str, _Writer] = {
    "onnx": _Writer(write_onnx),
    "openvino": _Writer(write_openvino),
    "executorch": _Writer(write_executorch, integers=False),
}


@dataclass(frozen=True)
class ExportedModule:
    """An artefact folder of a module.

    Attributes:
        path: the folder; :func:`imbik.load_module` opens it.
        engine: that runs it.
        bytes: of all files in it.
        parity: what the gate found: ``max_abs``, ``max_abs_relative``, ``sqnr_db``, ``rows``.
    """

    path: Path
    engine: str
    bytes: int
    parity: Mapping[str, Any]


def export_module(
    model: nn.Module | CompressedModule,
    example: object,
    out: str | Path,
    *,
    engines: Sequence[str] = ("onnx",),
    batch: bool = True,
    progress: Progress | None = None,
) -> dict[str, ExportedModule]:
    """Write artefacts of any module: ``out``/<engine>/ with the engine's files and ``manifest.json``.

    A folder appears under its name only when the artefact answers as the module does. An artefact that stood there is replaced; anything
    else that lies there stays, and is refused before any work.

    Args:
        model: any module, or what :func:`imbik.compress_module` made; not changed.
        example: what it is called with.
        out: folder of the artefacts.
        engines: any of ``onnx``, ``openvino``, ``executorch``.
        batch: the first axis of all inputs and outputs is the batch, which may have any length; False: all sizes are those of the example.
        progress: where the work is shown.

    Raises:
        UserError: unknown engine, an example that the module does not take, a module that the engine cannot take.
        ParityError: an artefact that answers otherwise than the module.
    """
    steps = [report.step for report in model.steps] if isinstance(model, CompressedModule) else []
    module = model.model if isinstance(model, CompressedModule) else model
    if not engines:
        raise UserError("no engine is named", where="engines", expected="one or more of " + ", ".join(ENGINES))
    for name in engines:
        if name not in ENGINES:
            raise UserError("no engine for modules has this name", where="engines", found=name, expected=", ".join(ENGINES))
        engine(name)
    quantized = _quantized(steps)
    # before any work: an engine that comes later must not be refused when the first folder is there
    for name in engines:
        if quantized is not None and not _WRITERS[name].integers:
            raise UserError("this engine gets modules in float alone", where="engines", found=name, fix="leave it or quantize out")
    flat = Flat(module, example, rounded=quantized is not None)
    _check_batch(flat, batch)
    made = {}
    with (progress or Silent()).track("export", len(engines)) as bar:
        for name in dict.fromkeys(engines):
            made[name] = _exported(flat, name, with_home(out) / name, batch, steps, module)
            bar.advance(note=name)
    return made


def _exported(flat: Flat, name: str, directory: Path, batch: bool, steps: Sequence[Mapping[str, Any]], module: nn.Module) -> ExportedModule:
    with replacing_folder(directory, artefact_files) as partial:
        built = _WRITERS[name].write(flat, batch, partial)
        manifest = {
            "schema": SCHEMA,
            "engine": name,
            "batch": batch,
            "quantisation": _quantized(steps),
            **flat.ports(batch),
            "steps": list(steps),
            "parameters": count_parameters(module),
            "versions": _versions(engine(name).packages[:1]),
            **built,
        }
        finish(partial, manifest)
        manifest["parity"] = check_parity(flat, batch, partial)
        finish(partial, manifest)
    return ExportedModule(directory, name, folder_bytes(directory), manifest["parity"])


def _quantized(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what a manifest says of the int8 step, or None where there was none."""
    settings = [step[Quantize.name] for step in steps if Quantize.name in step]
    return {"scheme": settings[-1]["scheme"], "weight_bits": settings[-1]["bits"]} if settings else None


def _check_batch(flat: Flat, batch: bool) -> None:
    """Refuse a batch whose rows cannot be told."""
    sizes = {name: tuple(tensor.shape[:1]) for name, tensor in {**flat.inputs.named, **flat.outputs}.items()}
    if batch and (len(set(sizes.values())) > 1 or () in sizes.values()):
        found = ", ".join(f"{name} {size[0] if size else 'a single value'}" for name, size in sizes.items())
        raise UserError(
            "the first axes of inputs and outputs differ: they are no batch",
            where="example",
            found=found,
            expected="the same number of rows",
            fix="export with batch=False, for the sizes of the example",
        )


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "?"
    return found
