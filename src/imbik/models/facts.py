"""Facts about a PyTorch model: family, shape, parameters, floating-point operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from imbik.images.processor import ImageProcessor
from imbik.locale.notes import document
from imbik.machine import versions
from imbik.models.blocks import blocks_of
from imbik.models.inputs import input_names, probe_of, reads_images
from imbik.models.structure import structure_of
from imbik.types import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


DECISION_KEY = "imbik_decision"
"""Where a config keeps the number by which its model decides to give no answer (:meth:`imbik.tasks.task.Task.settle`)."""


def facts(model: PreTrainedModel) -> dict[str, Any]:
    """Return ``params``, ``architecture`` and ``flops`` of a model; runs it three times."""
    return {"params": parameters(model), "architecture": architecture(model), "flops": flops(model)}


def manifest_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the fields of an artefact's manifest that do not depend on an engine."""
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    labels = model.config.id2label
    return {
        "schema": 1,
        "task": checkpoint.task,
        "labels": [str(labels[index]) for index in range(len(labels))],
        "max_length": int(tokenizer.model_max_length),
        **_of_tokens(tokenizer),
        "inputs": list(input_names(model, tokenizer)),
        "steps": [dict(step) for step in checkpoint.steps],
        "notes": [document(note) for note in checkpoint.notes],
        "pairs": checkpoint.pairs,
        "decision": getattr(model.config, DECISION_KEY, None),
        "versions": versions(),
    }


def _of_tokens(tokenizer: PreTrainedTokenizerBase | ImageProcessor) -> dict[str, Any]:
    """Return what a manifest says of padding and cutting; images know neither."""
    if isinstance(tokenizer, ImageProcessor):
        return {"padding": {"side": "right", "id": 0, "type_id": 0}, "truncation_side": "right"}
    padding = {
        "side": tokenizer.padding_side,
        "token": tokenizer.pad_token,
        "id": int(tokenizer.pad_token_id or 0),
        "type_id": int(tokenizer.pad_token_type_id or 0),
    }
    return {"padding": padding, "truncation_side": tokenizer.truncation_side}


def set_decision(model: PreTrainedModel, decision: float | None) -> None:
    """Keep the number by which a model decides to give no answer in its config."""
    if decision is not None or hasattr(model.config, DECISION_KEY):
        setattr(model.config, DECISION_KEY, decision)


def architecture(model: PreTrainedModel) -> dict[str, Any]:
    """Return the shape of a transformers model.

    None stands for what its config does not tell, or what differs by layer.
    ``family``, ``layers``, ``hidden``, ``heads``, ``intermediate``, ``vocabulary``.
    """
    config = model.config
    pruned = any("layer" in change and change["layer"] == "linear" for change in structure_of(config))
    blocks = blocks_of(model) if pruned else []
    heads, units = ({block.count for block in blocks if block.kind == kind} for kind in ("heads", "units"))
    return {
        "family": config.model_type,
        "layers": getattr(config, "num_hidden_layers", None),
        "hidden": getattr(config, "hidden_size", None),
        "heads": _alike(heads, getattr(config, "num_attention_heads", None)),
        "intermediate": _alike(units, getattr(config, "intermediate_size", None)),
        "vocabulary": getattr(config, "vocab_size", None),
    }


def _alike(found: set[int], configured: int | None) -> int | None:
    """Return the number that all layers of a pruned model have, None where they differ; of another model what its config says."""
    if not found:
        return configured
    return next(iter(found)) if len(found) == 1 else None


def parameters(model: torch.nn.Module) -> int:
    """Count the parameters, shared ones once.

    A weight that is tied to a codebook counts as a weight.
    """
    # Clustered layers hold a codebook as their parameter and their indices as a buffer.
    tied: int = sum(int(module.tied_weights) for module in model.modules() if hasattr(module, "tied_weights"))
    return int(tied + sum(parameter.numel() for parameter in model.parameters()))


def convolutional(model: torch.nn.Module) -> float:
    """Return the share of a network's weights that are in convolutions over a plane.

    >>> convolutional(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, bias=False), torch.nn.Linear(9, 1, bias=False)))
    0.5
    """
    inside = sum(int(module.weight.numel()) for module in model.modules() if isinstance(module, torch.nn.Conv2d))
    return float(inside / max(1, sum(int(parameter.numel()) for parameter in model.parameters())))


def flops(model: PreTrainedModel) -> list[float]:
    """Return ``[c0, c1, c2]``: a text of T tokens takes ``c0 + c1·T + c2·T²`` operations.

    An image, which has one size, takes ``c0``.

    Operations in floating point; a multiplication and an addition count as two.

    The three numbers come from counting at three
    lengths: products with weights grow with T, attention with T².
    """
    if reads_images(model):
        return [float(_count(model, 0)), 0.0, 0.0]
    # Three points fix a parabola: solve [1, T, T²] · [c0, c1, c2] = count for each T.
    lengths = (4, 8, 16)
    counted = [_count(model, length) for length in lengths]
    system = np.array([[1.0, length, length**2] for length in lengths])
    return [round(float(value), 3) for value in np.linalg.solve(system, np.array(counted, dtype=np.float64))]


def _count(model: PreTrainedModel, length: int) -> int:
    """Count the operations that one text of ``length`` tokens takes, or one image."""
    feed = probe_of(model, 4)
    if not reads_images(model):
        ids = torch.ones((1, length), dtype=torch.long, device=next(model.parameters()).device)
        feed = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    # With gradients on: the counter's hooks cannot follow a parameter that is passed to a module without them.
    with torch.enable_grad(), FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mkldnn_rnn_layer: _recurrent}) as counter:
        model(**feed)
    return int(counter.get_total_flops())


def _recurrent(x: Sequence[int], read: Sequence[int], kept: Sequence[int], *_: object, **__: object) -> int:
    """Count the products of an LSTM that PyTorch computes as one operator, which its counter takes for none.

    Args:
        x: the shape ``(T, B, d)`` of what it reads.
        read, kept: those of its matrices, ``(4 u, d)`` and ``(4 u, u)``.
    """
    # one direction of one layer: the operator stands once for each
    return 2 * x[0] * x[1] * read[0] * (read[1] + kept[1])
