"""The one hand-made piece of the engine: an 8 x 16 tile of a sum of outer products, kept in vector registers.

LLVM's loop vectorizer stores and reloads the sum for every few ratings; with the tile as 8 accumulators it does not, which
is 12 times faster at rank 10, 32 and 64 (docs/results/recommend.md). The vectors are generic LLVM IR, 64 bytes wide, which
every target splits into what it has (AVX-512, AVX2, NEON).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from imbik.recommend.data.ratings import Array

ROWS = 8
BYTES = 64


def _tile(sign: str) -> Any:
    """Build total[i:i+8, j:j+L] +-= block[:count, i:i+8]' block[:count, j:j+L], L = 64 bytes of the dtype."""

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(typing_context: Any, block: Any, count: Any, i: Any, j: Any, total: Any) -> Any:
        signature = types.void(block, types.intp, types.intp, types.intp, total)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source = context.make_array(signature.args[0])(context, builder, args[0])
            target = context.make_array(signature.args[4])(context, builder, args[4])
            _emit(context, builder, source, target, args[1:4], sign)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _emit(context: Any, builder: Any, source: Any, target: Any, where: Any, sign: str) -> None:
    """IR: load 8 accumulators, loop over the rows of the source, store them; mem2reg turns the slots into registers."""
    count, i, j = where
    scalar = source.data.type.pointee
    lanes = BYTES // (4 if isinstance(scalar, ir.FloatType) else 8)
    vector = ir.VectorType(scalar, lanes)
    index = count.type

    def address(array: Any, row: Any, column: Any) -> Any:
        width = cgutils.unpack_tuple(builder, array.shape)[1]
        return builder.gep(array.data, [builder.add(builder.mul(row, width), column)])

    def load(pointer: Any) -> Any:
        value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
        value.align = 4
        return value

    rows = [address(target, builder.add(i, ir.Constant(index, k)), j) for k in range(ROWS)]
    slots = [cgutils.alloca_once(builder, vector) for _ in rows]
    for slot, row in zip(slots, rows, strict=True):
        builder.store(load(row), slot)
    combine = builder.fadd if sign == "+" else builder.fsub
    spread = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    nothing = ir.Constant(vector, ir.Undefined)
    with cgutils.for_range(builder, count) as loop:
        right = load(address(source, loop.index, j))
        left = address(source, loop.index, i)
        for k, slot in enumerate(slots):
            single = builder.load(builder.gep(left, [ir.Constant(index, k)]))
            first = builder.insert_element(nothing, single, ir.Constant(ir.IntType(32), 0))
            product = builder.fmul(builder.shuffle_vector(first, nothing, spread), right, flags=("contract",))
            builder.store(combine(builder.load(slot), product, flags=("contract",)), slot)
    for slot, row in zip(slots, rows, strict=True):
        store = builder.store(builder.load(slot), builder.bitcast(row, vector.as_pointer()))
        store.align = 4


_add_tile = _tile("+")
_subtract_tile = _tile("-")


@njit(cache=True)  # type: ignore[untyped-decorator]
def outer_products(block: Array, count: int, total: Array) -> None:
    """total += block[:count]' block[:count], upper triangle (and some below); rows of total a multiple of 8, columns of 16."""
    for i in range(0, total.shape[0], 8):
        for j in range(i & ~15, total.shape[1], 16):
            _add_tile(block, count, i, j, total)


@njit(cache=True, fastmath={"reassoc", "contract", "nsz", "arcp"})  # type: ignore[untyped-decorator]
def cholesky(matrix: Array, dims: int) -> bool:
    """Upper U with U'U = matrix (padded as above), in place; False when it is not positive definite."""
    width, lanes = matrix.shape[1], BYTES // matrix.itemsize
    for panel in range(0, dims, 8):
        for j in range(panel // lanes * lanes, width, lanes):  # may begin left of the diagonal, where nothing is read
            _subtract_tile(matrix, panel, panel, j, matrix)
        for k in range(panel, min(panel + 8, dims)):
            row = matrix[k]
            for m in range(panel, k):
                above = matrix[m]
                factor = above[k]
                for j in range(panel, width):
                    row[j] -= factor * above[j]
            if not row[k] > 0.0:
                return False
            inverse = 1.0 / (row[k] ** 0.5)
            for j in range(panel, width):
                row[j] *= inverse
    return True
