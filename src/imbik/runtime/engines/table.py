"""Linear models over n-grams: a table of weights, NumPy alone. It is part of the thin install."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.runtime.engines.engine import ArtefactEngine, Ids, Opened, Session
from imbik.runtime.engines.registry import register_engine
from imbik.runtime.manifest import read_manifest
from imbik.runtime.ngrams import NgramTokenizer
from imbik.tasks.outputs import Outputs

MODEL = "model.npz"


class TableSession(Session):
    """Sums of rows: logits = Σ w_i / √(Σ idf_i²) + b over the n-grams i of a text.

    Args:
        rows: integers ``(F, L)``, one row an n-gram.
        scale: ``(F,)``; ``rows * scale`` are the weights, each times its n-gram's inverse document frequency.
        idf: ``(F,)``.
        bias: ``(L,)``.
    """

    names = ("input_ids",)

    def __init__(self, rows: NDArray[np.int8], scale: NDArray[np.float32], idf: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        # Number 0 stands for no n-gram: it adds nothing to either sum.
        self._rows = np.concatenate([np.zeros((1, rows.shape[1]), np.float32), rows.astype(np.float32) * scale[:, None]])
        self._squares = np.concatenate([np.zeros(1, np.float32), idf.astype(np.float32) ** 2])
        self._bias = bias.astype(np.float32)

    def compute(self, feed: Mapping[str, Ids]) -> Outputs:
        """Return logits ``(B, L)`` of numbers of n-grams ``(B, T)``, filled up with 0."""
        ids = feed["input_ids"]
        norms = np.sqrt(self._squares[ids].sum(axis=1, keepdims=True))
        # A text without a known n-gram has norm 0 and sum 0: the bias alone answers.
        sums = self._rows[ids].sum(axis=1) / np.maximum(norms, np.float32(1e-12))
        return np.asarray(sums + self._bias, np.float32)


@register_engine
class Table(ArtefactEngine):
    """NumPy, and a dictionary of n-grams."""

    name = "table"
    title = "NumPy"
    packages = ("numpy",)
    order = 25
    runs_networks = False

    def open(self, directory: Path, threads: int) -> Opened:
        """Open an artefact folder, which has n-grams in the place of a tokenizer; see :meth:`Engine.open`."""
        manifest = read_manifest(directory)
        tokenizer = NgramTokenizer.read(directory / manifest["tokenizer"])
        path = directory / manifest["model"]
        session = self.session(path, manifest, threads)
        assert isinstance(session, TableSession)
        if len(session._squares) != len(tokenizer.ngrams) + 1:
            raise UserError(
                "the model and its n-grams do not belong together",
                where=path,
                found=f"{len(session._squares) - 1} rows",
                expected=f"{len(tokenizer.ngrams)} n-grams",
                fix="copy the folder again, or make the model again",
            )
        return Opened(manifest, tokenizer, session)

    def load(self, path: Path, manifest: Mapping[str, Any], threads: int) -> TableSession:
        """Load ``model.npz``."""
        with np.load(path, allow_pickle=False) as file:
            return TableSession(*(file[name] for name in ("rows", "scale", "idf", "bias")))
