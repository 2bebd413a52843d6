"""Weight-only lowering: weights in 4 or 8 bits with one scale per block of a column's inputs, activations in float (onnxruntime's
MatMulNBits and GatherBlockQuantized). For size: a weight of 4 bits with float32 scales for blocks of 64 takes 4.5 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.export.onnx.graph import Graph, microsoft
from imbik.export.onnx.operators import Product, Table

_INT8_SUMS = 4
"""MatMulNBits' ``accuracy_level``: activations are rounded to int8 per block inside the kernel; five times faster than float sums."""


def blocks(values: NDArray[Any], size: int, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Rows ``(N, K)`` in blocks of ``size``: integers ``(N, ⌈K / size⌉, size)`` with zero point 2^(bits-1), scales ``(N, ⌈K / size⌉)``.

    The value of largest magnitude of a block becomes -2^(bits-1), the end of the range that has one integer more; the last block is
    filled with zeros.

    >>> q, scale = blocks(np.array([[1.0, -8.0, 4.0, 0.0]], dtype=np.float32), size=4, bits=4)
    >>> q.tolist(), scale.tolist()
    ([[[9, 0, 12, 8]]], [[1.0]])
    """
    rows, width = values.shape
    count = -(-width // size)
    padded = np.zeros((rows, count * size), dtype=np.float32)
    padded[:, :width] = values
    padded = padded.reshape(rows, count, size)
    middle = 2 ** (bits - 1)
    extreme = np.take_along_axis(padded, np.abs(padded).argmax(axis=-1)[..., None], axis=-1)
    scale = (extreme / -middle).astype(np.float32)
    scale = np.where(scale == 0, np.float32(1.0), scale)
    q = np.clip(np.rint(padded / scale) + middle, 0, 2 * middle - 1).astype(np.uint8)
    return q, scale[..., 0]


def packed(q: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Two 4-bit integers a byte, the first in the low half; 8-bit ones as they are."""
    return q if bits == 8 else (q[..., 0::2] | (q[..., 1::2] << 4)).astype(np.uint8)


class Blocks:
    """Weights in blocks, each stored once however many products read it."""

    def __init__(self, graph: Graph, bits: int, size: int) -> None:
        self.graph, self.bits, self.size = graph, bits, size
        self._stored: dict[str, tuple[str, str]] = {}

    def lower(self, product: Product) -> None:
        """A product with a weight in blocks."""
        if product.weight not in self._stored:
            q, scale = blocks(product.matrix.T, self.size, self.bits)
            self._stored[product.weight] = self.graph.constant("blocks", packed(q, self.bits)), self.graph.constant("scale", scale)
        rows, columns = product.matrix.shape
        inputs = [product.node.input[0], *self._stored[product.weight], *(("", "", product.bias) if product.bias else ())]
        shape = {"K": rows, "N": columns, "bits": self.bits, "block_size": self.size, "accuracy_level": _INT8_SUMS}
        node = microsoft("MatMulNBits", inputs, [product.output], product.node.name, **shape)
        self.graph.replace(product.replaced, [node])

    def lower_table(self, table: Table) -> bool:
        """A table with rows in blocks; False where its width does not divide into blocks."""
        width = table.values.shape[1]
        if width % self.size:
            return False
        q, scale = blocks(table.values, self.size, self.bits)
        rows = packed(q, self.bits).reshape(len(q), -1)
        inputs = [self.graph.constant("table", rows), table.node.input[1], self.graph.constant("scale", scale)]
        shape = {"bits": self.bits, "block_size": self.size, "gather_axis": 0, "quantize_axis": 1}
        node = microsoft("GatherBlockQuantized", inputs, [table.node.output[0]], table.node.name, **shape)
        self.graph.replace([table.node], [node])
        return True
