"""NumPy alone: runs ``model.npz``, the tables of a student without layers or of a linear model. It is part of the thin install."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imbik.errors import UserError
from imbik.runtime.arrays.model import ArrayModel
from imbik.runtime.engines.engine import ArtefactEngine, Ids, Opened, Session
from imbik.runtime.engines.registry import register_engine
from imbik.runtime.tokenizer_files import fits, size_of
from imbik.tasks.outputs import Outputs


class ArraySession(Session):
    """A model of arrays, see :mod:`imbik.runtime.arrays`."""

    # no mask: what fills a short row is the padding id, which these models know
    names = ("input_ids",)

    def __init__(self, model: ArrayModel) -> None:
        self.model = model

    def run_one(self, ids: list[int], types: list[int] | None) -> Outputs:
        """Return logits ``(1, L)``: a single request is too short for a detour by arrays that the model does not need."""
        # a view: the row is in memory of its own
        return self.model.one(ids)[None]

    def compute(self, feed: Mapping[str, Ids]) -> Outputs:
        """Return logits ``(B, L)``."""
        return self.model.logits(feed["input_ids"])


@register_engine
class NumPy(ArtefactEngine):
    """NumPy; its threads are those of the BLAS that it was built with."""

    name = "numpy"
    title = "NumPy"
    packages = ("numpy",)
    order = 20

    def open(self, directory: Path, threads: int) -> Opened:
        """Open an artefact folder; see :meth:`SessionEngine.open`.

        Raises:
            UserError: also where the tokenizer gives ids that the model has no row for.
        """
        opened = super().open(directory, threads)
        assert isinstance(opened.session, ArraySession)
        rows = opened.session.model.rows
        if not fits(opened.tokenizer, rows):
            raise UserError(
                "the model and its tokenizer do not belong together",
                where=directory / opened.manifest["model"],
                found=f"{rows} rows",
                expected=f"one for each of {size_of(opened.tokenizer)} ids of {opened.manifest['tokenizer']}",
                fix="copy the folder again, or make the model again",
            )
        return opened

    def load(self, path: Path, manifest: Mapping[str, Any], threads: int) -> ArraySession:
        """Load ``model.npz``."""
        from imbik.runtime.arrays.file import read_arrays
        from imbik.runtime.arrays.model import model_of

        arrays = read_arrays(path)
        if int(arrays["padding"]) != int(manifest["padding"]["id"]):
            raise UserError(
                "the model and the manifest pad with different ids",
                where=path,
                found=int(arrays["padding"]),
                expected=manifest["padding"]["id"],
                fix="export the model again",
            )
        model = model_of(arrays)
        # one id: arrays that do not fit one another are seen here and not by whoever asks
        model.logits(np.full((1, 1), int(arrays["padding"]), np.int64))
        return ArraySession(model)
