"""The parity gate: what an artefact computes against its checkpoint, and a quantized one against its float parent."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from imbik.models.hooks import evaluating
from imbik.runtime.engines.pytorch import TorchSession
from imbik.runtime.predictor import Predictor, load_artefact
from imbik.tasks.outputs import Outputs, numbers_of
from imbik.tasks.retention import agreement
from imbik.types import Checkpoint

TOLERANCE = 1e-3
"""Largest difference of logits, relative to the largest logit, that a float artefact may have from PyTorch."""

TOLERANCE_BF16 = 5e-2
"""The same for one that computes in bfloat16, whose numbers have eight significant bits."""

_ROUNDS, _REQUESTS, _SECONDS = 3, 32, 4.0


class ParityError(Exception):
    """A float artefact does not compute what its checkpoint computes."""


@dataclass(frozen=True)
class Gate:
    """What every artefact of one checkpoint must pass: its answers beside what PyTorch computes.

    Attributes:
        texts, pairs: what is asked.
        reference: the checkpoint's outputs on them, computed once.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None
    reference: Outputs

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        tokenizer: Tokenizer,
        manifest: Mapping[str, Any],
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
    ) -> Gate:
        """Return the gate of a checkpoint.

        Args:
            checkpoint: it comes back as it was.
            tokenizer: the checkpoint's; it comes back as it was, too.
            manifest: the fields that do not depend on an engine (:func:`imbik.models.facts.manifest_of`), and an engine's name.
            texts, pairs: what is asked.
        """
        with evaluating(checkpoint.model):
            session = TorchSession(checkpoint.model, manifest["inputs"], task=checkpoint.task)
            return cls(texts, pairs, Predictor(manifest, Tokenizer.from_str(tokenizer.to_str()), session).scores(texts, pairs))

    def check(self, directory: Path) -> dict[str, Any]:
        """Compare an artefact with its checkpoint.

        Returns:
            ``max_abs`` (largest difference of logits), ``max_abs_relative`` (to the largest logit), ``agreement`` (share of equal labels;
            None for regression), ``texts``, ``int8_ops``, ``float_matmuls`` (products with a weight left in float) and ``reverted``
            (operators put back to float).

        Raises:
            ParityError: the artefact is a float one and differs (by more than bfloat16 explains, where it computes in that).
        """
        artefact = load_artefact(directory)
        manifest = artefact.manifest
        found = artefact.scores(self.texts, self.pairs)
        worst = float(np.abs(numbers_of(found) - numbers_of(self.reference)).max())
        relative = worst / max(float(np.abs(numbers_of(self.reference)).max()), 1e-6)
        same = agreement(manifest["task"], found, self.reference)
        quantized = bool(manifest["quantisation"])
        low = manifest["precision"] == "bf16"
        wrong = not np.isfinite(worst) or relative > (TOLERANCE_BF16 if low else TOLERANCE)
        differs = same is not None and same < (0.97 if low else 0.999) and relative > 1e-5
        if not quantized and (wrong or differs):
            raise ParityError(
                f"{manifest['engine']}: logits differ from PyTorch's by up to {worst:.2e} ({relative:.1e} of the largest), "
                f"equal labels on {same if same is not None else 1:.1%} of {len(self.texts)} texts"
            )
        graph = manifest["graph"]
        return {
            "max_abs": worst,
            "max_abs_relative": relative,
            "agreement": same,
            "texts": len(self.texts),
            "int8_ops": graph["int8_ops"],
            "float_matmuls": graph["float_matmuls"],
            "reverted": [],
        }


def side_by_side(floats: Predictor, quantized: Predictor, texts: Sequence[str], pairs: Sequence[str] | None) -> dict[str, Any]:
    """Both models in turn on the same texts: is the quantized one faster on this machine?

    Returns:
        ``float_p50_ms`` and ``p50_ms`` of single requests, ``float_items_per_s`` and ``items_per_s`` of all texts in batches, and
        ``slower``: whether single requests became slower.
    """
    models = {"float_": floats, "": quantized}
    single: dict[str, list[float]] = {name: [] for name in models}
    rates: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        model.scores(texts, pairs)  # buffers of every shape are allocated here, not in the timing
    end = time.perf_counter() + _SECONDS
    for number in range(_ROUNDS):
        for name, model in list(models.items())[:: 1 if number % 2 else -1]:
            for row in range(min(_REQUESTS, len(texts))):
                began = time.perf_counter()
                model.scores(texts[row : row + 1], None if pairs is None else pairs[row : row + 1])
                single[name].append(1000 * (time.perf_counter() - began))
            began = time.perf_counter()
            model.scores(texts, pairs)
            rates[name].append(len(texts) / (time.perf_counter() - began))
        if time.perf_counter() > end:
            break
    found: dict[str, Any] = {f"{name}p50_ms": statistics.median(values) for name, values in single.items()}
    found |= {f"{name}items_per_s": statistics.median(values) for name, values in rates.items()}
    return found | {"slower": found["p50_ms"] > found["float_p50_ms"]}
