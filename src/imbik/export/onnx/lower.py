"""Lowering of a float graph: which operator is quantized how."""

from __future__ import annotations

from collections import Counter
from typing import Any

from imbik.errors import UserError
from imbik.export.onnx.blocks import Blocks
from imbik.export.onnx.codebooks import value_blocks
from imbik.export.onnx.graph import Graph
from imbik.export.onnx.int8 import Inputs, Weights, lower_dynamic, lower_static, lower_table, store_matrix
from imbik.export.onnx.integer import lower_integer
from imbik.export.onnx.operators import products, stored_matrices, stored_tables, tables
from imbik.export.onnx.recurrent import lower_lstm, lstms, rounded, store_weights
from imbik.export.request import BuildRequest
from imbik.quantization.ranges import Ranges

# Schemes whose activations have constant scales.
_CALIBRATED = ("static", "qat", "integer")


def lower(graph: Graph, request: BuildRequest, ranges: Ranges) -> dict[str, Any]:
    """Quantize a graph as its request says, except the operators that stay in float.

    Args:
        graph: it is changed.
        request: with ``quantize``.
        ranges: what the checkpoint carries (:func:`imbik.quantization.ranges.ranges_of`).

    Returns:
        For the manifest: ``scheme``, ``weight_bits``, how many ``products`` and ``tables`` were
        lowered, how many ``matrices`` are stored in integers and multiplied in float, and
        ``unobserved`` products: those of a calibrated scheme whose input was never seen, so that they
        find their range at run time.

    Raises:
        UserError: a calibrated scheme without ranges.
    """
    settings = request.quantize
    assert settings is not None
    if settings["scheme"] in _CALIBRATED and not ranges:
        raise UserError(
            f"the checkpoint carries no activation ranges, which the scheme '{settings['scheme']}' needs",
            fix="make it with imbik compress, which calibrates on the training texts and writes the ranges into config.json",
        )
    weights_only = settings["scheme"] == "weight-only"
    bits = int(settings["bits"]) if weights_only else int(request.preset["weight_bits"])
    done = _lower_blocks(graph, request, bits) if weights_only else _lower_int8(graph, request, ranges, bits)
    if settings["embeddings"]:
        done["tables"] += _lower_tables(graph, request, bits)
    return {
        "scheme": settings["scheme"],
        "weight_bits": bits,
        **{name: done[name] for name in ("products", "matrices", "tables", "unobserved")},
    }


def _lower_int8(graph: Graph, request: BuildRequest, ranges: Ranges, bits: int) -> Counter[str]:
    """Lower the products by a scheme of int8; return what was done, by name."""
    settings = request.quantize or {}
    done = Counter[str]()
    # Only training learns clip factors; ranges of an earlier qat must not act on another scheme.
    weights = Weights(graph, bits, settings["granularity"] == "per-channel", ranges if settings["scheme"] == "qat" else {})
    inputs = Inputs(graph, ranges)
    for product in products(graph):
        if product.operator in request.reverted:
            continue
        done["products"] += 1
        # A product that calibration never saw (it did not run) is lowered all the same,
        # dynamically.
        if settings["scheme"] == "dynamic" or not inputs.known(product):
            done["unobserved"] += settings["scheme"] != "dynamic"
            lower_dynamic(graph, product, weights)
        elif settings["scheme"] == "integer":
            lower_integer(graph, product, weights, inputs, ranges)
        else:
            lower_static(graph, product, weights, inputs)
    for product in stored_matrices(graph):
        if product.operator not in request.reverted:
            store_matrix(graph, product, weights)
            done["matrices"] += 1
    for node in lstms(graph):
        if node.name not in request.reverted:
            lower_lstm(graph, node, rounded(graph, node, bits))
            done["products"] += 1
            done["unobserved"] += settings["scheme"] != "dynamic"
    return done


def _lower_blocks(graph: Graph, request: BuildRequest, bits: int) -> Counter[str]:
    """Lower the products to weights in blocks; return how many."""
    blocks = Blocks(graph, bits, int((request.quantize or {})["block"]))
    done = Counter[str]()
    for product in products(graph):
        if product.operator not in request.reverted:
            blocks.lower(product)
            done["products"] += 1
    for node in lstms(graph):
        if node.name not in request.reverted:
            # no operator reads them in blocks, nor in 4 bits
            store_weights(graph, node, rounded(graph, node, 8))
            done["matrices"] += 1
    return done


def _lower_tables(graph: Graph, request: BuildRequest, bits: int) -> int:
    """Lower the embedding tables; return how many.

    In 4 bits with a scheme of 4 bits where their width allows it, else in 8 bits.
    """
    blocks = Blocks(graph, bits, int((request.quantize or {})["block"]))
    weights = Weights(graph, 8, per_channel=True, ranges={})
    count = 0
    for rows in stored_tables(graph):
        if rows.operator not in request.reverted and value_blocks(rows.matrix) is None:
            store_matrix(graph, rows, weights)
            count += 1
    for table in tables(graph):
        if table.operator in request.reverted or value_blocks(table.values) is not None:
            # A table of few values is packed to a byte an entry or less as it is.
            continue
        if bits != 4 or not blocks.lower_table(table):
            lower_table(graph, table)
        count += 1
    return count
