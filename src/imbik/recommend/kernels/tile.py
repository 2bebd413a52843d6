"""The one hand-made piece of the engine: an 8 x 16 tile of a sum of outer products, kept in vector registers.

LLVM's loop vectorizer stores and reloads the sum for every few ratings; with the tile as 8 accumulators it does not, which
is 12 times faster at rank 10, 32 and 64 (docs/results/recommend.md). The vectors are generic LLVM IR, 64 bytes wide, which
every target splits into what it has (AVX-512, AVX2, NEON).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from imbik.recommend.data.ratings import Array

if TYPE_CHECKING:
    from numba.core.cpu import CPUContext
    from numba.core.typing.context import BaseContext
    from numba.core.typing.templates import Signature

ROWS = 8  # accumulators: of 32 vector registers AVX-512 has, or 16 of AVX2 taken in pairs
BYTES = 64  # one register of AVX-512, two of AVX2, four of NEON


def _tile(sign: str) -> Callable[[Array, int, int, int, Array], None]:
    """Build total[i:i+8, j:j+L] +-= block[:count, i:i+8]' block[:count, j:j+L], L = 64 bytes of the dtype."""

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(
        typing_context: BaseContext, block: types.Array, count: types.Type, i: types.Type, j: types.Type, total: types.Array
    ) -> tuple[Signature, Callable[..., ir.Value]]:
        signature = types.void(block, types.intp, types.intp, types.intp, total)

        def generate(context: CPUContext, builder: ir.IRBuilder, signature: Signature, args: Sequence[ir.Value]) -> ir.Value:
            source = context.make_array(signature.args[0])(context, builder, args[0])
            target = context.make_array(signature.args[4])(context, builder, args[4])
            count, i, j = args[1:4]
            _emit(builder, source, target, count, i, j, sign)
            return context.get_dummy_value()

        return signature, generate

    return tile  # type: ignore[no-any-return]


class IrArray(Protocol):
    """An array inside a function that is being compiled."""

    data: ir.Value
    shape: ir.Value


def _emit(
    builder: ir.IRBuilder, source: IrArray, target: IrArray, count: ir.Value, i: ir.Value, j: ir.Value, sign: str
) -> None:  # fmt: skip
    """Write the IR: load 8 accumulators, loop over the rows of the source, store them.

    Each accumulator lives in a stack slot that is written once a turn; LLVM's pass mem2reg turns the slots into registers.
    """
    scalar = source.data.type.pointee
    lanes = BYTES // (4 if isinstance(scalar, ir.FloatType) else 8)
    vector = ir.VectorType(scalar, lanes)
    index = count.type

    def address(array: IrArray, row: ir.Value, column: ir.Value) -> ir.Value:
        width = cgutils.unpack_tuple(builder, array.shape)[1]
        return builder.gep(array.data, [builder.add(builder.mul(row, width), column)])

    def load(pointer: ir.Value) -> ir.Value:
        value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
        value.align = 4  # NumPy promises no more than the alignment of one number
        return value

    rows = [address(target, builder.add(i, ir.Constant(index, k)), j) for k in range(ROWS)]
    slots = [cgutils.alloca_once(builder, vector) for _ in rows]
    for slot, row in zip(slots, rows, strict=True):
        builder.store(load(row), slot)
    combine = builder.fadd if sign == "+" else builder.fsub
    # To spread one number over all lanes: put it into lane 0, then shuffle with a mask of zeros.
    spread = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    nothing = ir.Constant(vector, ir.Undefined)
    with cgutils.for_range(builder, count) as loop:
        right = load(address(source, loop.index, j))
        left = address(source, loop.index, i)
        for k, slot in enumerate(slots):
            single = builder.load(builder.gep(left, [ir.Constant(index, k)]))
            first = builder.insert_element(nothing, single, ir.Constant(ir.IntType(32), 0))
            # "contract" lets the multiplication and the addition become one fused instruction.
            product = builder.fmul(builder.shuffle_vector(first, nothing, spread), right, flags=("contract",))
            builder.store(combine(builder.load(slot), product, flags=("contract",)), slot)
    for slot, row in zip(slots, rows, strict=True):
        store = builder.store(builder.load(slot), builder.bitcast(row, vector.as_pointer()))
        store.align = 4


_add_tile = _tile("+")
_subtract_tile = _tile("-")


@njit(cache=True)  # type: ignore[untyped-decorator]
def outer_products(block: Array, count: int, total: Array) -> None:
    """Add block[:count]' block[:count] to total, its upper triangle (and some below); rows a multiple of 8, columns of 16."""
    for i in range(0, total.shape[0], 8):
        for j in range(i & ~15, total.shape[1], 16):
            _add_tile(block, count, i, j, total)


@njit(cache=True, fastmath={"reassoc", "contract", "nsz", "arcp"})  # type: ignore[untyped-decorator]
def cholesky(matrix: Array, dims: int) -> bool:
    """Factorize U'U = matrix (padded as above) in place, U upper; return whether it is positive definite.

    Panels of 8 rows: first the product of all rows above is subtracted from the panel by the tile, then the panel is
    factorized alone.
    """
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
            if not row[k] > 0.0:  # "not >" and not "<=": NaN must fail
                return False
            inverse = 1.0 / (row[k] ** 0.5)
            for j in range(panel, width):
                row[j] *= inverse
    return True
