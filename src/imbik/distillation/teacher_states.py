"""The teacher's intermediate states of a batch: computed again, or read from a file that the teacher filled once."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.data.batches import sorted_batches
from imbik.jobs.progress import Progress
from imbik.models.anatomy import listen
from imbik.models.hooks import Tap, capture, evaluating
from imbik.training.encoding import Encoded
from imbik.training.precision import precision
from imbik.training.prediction import Batch, model_inputs, to_batch

STORE_LIMIT = 4 << 30
"""Bytes of disk that stored states may take; above it the teacher runs again in every step."""


class LiveTeacher:
    """Runs the teacher on every batch.

    Args:
        model: not changed; on another device a copy of it runs.
        reader: see :func:`imbik.models.anatomy.listen`.
        names: the states that are asked for.
        data: the same rows as the student's in the teacher's own token ids; None where both have one tokenizer.
        call: runs a network on a batch; default: a transformers model on its inputs.
    """

    def __init__(self, model: nn.Module, reader: Any, names: Iterable[str], data: Encoded | None = None, call: Any = None) -> None:
        self.model, self.reader, self.names, self.data = model, reader, tuple(dict.fromkeys(names)), data
        self.call = call or run_model

    @torch.no_grad()
    def states(self, batch: Any) -> Mapping[str, Tensor]:
        """The states of a batch, by name."""
        if self.data is not None:
            batch = to_batch(self.data, batch["rows"].numpy(), batch["input_ids"].device)
        self._move_to(batch)
        with evaluating(self.model), listen(self.model, self.reader, self.names) as states:
            self.call(self.model, batch)
        return {name: states[name] for name in self.names}

    def _move_to(self, batch: Any) -> None:
        tensor, weight = next(tensors_in(batch), None), next(self.model.parameters(), None)
        if tensor is not None and weight is not None and tensor.device != weight.device:
            # a copy: the teacher belongs to the caller, who goes on using it where it was
            self.model = copy.deepcopy(self.model).to(tensor.device)


class StoredTeacher:
    """Reads states from a memory-mapped float16 file, one row of numbers per token, that :meth:`fill` writes once.

    Args:
        model, reader, names: as :class:`LiveTeacher`; every state must be ``(B, T, H)`` or follow from such.
        data: the rows in the teacher's token ids.
        file: where they are kept; a finished file of an earlier run is used as it is.
    """

    def __init__(self, model: nn.Module, reader: Any, names: Iterable[str], data: Encoded, file: Path) -> None:
        self.model, self.reader, self.names, self.data, self.file = model, reader, tuple(dict.fromkeys(names)), data, file
        # taps give a row per token; attention scores, T numbers for each of them and each head, are
        # computed from queries and keys when they are asked for
        self.taps = list(dict.fromkeys(tap for name in self.names for tap in reader.taps(name)))
        self.widths = [tensor.shape[-1] for tensor in self._run(np.arange(1)).values()]

    def bytes(self) -> int:
        """What the file takes on disk."""
        rows, width = self._shape()
        return 2 * rows * width

    def fill(self, progress: Progress) -> None:
        """Run the teacher once over all rows, longest first."""
        if self.file.is_file():
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_suffix(".tmp")
        # float16 halves the file; its rounding, 1 in 2,000, is far below a student's distance
        store = np.memmap(temporary, dtype=np.float16, mode="w+", shape=self._shape())
        with progress.track("teacher's inner states", len(self.data)) as bar, precision(next(self.model.parameters()).device):
            for rows in sorted_batches(self.data.lengths, 4096):
                where, mask = self._where(rows)
                values = torch.cat([tensor.float() for tensor in self._run(rows).values()], dim=-1)
                store[where[mask]] = values.cpu().numpy()[mask].astype(np.float16)
                bar.advance(len(rows))
        store.flush()
        # a mapped file cannot be renamed on Windows; the final name says that the file is complete
        del store
        temporary.replace(self.file)

    def states(self, batch: Batch) -> Mapping[str, Tensor]:
        """The states of a batch, by name; zero at padding."""
        where, mask = self._where(batch["rows"].numpy())
        store = np.memmap(self.file, dtype=np.float16, mode="r", shape=self._shape())
        flat = torch.from_numpy(store[where[mask]]).to(batch["input_ids"].device)
        padded = torch.zeros((*mask.shape, flat.shape[-1]), dtype=flat.dtype, device=flat.device)
        padded[torch.from_numpy(mask).to(flat.device)] = flat
        # (B, T, sum of widths) cut into the taps' own (B, T, H)
        captured = dict(zip(self.taps, padded.float().split(self.widths, dim=-1), strict=True))
        return {name: self.reader.read(name, captured) for name in self.names}

    def _shape(self) -> tuple[int, int]:
        return int(self.data.offsets[-1]), sum(self.widths)

    def _where(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Position in the file of every token of some rows, ``(B, T)``, and which of them are real."""
        lengths = self.data.offsets[rows + 1] - self.data.offsets[rows]
        steps = np.arange(int(lengths.max()))[None, :]
        return self.data.offsets[rows][:, None] + steps, steps < lengths[:, None]

    @torch.no_grad()
    def _run(self, rows: NDArray[np.int64]) -> dict[Tap, Tensor]:
        with evaluating(self.model), capture(self.model, self.taps) as captured:
            run_model(self.model, to_batch(self.data, rows, next(self.model.parameters()).device))
        return {tap: captured[tap] for tap in self.taps}


def run_model(model: nn.Module, batch: Batch) -> Any:
    """A transformers model on a batch of the training loop."""
    return model(**model_inputs(batch))


def tensors_in(batch: Any) -> Any:
    """Every tensor of a batch that may be a tensor, a mapping or a sequence."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping | tuple | list):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from tensors_in(part)
