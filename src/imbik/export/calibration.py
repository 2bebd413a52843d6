"""Texts that a quantizer observes activations on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.export.request import BuildRequest
from imbik.training.encoding import encode_for
from imbik.types import Checkpoint


def calibration_feeds(
    checkpoint: Checkpoint, names: Sequence[str], request: BuildRequest, engine: str, shortest: int = 1
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the inputs of calibration texts, one text at a time, ``(1, T)`` each.

    Args:
        checkpoint: whose tokenizer is used.
        names: the model's inputs, in their order.
        request: its ``calibration`` texts, of which ``quantize["samples"]`` are drawn with a fixed seed.
        engine: who asks, for the message.
        shortest: texts of fewer tokens are left out.

    Raises:
        UserError: nobody gave texts.
    """
    if request.calibration is None or request.quantize is None:
        raise UserError(
            "static quantization needs rows of the task to observe activations on",
            where=engine,
            fix="name the task's training data with --data",
        )
    encoded = encode_for(checkpoint.task, request.calibration, checkpoint.tokenizer)
    rows = np.random.default_rng(0).permutation(len(encoded))
    rows = rows[encoded.lengths[rows] >= shortest][: int(request.quantize["samples"])]
    for row in rows:
        batch = encoded.batch(row[None])
        yield {name: batch[name] for name in names}
