"""Facts about a PyTorch model: family, shape, parameters, floating-point operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def architecture(model: PreTrainedModel) -> dict[str, Any]:
    """Return the shape of a transformers model, None for what its config does not tell.

    ``family``, ``layers``, ``hidden``, ``heads``, ``intermediate``, ``vocabulary``.
    """
    config = model.config
    return {
        "family": config.model_type,
        "layers": getattr(config, "num_hidden_layers", None),
        "hidden": getattr(config, "hidden_size", None),
        "heads": getattr(config, "num_attention_heads", None),
        "intermediate": getattr(config, "intermediate_size", None),
        "vocabulary": getattr(config, "vocab_size", None),
    }


def parameters(model: torch.nn.Module) -> int:
    """Count the parameters, shared ones once.

    A weight that is tied to a codebook counts as a weight.
    """
    # Clustered layers hold a codebook as their parameter and their indices as a buffer.
    tied: int = sum(int(module.tied_weights) for module in model.modules() if hasattr(module, "tied_weights"))
    return int(tied + sum(parameter.numel() for parameter in model.parameters()))


def flops(model: PreTrainedModel) -> list[float]:
    """Return ``[c0, c1, c2]``: a text of T tokens takes ``c0 + c1·T + c2·T²`` operations.

    Operations in floating point; a multiplication and an addition count as two.

    The three numbers come from counting at three
    lengths: products with weights grow with T, attention with T².
    """
    # Three points fix a parabola: solve [1, T, T²] · [c0, c1, c2] = count for each T.
    lengths = (4, 8, 16)
    counted = [_count(model, length) for length in lengths]
    system = np.array([[1.0, length, length**2] for length in lengths])
    return [round(float(value), 3) for value in np.linalg.solve(system, np.array(counted, dtype=np.float64))]


def _count(model: PreTrainedModel, length: int) -> int:
    """Count the operations that one text of ``length`` tokens takes."""
    ids = torch.ones((1, length), dtype=torch.long, device=next(model.parameters()).device)
    # With gradients on: the counter's hooks cannot follow a parameter that is passed to a module without them.
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return int(counter.get_total_flops())
