"""The teacher's intermediate states of a batch: computed again, or read from a file.

The teacher fills the file once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.data.batches import sorted_batches
from imbik.jobs.progress import Progress
from imbik.models.anatomy import StateReader, listen
from imbik.models.hooks import Tap, capture, evaluating
from imbik.training.encoding import Encoded
from imbik.training.precision import precision
from imbik.training.prediction import Batch, model_inputs, to_batch

if TYPE_CHECKING:
    from transformers.utils import ModelOutput

Call = Callable[[nn.Module, Any], object]
"""Runs a network on a batch, whatever the loader gives."""

STORE_LIMIT = 4 << 30
"""Bytes of disk that stored states may take; above it the teacher runs again in every step."""


class LiveTeacher:
    """Teacher that runs on every batch.

    Args:
        model: not changed; on another device a copy of it runs.
        reader: see :func:`imbik.models.anatomy.listen`.
        names: the states that are asked for.
        data: the same rows as the student's in the teacher's own token ids; None where both have
            one tokenizer.
        call: runs a network on a batch; default: a transformers model on its inputs.
    """

    def __init__(
        self, model: nn.Module, reader: StateReader, names: Iterable[str], data: Encoded | None = None, call: Call | None = None
    ) -> None:
        self.model = model
        self.reader = reader
        self.names = tuple(dict.fromkeys(names))
        self.data = data
        self.call: Call = call or run_model

    @torch.no_grad()
    def states(self, batch: object) -> Mapping[str, Tensor]:
        """Return the states of a batch, by name."""
        if self.data is not None:
            rows = cast(Batch, batch)  # with data of its own, the teacher is asked by the training loop
            batch = to_batch(self.data, rows["rows"].numpy(), rows["input_ids"].device)
        self._move_to(batch)
        with evaluating(self.model), listen(self.model, self.reader, self.names) as states:
            self.call(self.model, batch)
        return {name: states[name] for name in self.names}

    def _move_to(self, batch: object) -> None:
        """Let a copy of the model run on the device of the batch, if that is another one."""
        tensor, weight = next(tensors_in(batch), None), next(self.model.parameters(), None)
        if tensor is not None and weight is not None and tensor.device != weight.device:
            # A copy, once: the caller's teacher stays where it is.
            self.model = copy.deepcopy(self.model).to(tensor.device)


class StoredTeacher:
    """Teacher whose states are read from a memory-mapped float16 file.

    One row of numbers per token; :meth:`fill` writes it once.

    Args:
        model, reader, names: as :class:`LiveTeacher`; every state must be ``(B, T, H)`` or follow
            from such.
        data: the rows in the teacher's token ids.
        file: where they are kept; a finished file of an earlier run is used as it is.
    """

    def __init__(self, model: nn.Module, reader: StateReader, names: Iterable[str], data: Encoded, file: Path) -> None:
        self.model = model
        self.reader = reader
        self.names = tuple(dict.fromkeys(names))
        self.data = data
        self.file = file
        self.taps = list(dict.fromkeys(tap for name in self.names for tap in reader.taps(name)))
        self.widths = [tensor.shape[-1] for tensor in self._run(np.arange(1)).values()]

    def bytes(self) -> int:
        """Return how much disk the file takes."""
        rows, width = self._shape()
        return 2 * rows * width

    def fill(self, progress: Progress) -> None:
        """Run the teacher once over all rows, longest first."""
        if self.file.is_file():
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        # A finished file has its name; what a killed run left has another.
        temporary = self.file.with_suffix(".tmp")
        # float16 halves the file; its rounding, 1 in 2,000, is far below a student's distance
        store = np.memmap(temporary, dtype=np.float16, mode="w+", shape=self._shape())
        with progress.track("teacher's inner states", len(self.data)) as bar, precision(next(self.model.parameters()).device):
            for rows in sorted_batches(self.data.lengths, 4096):
                where, mask = self._where(rows)
                # All states of a token side by side: (B, T, H1 + H2 + …).
                values = torch.cat([tensor.float() for tensor in self._run(rows).values()], dim=-1)
                store[where[mask]] = values.cpu().numpy()[mask].astype(np.float16)
                bar.advance(len(rows))
        store.flush()
        # a mapped file cannot be renamed on Windows; the final name says that the file is complete
        del store
        temporary.replace(self.file)

    def states(self, batch: object) -> Mapping[str, Tensor]:
        """Return the states of a batch, by name; zero at padding."""
        given = cast(Batch, batch)
        where, mask = self._where(given["rows"].numpy())
        store = np.memmap(self.file, dtype=np.float16, mode="r", shape=self._shape())
        flat = torch.from_numpy(store[where[mask]]).to(given["input_ids"].device)
        # (tokens, numbers) -> (B, T, numbers), zero at padding.
        padded = torch.zeros((*mask.shape, flat.shape[-1]), dtype=flat.dtype, device=flat.device)
        padded[torch.from_numpy(mask).to(flat.device)] = flat
        # (B, T, sum of widths) cut into the taps' own (B, T, H)
        captured = dict(zip(self.taps, padded.float().split(self.widths, dim=-1), strict=True))
        return {name: self.reader.read(name, captured) for name in self.names}

    def _shape(self) -> tuple[int, int]:
        """Return the shape of the file: tokens of all rows, numbers of all states."""
        return int(self.data.offsets[-1]), sum(self.widths)

    def _where(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the position in the file of every token of some rows, and which are real.

        Both are ``(B, T)``.
        """
        lengths = self.data.offsets[rows + 1] - self.data.offsets[rows]
        steps = np.arange(int(lengths.max()))[None, :]
        return self.data.offsets[rows][:, None] + steps, steps < lengths[:, None]

    @torch.no_grad()
    def _run(self, rows: NDArray[np.int64]) -> dict[Tap, Tensor]:
        """Run the teacher on some rows; return what each tap gave."""
        with evaluating(self.model), capture(self.model, self.taps) as captured:
            run_model(self.model, to_batch(self.data, rows, next(self.model.parameters()).device))
        return {tap: captured[tap] for tap in self.taps}


def run_model(model: nn.Module, batch: Batch) -> ModelOutput:
    """Run a transformers model on a batch of the training loop."""
    return model(**model_inputs(batch))


def tensors_in(batch: object) -> Iterator[Tensor]:
    """Iterate over the tensors of a batch: a tensor, a mapping or a sequence of such."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping | tuple | list):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from tensors_in(part)
