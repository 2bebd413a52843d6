"""What a PyTorch model is made of: family, shape, parameters, floating-point operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode


def architecture(model: Any) -> dict[str, Any]:
    """``family``, ``layers``, ``hidden``, ``heads``, ``intermediate``, ``vocabulary`` of a transformers
    model; None where unknown.
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
    """Number of parameters, shared ones counted once; a weight that is tied to a codebook counts as a weight."""
    tied: int = sum(int(module.tied_weights) for module in model.modules() if hasattr(module, "tied_weights"))
    return int(tied + sum(parameter.numel() for parameter in model.parameters()))


def flops(model: Any) -> list[float]:
    """``[c0, c1, c2]`` such that one text of T tokens takes ``c0 + c1·T + c2·T²`` floating-point operations.

    A multiplication and an addition count as two. The three numbers come from counting at three lengths:
    products with weights grow with T, attention with T².
    """
    lengths = (4, 8, 16)
    counted = [_count(model, length) for length in lengths]
    system = np.array([[1.0, length, length**2] for length in lengths])
    return [round(float(value), 3) for value in np.linalg.solve(system, np.array(counted, dtype=np.float64))]


def _count(model: Any, length: int) -> int:
    ids = torch.ones((1, length), dtype=torch.long, device=next(model.parameters()).device)
    # With gradients on: the counter's hooks cannot follow a parameter that is passed to a module without them.
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return int(counter.get_total_flops())
