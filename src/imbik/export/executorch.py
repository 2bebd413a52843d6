"""Checkpoint -> ExecuTorch program for XNNPACK (``.pte``), in float or int8."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imbik.errors import UserError
from imbik.export.calibration import calibration_feeds
from imbik.export.request import BuildRequest
from imbik.jobs.quiet import silenced
from imbik.models.inputs import Logits, attention_as, input_names
from imbik.quantization.integer import SMALL_TABLE, symmetric
from imbik.runtime.engines.executorch import MODEL
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint

SHORTEST = 3
"""Fewest tokens of a text, special tokens included: MobileBERT reads each token with its two neighbors, and torch.export
specializes a program on the lengths 0 to 2."""


class Int8Table(nn.Module):  # type: ignore[misc]
    """An embedding table in int8, one scale per row; only the rows that a text needs are scaled back."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        q, scale = symmetric(table.weight.detach().float().numpy(), axis=0)
        self.register_buffer("rows", torch.from_numpy(q))
        self.register_buffer("scale", torch.from_numpy(scale))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return nn.functional.embedding(ids, self.rows).to(torch.float32) * nn.functional.embedding(ids, self.scale)


def build(checkpoint: Checkpoint, directory: Path, request: BuildRequest) -> dict[str, Any]:
    """Write ``model.pte`` for XNNPACK, lowered as the request asks, and return what the manifest records.

    Raises:
        UserError: the model cannot be exported, or nobody gave texts to calibrate on.
    """
    names = input_names(checkpoint.model, checkpoint.tokenizer)
    settings = request.quantize
    longest = int(checkpoint.tokenizer.model_max_length)
    model = copy.deepcopy(checkpoint.model).eval()
    tables = lower_tables(model) if settings is not None and settings["embeddings"] else 0
    with silenced(), attention_as(model, "eager"):
        kinds = task_of(checkpoint.task).outputs
        program = _exported(Logits(model, names, [kind.name for kind in kinds]).eval(), len(names), longest)
        if settings is not None:
            program = _quantized(program, settings, checkpoint, names, request, longest)
        counts = product_counts(program.graph_module)
        (directory / MODEL).write_bytes(lowered(program, dynamic=settings is not None and settings["scheme"] == "dynamic"))
    quantization = None if settings is None else {"scheme": settings["scheme"], "weight_bits": 8, "tables": tables}
    return {
        "model": MODEL,
        "inputs": list(names),
        "shapes": {"minimum": SHORTEST, "maximum": longest, "rows": 1},
        "quantisation": quantization,
        "graph": {"int8_ops": counts[0], "float_matmuls": counts[1], "backend": "xnnpack"},
    }


def lower_tables(model: nn.Module) -> int:
    """Replace every large embedding table by :class:`Int8Table`; returns how many."""
    found = 0
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Embedding) and child.weight.numel() >= SMALL_TABLE:
                setattr(module, name, Int8Table(child))
                found += 1
    return found


def _exported(module: nn.Module, inputs: int, longest: int) -> Any:
    """The module traced for one row of ``SHORTEST`` to ``longest`` tokens."""
    shapes: Any = tuple({1: torch.export.Dim("tokens", min=SHORTEST, max=longest)} for _ in range(inputs))
    example = _example(inputs, min(16, longest))
    if isinstance(module, Logits):
        shapes = (shapes,)  # its forward takes any number of tensors, which is one argument to torch.export
    try:
        return torch.export.export(module, example, dynamic_shapes=shapes)
    except Exception as error:
        raise UserError(
            "torch.export cannot trace the model",
            where="executorch",
            found=next(iter(str(error).strip().splitlines()), type(error).__name__)[:200],
            expected="an encoder classifier whose code does not branch on its inputs",
        ) from error


def _example(inputs: int, length: int) -> tuple[torch.Tensor, ...]:
    """``input_ids, attention_mask, token_type_ids``: three tensors, since torch.export takes one passed twice for one input."""
    return tuple(torch.full((1, length), value, dtype=torch.int64) for value in (1, 1, 0))[:inputs]


def _quantized(
    program: Any, settings: Mapping[str, Any], checkpoint: Checkpoint, names: Sequence[str], request: BuildRequest, longest: int
) -> Any:
    """int8 weights per output channel; activations by calibration (static) or at run time (dynamic)."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    dynamic = settings["scheme"] == "dynamic"  # its ranges are found at run time: one made-up row is enough
    feeds: Iterable[tuple[torch.Tensor, ...]] = [_example(len(names), 8)]
    if not dynamic:
        texts = calibration_feeds(checkpoint, names, request, "executorch", SHORTEST)
        feeds = (tuple(torch.from_numpy(value) for value in feed.values()) for feed in texts)
    config = get_symmetric_quantization_config(is_per_channel=settings.get("granularity") != "per-tensor", is_dynamic=dynamic)
    prepared = prepare_pt2e(_integers_kept(program.module()), XNNPACKQuantizer().set_global(config))
    with torch.no_grad():
        for feed in feeds:
            prepared(*feed)
    return _exported(convert_pt2e(prepared), len(names), longest)


def _integers_kept(module: Any) -> Any:
    """Sums and products of integers (positions) with a number, written so that the quantizer leaves them alone.

    It turns the number of ``add.Tensor`` and ``mul.Tensor`` into a tensor of floats, and a position that is a float indexes nothing.
    """
    aten = torch.ops.aten
    plain = {aten.add.Tensor: aten.add.Scalar, aten.mul.Tensor: aten.mul.Scalar}
    for node in module.graph.nodes:
        if node.target in plain and isinstance(node.args[1], (int, float)) and not node.meta["val"].is_floating_point():
            node.target = plain[node.target]
    module.recompile()
    return module


def product_counts(module: Any) -> tuple[int, int]:
    """Linear layers of an exported program: how many read an int8 weight, and how many a float one."""
    integers = floats = 0
    for node in module.graph.nodes:
        if node.op == "call_function" and str(node.target) in ("aten.linear.default", "aten.addmm.default"):
            weight = node.args[1 if "linear" in str(node.target) else 2]
            while weight.op == "call_function" and "permute" in str(weight.target):
                weight = weight.args[0]
            quantized = weight.op == "call_function" and "dequantize" in str(weight.target)
            integers, floats = integers + quantized, floats + (not quantized)
    return integers, floats


def lowered(program: Any, *, dynamic: bool) -> bytes:
    from executorch.backends.xnnpack.partition.config.xnnpack_config import ConfigPrecisionType
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    partitioners = [XnnpackPartitioner()]
    if dynamic:  # a product whose activations are quantized at run time makes a delegate of its own
        partitioners.insert(0, XnnpackPartitioner(config_precisions=ConfigPrecisionType.DYNAMIC_QUANT, per_op_mode=True))
    edge = to_edge_transform_and_lower(program, partitioner=partitioners, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    return bytes(edge.to_executorch().buffer)
