"""Weight-only lowering: weights in 4 or 8 bits, one scale per block, activations in float.

A block is a run of a column's inputs (onnxruntime's MatMulNBits and GatherBlockQuantized). For
size: a weight of 4 bits with float32 scales for blocks of 64 takes 4.5 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.export.onnx.graph import Graph, microsoft
from imbik.export.onnx.operators import Product, Table

_INT8_SUMS = 4
"""MatMulNBits' ``accuracy_level``: activations are rounded to int8 per block inside the kernel; five times faster than float sums."""


def quantize_blocks(values: NDArray[Any], size: int, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Quantize rows ``(N, K)`` in blocks of ``size``.

    Returns integers ``(N, ⌈K / size⌉, size)`` with zero point 2^(bits-1), and scales ``(N, ⌈K /
    size⌉)``.

    The value of largest magnitude of a block becomes -2^(bits-1), the end of the range that has one
    integer more; the last block is filled with zeros.

    >>> q, scale = quantize_blocks(np.array([[1.0, -8.0, 4.0, 0.0]], dtype=np.float32), size=4, bits=4)
    >>> q.tolist(), scale.tolist()
    ([[[9, 0, 12, 8]]], [[1.0]])
    """
    rows, width = values.shape
    count = -(-width // size)
    padded = np.zeros((rows, count * size), dtype=np.float32)
    padded[:, :width] = values
    # (N, K) -> (N, ⌈K / size⌉, size)
    padded = padded.reshape(rows, count, size)
    middle = 2 ** (bits - 1)
    # With its sign, so that the larger side gets the end of the range with one integer more.
    extreme = np.take_along_axis(padded, np.abs(padded).argmax(axis=-1)[..., None], axis=-1)
    scale = (extreme / -middle).astype(np.float32)
    # A block of zeros: any scale gives back zeros.
    scale = np.where(scale == 0, np.float32(1.0), scale)
    q = np.clip(np.rint(padded / scale) + middle, 0, 2 * middle - 1).astype(np.uint8)
    return q, scale[..., 0]


def pack_nibbles(q: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack two 4-bit integers a byte, the first in the low half; leave 8-bit ones as they are."""
    return q if bits == 8 else (q[..., 0::2] | (q[..., 1::2] << 4)).astype(np.uint8)


class Blocks:
    """Weights in blocks, each stored once however many products read it."""

    def __init__(self, graph: Graph, bits: int, size: int) -> None:
        self.graph = graph
        self.bits = bits
        self.size = size
        self._stored: dict[str, tuple[str, str]] = {}

    def lower(self, product: Product) -> None:
        """Give a product its weight in blocks."""
        if product.weight not in self._stored:
            # (K, N) -> (N, K): a block runs along the inputs of one output.
            q, scale = quantize_blocks(product.matrix.T, self.size, self.bits)
            self._stored[product.weight] = self.graph.constant("blocks", pack_nibbles(q, self.bits)), self.graph.constant("scale", scale)
        rows, columns = product.matrix.shape
        inputs = [product.node.input[0], *self._stored[product.weight], *(("", "", product.bias) if product.bias else ())]
        shape = {"K": rows, "N": columns, "bits": self.bits, "block_size": self.size, "accuracy_level": _INT8_SUMS}
        node = microsoft("MatMulNBits", inputs, [product.output], product.node.name, **shape)
        self.graph.replace(product.replaced, [node])

    def lower_table(self, table: Table) -> bool:
        """Store the rows of a table in blocks; return whether that was possible.

        It is not where the width does not divide into blocks.
        """
        width = table.values.shape[1]
        if width % self.size:
            return False
        q, scale = quantize_blocks(table.values, self.size, self.bits)
        # (V, H / size, size) -> (V, bytes of a row)
        rows = pack_nibbles(q, self.bits).reshape(len(q), -1)
        inputs = [self.graph.constant("table", rows), table.node.input[1], self.graph.constant("scale", scale)]
        shape = {"bits": self.bits, "block_size": self.size, "gather_axis": 0, "quantize_axis": 1}
        node = microsoft("GatherBlockQuantized", inputs, [table.node.output[0]], table.node.name, **shape)
        self.graph.replace([table.node], [node])
        return True
