"""Artefact -> predictions, without PyTorch: a folder is opened as what answers its task's rows, texts or images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imbik.data.batches import token_batches
from imbik.errors import UserError
from imbik.images.processor import ImageProcessor
from imbik.jobs.paths import with_home
from imbik.machine import physical_cores
from imbik.runtime.engines.engine import CompositeEngine, Session, SessionEngine
from imbik.runtime.engines.registry import BASELINE, engine, engines
from imbik.runtime.given import check_settings
from imbik.runtime.images import ImagePredictor
from imbik.runtime.manifest import MANIFEST_FILE, read_artefact, read_manifest, verify
from imbik.runtime.sending import sendable
from imbik.runtime.text_predictor import CHUNK, Predictor
from imbik.tasks.registry import task_of

__all__ = ["CHUNK", "Predictor", "load_artefact", "predictor_of", "read_artefact", "token_batches", "verify"]


@sendable
def load_artefact(
    path: str | Path,
    *,
    threads: int | None = None,
    batch_tokens: int | None = None,
    length_multiple: int | None = None,
    engine_name: str | None = None,
) -> Predictor:
    """Open an artefact folder, or a plain transformers checkpoint folder (which needs ``imbik[compress]``).

    Args:
        path: the folder.
        threads: compute threads; None: the physical cores.
        batch_tokens: tokens of a batch, padding included; None: what the artefact was made for.
        length_multiple: lengths are padded to a multiple of this; None: what the artefact was made for.
        engine_name: of a checkpoint folder ``pytorch`` or ``pytorch-cuda``; None: the artefact's own, or ``pytorch``.

    Raises:
        UserError: the folder is not an artefact, is incomplete, was written by another schema, or is not for the engine that is named;
            ``pytorch-cuda`` without a GPU.
        MissingExtra: its engine is not installed.
    """
    directory = with_home(path)
    if not (directory / MANIFEST_FILE).is_file() and (directory / "config.json").is_file():
        fitting = [known.name for known in engines().values() if known.runs_checkpoints]
        name, where = engine_name or BASELINE, directory
    else:
        manifest = read_manifest(directory)
        fitting = [manifest["engine"]]
        name, where = engine_name or manifest["engine"], directory / MANIFEST_FILE
    if name not in fitting:
        raise UserError("the folder is not for this engine", where=directory, found=name, expected=" or ".join(fitting))
    check_settings(threads=threads, batch_tokens=batch_tokens, length_multiple=length_multiple)
    threads = threads or physical_cores()
    made_for = engine(name, where=where)
    if isinstance(made_for, CompositeEngine):
        composed: Predictor = made_for.predictor(directory, threads=threads, batch_tokens=batch_tokens)
        return composed
    assert isinstance(made_for, SessionEngine)
    opened = made_for.open(directory, threads)
    task_of(opened.manifest["task"], where=where)  # refuses one that is not registered here
    settings = {"threads": threads, "batch_tokens": batch_tokens, "length_multiple": length_multiple}
    return predictor_of(opened.manifest, opened.tokenizer, opened.session, **settings)


def predictor_of(manifest: Mapping[str, Any], reader: Any, session: Session, **settings: Any) -> Predictor:
    """Return the predictor of a model: of texts, or of images where ``reader`` prepares those."""
    made = ImagePredictor if isinstance(reader, ImageProcessor) else Predictor
    return made(manifest, reader, session, **settings)
