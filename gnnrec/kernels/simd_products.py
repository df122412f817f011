"""Inner loop of :mod:`gnnrec.kernels.top_cpu`: scores of a few rows and columns, held in registers.

Numba would keep a matrix of sums in memory. Here every sum is one LLVM vector over columns, and the loop over
dimensions reads each column vector once for all rows. The order of summation of a score does not depend on other rows
and columns, so scores do not depend on blocks and threads.
"""

from __future__ import annotations

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_FLOAT, _INDEX = ir.FloatType(), ir.IntType(64)


def _shape() -> tuple[int, int]:
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16, 12
    return (8, 6) if features.get("avx2") else (4, 8)


#: Floats per register, and rows whose sums fit into the registers (32 with AVX-512, 16 with AVX2, otherwise 32).
LANES, ROWS = _shape()
#: Column vectors and columns of a tile.
VECTORS = 2
WIDTH = VECTORS * LANES
#: Score of excluded columns, below any other.
LOWEST = -3.4028234663852886e38

_VECTOR = ir.VectorType(_FLOAT, LANES)


class _Tile:
    """Generates the code of one tile."""

    def __init__(self, context, builder, signature, arguments):
        self.context, self.builder, self.kinds, self.values = context, builder, signature.args, arguments

    def start(self, position: int, *indices) -> ir.Value:
        """Computes the address of an element of the array argument at ``position``."""
        kind = self.kinds[position]
        array = self.context.make_array(kind)(self.context, self.builder, self.values[position])
        shape, strides = (cgutils.unpack_tuple(self.builder, values) for values in (array.shape, array.strides))
        pointer = cgutils.get_item_pointer2(
            self.context, self.builder, array.data, shape, strides, kind.layout, indices, wraparound=False
        )
        return self.builder.bitcast(pointer, _FLOAT.as_pointer())

    def load(self, address: ir.Value, vector: int) -> ir.Value:
        """Loads the vector at ``address`` plus ``vector`` vectors."""
        at = self.builder.gep(address, [ir.Constant(_INDEX, vector * LANES)])
        return self.builder.load(self.builder.bitcast(at, _VECTOR.as_pointer()), align=4)

    def store(self, value: ir.Value, address: ir.Value, vector: int) -> None:
        at = self.builder.gep(address, [ir.Constant(_INDEX, vector * LANES)])
        self.builder.store(value, self.builder.bitcast(at, _VECTOR.as_pointer()), align=4)

    def broadcast(self, address: ir.Value) -> ir.Value:
        """Fills a vector with the float at ``address``."""
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = self.builder.insert_element(
            undefined, self.builder.load(address, align=4), ir.Constant(ir.IntType(32), 0)
        )
        return self.builder.shuffle_vector(
            first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        )

    def multiply_add(self, left: ir.Value, right: ir.Value, total: ir.Value) -> ir.Value:
        product = self.builder.fmul(left, right, flags=("contract",))
        return self.builder.fadd(product, total, flags=("contract",))

    def rectified_sum(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """Computes ``max(left + right, 0)``."""
        total, zero = self.builder.fadd(left, right), ir.Constant(_VECTOR, [0.0] * LANES)
        return self.builder.select(self.builder.fcmp_ordered(">", total, zero), total, zero)


def _generate(context, builder, signature, arguments):
    rows, row, columns, tile, bias, weight, out, first = arguments
    code = _Tile(context, builder, signature, arguments)
    zero, numbers = ir.Constant(_INDEX, 0), [ir.Constant(_INDEX, number) for number in range(ROWS)]
    hidden = signature.args[5] != types.none
    bias_start = code.start(4, tile, zero)
    sums = [[cgutils.alloca_once(builder, _VECTOR) for _ in range(VECTORS)] for _ in range(ROWS)]
    for row_sums in sums:
        for vector, place in enumerate(row_sums):
            builder.store(code.load(bias_start, vector), place)
    owners = [builder.add(row, number) for number in numbers]
    dimensions = cgutils.unpack_tuple(builder, context.make_array(signature.args[0])(context, builder, rows).shape)[1]
    with cgutils.for_range(builder, dimensions, intp=_INDEX) as loop:
        column = code.start(2, tile, loop.index, zero)
        read = [code.load(column, vector) for vector in range(VECTORS)]
        factor = code.broadcast(code.start(5, loop.index)) if hidden else None
        for owner, places in zip(owners, sums):
            own = code.broadcast(code.start(0, owner, loop.index))
            for vector, place in enumerate(places):
                left, right = own, read[vector]
                if hidden:
                    left, right = factor, code.rectified_sum(own, read[vector])
                builder.store(code.multiply_add(left, right, builder.load(place)), place)
    for number, places in zip(numbers, sums):
        target = code.start(6, number, first)
        for vector, place in enumerate(places):
            code.store(builder.load(place), target, vector)
    return context.get_dummy_value()


@intrinsic
def score_tile(typing, rows, row, columns, tile, bias, weight, out, first):
    """Computes scores of :data:`ROWS` rows and :data:`WIDTH` columns.

    ``out[i, first + j] = bias[tile, j] + sum_d rows[row + i, d] * columns[tile, d, j]``, or with a ``weight``
    ``bias[tile, j] + sum_d weight[d] * max(rows[row + i, d] + columns[tile, d, j], 0)``.

    Args:
        rows: float32 ``[rows, dim]``.
        row: intp, the first row.
        columns: float32 ``[tiles, dim, WIDTH]``.
        tile: intp.
        bias: float32 ``[tiles, WIDTH]``.
        weight: float32 ``[dim]``, or None.
        out: float32 ``[ROWS, ...]``.
        first: intp, a column of ``out``.
    """
    whole = types.intp
    return types.void(rows, whole, columns, whole, bias, weight, out, whole), _generate


@intrinsic
def any_above(typing, values, row, first, bound):
    """Tests whether any of ``values[row, first : first + WIDTH]`` is above ``bound``; NaN is not."""

    def generate(context, builder, signature, arguments):
        code = _Tile(context, builder, signature, arguments)
        start = code.start(0, arguments[1], arguments[2])
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        filled = builder.insert_element(undefined, arguments[3], ir.Constant(ir.IntType(32), 0))
        limit = builder.shuffle_vector(
            filled, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        )
        masks = [builder.fcmp_ordered(">", code.load(start, vector), limit) for vector in range(VECTORS)]
        either = masks[0]
        for mask in masks[1:]:
            either = builder.or_(either, mask)
        bits = builder.bitcast(either, ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(values, types.intp, types.intp, types.float32), generate
