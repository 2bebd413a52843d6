"""Checkpoint -> Artefact: a folder that an engine runs without PyTorch, called done only once its predictions
were compared.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imbik.artefact_readme import readme
from imbik.clustered import expanded
from imbik.engines import ENGINES, BuildRequest, engine, quantise_step, refusal
from imbik.engines.pytorch import TorchSession, facts, manifest_of, tokenizer_of
from imbik.environment import int8_preset
from imbik.errors import UserError
from imbik.manifest import BATCH_TOKENS, NAME, read_artefact, sha256
from imbik.methods import make_method, settings_of
from imbik.progress import Progress, Silent
from imbik.quality import agreement
from imbik.runtime import Predictor, load_artefact
from imbik.types import Artefact, Checkpoint, Examples, Step

PARITY_TEXTS = 200
TOLERANCE = 1e-3
"""Largest difference of logits, relative to the largest logit, that a float artefact may have from PyTorch."""


class ParityError(Exception):
    """A float artefact does not compute what its checkpoint computes."""


def export(
    checkpoint: Checkpoint,
    engine_name: str,
    directory: Path,
    *,
    texts: Examples | Sequence[str] | None = None,
    calibration: Examples | None = None,
    preset: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Artefact:
    """Write an artefact folder: the engine's files, ``tokenizer.json``, ``manifest.json`` and a README with
    code that runs it.

    The folder appears under its name only when it is complete; one that stood there is replaced.

    Args:
        checkpoint: the model; a last step ``quantize`` lowers it. It comes back as it was.
        engine_name: a name of :data:`imbik.engines.ENGINES`.
        directory: the artefact folder.
        texts: real texts for the parity gate (the first 200 count); None: the gate compares a few sentences
            of our own.
        calibration: texts of the task, neither of dev nor of test, for an engine that observes activations
            itself.
        preset: how int8 weights are stored, see :func:`imbik.environment.int8_preset`; None: for this
            processor.
        progress: where the work is shown.

    Raises:
        UserError: unknown engine, or an architecture or quantisation scheme that the engine cannot take.
        ParityError: a float artefact's predictions differ from the checkpoint's.
    """
    check_engine(engine_name)
    reason = refusal(engine_name, checkpoint.steps)
    if reason:
        raise UserError(reason, where=f"the engine {engine_name}", fix="choose another engine or another recipe")
    module = engine(engine_name)
    _refuse_foreign(directory)
    partial = directory.with_name(f".{directory.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    preset, probe = preset or int8_preset(), _probe(texts)
    request = BuildRequest(preset, settled(checkpoint.steps), calibration)
    try:
        with (progress or Silent()).track(f"export to {engine_name}", 3) as bar:
            built = module.build(replace(checkpoint, model=expanded(checkpoint.model)), partial, request)
            bar.advance(note="parity")
            manifest = _manifest(checkpoint, engine_name, built, preset)
            _write_tokenizer(checkpoint, partial, int(manifest["max_length"]), str(manifest["truncation_side"]))
            _write_json(partial / NAME, manifest | {"files": {}})
            bar.advance()
            manifest["parity"] = parity(checkpoint, partial, *probe)
            (partial / "README.md").write_text(readme(manifest, paired=probe[1] is not None), encoding="utf-8")
            _finish(partial, manifest)
            _replace(partial, directory)
            bar.advance()
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return read_artefact(directory)


def settled(steps: Sequence[Step]) -> dict[str, Any] | None:
    """The settings of the ``quantize`` step that ends a recipe, defaults written out; None for a float model.

    Raises:
        UserError: settings that the method refuses.
    """
    settings = quantise_step(steps)
    if settings is None:
        return None
    made = make_method({"quantize": settings}, "the checkpoint's steps")
    return settings_of(made)


def check_engine(name: str) -> None:
    """Refuse an engine that no artefacts are made for.

    Raises:
        UserError: with the names that there are.
    """
    if name not in ENGINES or not ENGINES[name].builds:
        known = ", ".join(known for known, entry in ENGINES.items() if entry.builds)
        raise UserError("no artefacts are made for this engine", where="--engine", found=name, expected=known)


def _manifest(checkpoint: Checkpoint, engine_name: str, built: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    common = manifest_of(checkpoint) | facts(checkpoint.model)
    return {"schema": 1, "engine": engine_name} | common | dict(built) | {"batch_tokens": BATCH_TOKENS, "cpu": dict(preset)}


def _write_tokenizer(checkpoint: Checkpoint, directory: Path, max_length: int, side: str) -> None:
    tokenizer = tokenizer_of(checkpoint)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, direction=side)
    # Written without indentation, which makes the file a third smaller.
    (directory / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")


def _finish(directory: Path, manifest: dict[str, Any]) -> None:
    names = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file() and path.name != NAME)
    manifest["files"] = {name: {"bytes": (directory / name).stat().st_size, "sha256": sha256(directory / name)} for name in names}
    _write_json(directory / NAME, manifest)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def _refuse_foreign(directory: Path) -> None:
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


def _replace(partial: Path, directory: Path) -> None:
    """Give the finished folder its name; what stood there goes away only then."""
    old = directory.with_name(f".{directory.name}.old-{os.getpid()}")
    if directory.exists():
        directory.rename(old)
    partial.rename(directory)
    shutil.rmtree(old, ignore_errors=True)


def parity(checkpoint: Checkpoint, directory: Path, texts: Sequence[str], pairs: Sequence[str] | None = None) -> dict[str, Any]:
    """Compare an artefact with its checkpoint on texts.

    Returns:
        ``max_abs`` (largest difference of logits), ``max_abs_relative`` (to the largest logit), ``agreement``
        (share of equal labels; None for regression), ``texts``, ``int8_ops``, ``float_matmuls`` (products
        with a weight left in float) and ``reverted`` (operators put back to float, none here).

    Raises:
        ParityError: the artefact is a float one and differs.
    """
    artefact = load_artefact(directory)
    manifest = artefact.manifest
    training = checkpoint.model.training
    session = TorchSession(checkpoint.model.eval(), manifest["inputs"])
    reference = Predictor(manifest, tokenizer_of(checkpoint), session).scores(texts, pairs)
    checkpoint.model.train(training)
    found = artefact.scores(texts, pairs)
    worst = float(np.abs(found - reference).max())
    relative = worst / max(float(np.abs(reference).max()), 1e-6)
    same = agreement(manifest["task"], found, reference)
    quantised = bool(manifest.get("quantisation"))
    if not quantised and (not np.isfinite(worst) or relative > TOLERANCE or (same is not None and same < 0.999 and relative > 1e-5)):
        raise ParityError(
            f"{manifest['engine']}: logits differ from PyTorch's by up to {worst:.2e} ({relative:.1e} of the largest), "
            f"equal labels on {same if same is not None else 1:.1%} of {len(texts)} texts"
        )
    graph = manifest.get("graph") or {}
    return {
        "max_abs": worst,
        "max_abs_relative": relative,
        "agreement": same,
        "texts": len(texts),
        "int8_ops": graph.get("int8_ops", 0),
        "float_matmuls": graph.get("float_matmuls", 0),
        "reverted": [],
    }


_SENTENCES = (
    "Where is my card?",
    "",
    "The transfer has not arrived yet and I am getting rather worried about it, could you please look into this for me?",
    "great film",
    "42",
)


def _probe(texts: Examples | Sequence[str] | None) -> tuple[list[str], list[str] | None]:
    """The texts and pairs that the gate compares on."""
    if isinstance(texts, Examples):
        pairs = texts.pairs
        return list(texts.texts[:PARITY_TEXTS]), None if pairs is None else list(pairs[:PARITY_TEXTS])
    return (list(texts[:PARITY_TEXTS]) if texts else list(_SENTENCES)), None
