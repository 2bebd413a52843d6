"""Checkpoint -> Artefact: a folder that an engine runs without PyTorch, called done only once its predictions
were compared.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imbik.data.carving.apart import as_read
from imbik.errors import UserError
from imbik.export.accuracy import AccuracyFloor, Trial, restore_accuracy
from imbik.export.builders.builder import EngineBuilder
from imbik.export.builders.registry import builder, refusal
from imbik.export.folder import finish, folder_bytes, write_tokenizer
from imbik.export.parity import LEAST_AGREEMENT, TOLERANCE, Gate, ParityError, side_by_side
from imbik.export.readme import readme
from imbik.export.request import BuildRequest, quantize_step
from imbik.images.processor import ImageProcessor
from imbik.images.settings import PROCESSOR_FILE
from imbik.jobs.files import remove_folder, replacing_folder
from imbik.jobs.paths import with_home
from imbik.jobs.progress import Progress, Silent
from imbik.locale.notes import document
from imbik.methods.quantize import Quantize
from imbik.models.facts import facts, manifest_of
from imbik.models.layers.clustered import expanded
from imbik.models.tokenizers import tokenizer_of
from imbik.quantization.ranges import set_ranges
from imbik.runtime.manifest import BATCH_TOKENS, artefact_files, read_artefact
from imbik.runtime.predictor import load_artefact
from imbik.runtime.processors import int8_preset
from imbik.types import Artefact, Checkpoint, Examples, Note, Step

__all__ = ["PARITY_TEXTS", "ParityError", "export", "quantized", "settled"]

PARITY_TEXTS = 200


def export(
    checkpoint: Checkpoint,
    engine_name: str,
    directory: Path,
    *,
    texts: Examples | Sequence[str] | None = None,
    calibration: Examples | None = None,
    preset: Mapping[str, Any] | None = None,
    limit: AccuracyFloor | None = None,
    least: float | None = LEAST_AGREEMENT,
    progress: Progress | None = None,
) -> Artefact:
    """Write an artefact folder: the engine's files, ``tokenizer.json`` (for NumPy packed), ``manifest.json`` and a README with
    code that runs it.

    The folder appears under its name only when it is complete. An artefact that stood there is replaced; anything else that lies
    there stays, and is refused before any work.

    Args:
        checkpoint: the model; a last step ``quantize`` lowers it. It comes back as it was.
        engine_name: a name of :func:`imbik.export.builders.builders`.
        directory: the artefact folder.
        texts: real texts (or images) for the parity gate (the first 200 count); None: the gate compares a few sentences
            of our own.
        calibration: texts of the task, neither of dev nor of test, for an engine that observes activations
            itself.
        preset: how int8 weights are stored, see :func:`imbik.runtime.processors.int8_preset`; None: for this
            processor.
        limit: what a quantized model must keep; operators are put back to float until it does
            (:mod:`imbik.export.accuracy`). None: nothing is put back.
        least: share of labels that a quantized model must answer as the checkpoint does; None: whatever it keeps, for one whose quality
            is measured.
        progress: where the work is shown.

    Raises:
        UserError: unknown engine, an architecture or quantization scheme that the engine cannot take, or a folder that holds other
            files.
        ParityError: a float artefact's predictions differ from the checkpoint's, or a quantized one has collapsed.
    """
    made_by = builder(engine_name)
    reason = refusal(engine_name, checkpoint.steps, str(checkpoint.model.config.model_type), task=checkpoint.task)
    if reason:
        raise UserError(reason, where=f"the engine {engine_name}", fix="choose another engine or another recipe")
    request = BuildRequest(preset or int8_preset(), settled(checkpoint.steps), calibration)
    writer = _Writer(checkpoint, made_by)
    gate = Gate.of(checkpoint, writer.tokenizer, writer.common, *_probe(texts, checkpoint))
    progress = progress or Silent()
    directory = with_home(directory)
    with replacing_folder(directory, artefact_files) as partial, progress.track(f"export to {engine_name}", 3) as bar:
        manifest = writer.write(partial, request)
        bar.advance(note="parity")
        found = {} if request.quantize is None else _against_float(writer, partial, request, gate, limit, progress)
        if found.get("reverted"):
            remove_folder(partial, artefact_files(partial))
            manifest = writer.write(partial, replace(request, reverted=frozenset(found["reverted"])))
        bar.advance()
        manifest["parity"] = gate.check(partial, least) | found
        manifest["notes"] = [*manifest["notes"], *map(document, _beside_others(manifest["parity"]))]
        (partial / "README.md").write_text(readme(manifest, paired=gate.pairs is not None), encoding="utf-8")
        finish(partial, manifest)
        bar.advance()
    return read_artefact(directory)


class _Writer:
    """Writes folders of one checkpoint that can be loaded; what does not depend on the request is computed once."""

    def __init__(self, checkpoint: Checkpoint, made_by: EngineBuilder) -> None:
        self.made_by = made_by
        self._plain = replace(checkpoint, model=expanded(checkpoint.model))
        self.common: dict[str, Any] = {"schema": 1, "engine": made_by.engine} | facts(checkpoint.model) | manifest_of(checkpoint)
        self.tokenizer = tokenizer_of(checkpoint)
        self.operators: list[str] = []

    def write(self, directory: Path, request: BuildRequest) -> dict[str, Any]:
        """The manifest of what was written, without sizes and digests."""
        directory.mkdir(parents=True, exist_ok=True)
        built = dict(self.made_by.build(self._plain, directory, request))
        self.operators = list(built.pop("operators", ()))
        name = PROCESSOR_FILE if isinstance(self.tokenizer, ImageProcessor) else self.made_by.tokenizer
        manifest = self.common | built | {"batch_tokens": BATCH_TOKENS, "cpu": dict(request.preset), "tokenizer": name}
        write_tokenizer(self.tokenizer, directory / name, int(manifest["max_length"]), str(manifest["truncation_side"]))
        finish(directory, manifest)
        return manifest


def _against_float(
    writer: _Writer,
    directory: Path,
    request: BuildRequest,
    gate: Gate,
    limit: AccuracyFloor | None,
    progress: Progress,
) -> dict[str, Any]:
    """``float_parent``: speed beside the model before quantization; ``limit`` and ``reverted`` where a limit was given.

    Raises:
        ParityError: the float artefact differs from the checkpoint.
    """
    with tempfile.TemporaryDirectory(prefix="imbik-") as folder:
        writer.write(Path(folder) / "float", replace(request, quantize=None))
        gate.check(Path(folder) / "float")
        floats, model = load_artefact(Path(folder) / "float"), load_artefact(directory)
        found: dict[str, Any] = {}
        if limit is not None:

            def build(reverted: frozenset[str]) -> Trial:
                trial = Path(folder) / "trial"
                shutil.rmtree(trial, ignore_errors=True)
                writer.write(trial, replace(request, reverted=reverted))
                return Trial(load_artefact(trial), folder_bytes(trial))

            plain = Trial(model, folder_bytes(directory))
            kept = restore_accuracy(limit, floats, lambda reverted: build(reverted) if reverted else plain, writer.operators, progress)
            found = {"reverted": list(kept.reverted), "limit": kept.record}
            model = build(frozenset(kept.reverted)).model if kept.reverted else model
        return found | {"float_parent": side_by_side(floats, model, gate.texts, gate.pairs)}


def quantized(checkpoint: Checkpoint, settings: Mapping[str, Any], calibration: Examples | None, progress: Progress) -> Checkpoint:
    """A float checkpoint with a ``quantize`` step that needs no training, for one that was made elsewhere.

    Args:
        checkpoint: the model; ranges are written into its config.
        settings: of :class:`imbik.methods.quantize.Quantize`.
        calibration: texts of the task, for a scheme that observes activations.

    Raises:
        UserError: the checkpoint is quantized already, the scheme trains, or it needs texts and there are none.
    """
    made = Quantize.of(dict(settings), "--quantize")
    if quantize_step(checkpoint.steps) is not None:
        raise UserError("the checkpoint is quantized already", where="--quantize", found=dict(quantize_step(checkpoint.steps) or {}))
    if made.scheme == "qat":
        raise UserError(
            "quantization-aware training needs data",
            where="--quantize",
            fix="use imbik compress --recipe int8-qat, which has the teacher and the labels",
        )
    if not made.lowered and calibration is None:
        raise UserError(f"the scheme '{made.scheme}' observes texts", where="--quantize", fix="name texts of the task with --data")
    ranges = made.observe(checkpoint, calibration, 0, progress) if calibration is not None else {}
    set_ranges(checkpoint.model, ranges)
    return replace(checkpoint, steps=(*checkpoint.steps, made.record()))


def settled(steps: Sequence[Step]) -> dict[str, Any] | None:
    """The settings of the ``quantize`` step that ends a recipe, defaults written out; None for a float model.

    Raises:
        UserError: settings that the method refuses.
    """
    settings = quantize_step(steps)
    if settings is None:
        return None
    return Quantize.of(dict(settings), "the checkpoint's steps").settings


_SENTENCES = (
    "Where is my card?",
    "",
    "The transfer has not arrived yet and I am getting rather worried about it, could you please look into this for me?",
    "great film",
    "42",
)


def _beside_others(parity: Mapping[str, Any]) -> tuple[Note, ...]:
    """Return what a reader must know where an answer depends on the batch that a text is in."""
    if "alone" not in parity:
        return ()
    alone = parity["alone"]
    if alone["max_abs_relative"] <= TOLERANCE and alone["agreement"] in (None, 1.0):
        return ()
    if alone["agreement"] is None:
        return (Note.of("batch_values", texts=alone["texts"], gap=alone["max_abs"]),)
    return (Note.of("batch", texts=alone["texts"], gap=alone["max_abs"], same=alone["agreement"]),)


def _pictures() -> list[Any]:
    """Images of our own: noise and ramps of several sizes, which say nothing of a task and let two computations differ."""
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (side, side + 8, 3)).astype(np.uint8) for side in (24, 32, 48, 64)]
    return [*noise, *(np.linspace(0, 255, one.size).reshape(one.shape).astype(np.uint8) for one in noise)]


def _probe(texts: Examples | Sequence[Any] | None, checkpoint: Checkpoint) -> tuple[list[Any], list[Any] | None]:
    """The texts and pairs that the gate compares on; plain texts are paired with one another where the model answers pairs."""
    if isinstance(texts, Examples):
        texts = as_read(texts, checkpoint.task)
        pairs = texts.pairs
        return list(texts.texts[:PARITY_TEXTS]), None if pairs is None else list(pairs[:PARITY_TEXTS])
    if isinstance(checkpoint.tokenizer, ImageProcessor):
        return list(texts[:PARITY_TEXTS]) if texts else _pictures(), None
    chosen = list(texts[:PARITY_TEXTS] if texts else _SENTENCES)
    return chosen, chosen[::-1] if checkpoint.pairs else None
