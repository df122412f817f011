"""LLVM vectors of floats for compiled loops, to keep sums in registers.

Numba cannot prove that an output row does not overlap a table, so it keeps sums in memory. Here a sum is one LLVM
vector, which stays in registers of any width while rows are added to it.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

_FAST = ("fast",)
_INDEX = ir.IntType(32)


class Vector(types.Type):
    """A vector of ``lanes`` floats."""

    def __init__(self, scalar: types.Float, lanes: int):
        self.scalar, self.lanes = scalar, lanes
        super().__init__(name=f"Vector({scalar}, {lanes})")

    @property
    def key(self):
        return self.scalar, self.lanes

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(ir.FloatType() if self.scalar == types.float32 else ir.DoubleType(), self.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, kind.llvm)


def _vector(array: types.Array, lanes: types.IntegerLiteral) -> Vector:
    """Returns the type of sums of rows of ``array``; bfloat16, stored as uint16, is summed in float32."""
    return Vector(types.float64 if array.dtype == types.float64 else types.float32, lanes.literal_value)


def _address(context, builder, signature, arguments):
    """Computes the address of ``array[i, j]`` from the first three arguments; rows may be strided, columns not."""
    kind, row, column = signature.args[:3]
    array = context.make_array(kind)(context, builder, arguments[0])
    row = context.cast(builder, arguments[1], row, types.intp)
    column = context.cast(builder, arguments[2], column, types.intp)
    stride = cgutils.unpack_tuple(builder, array.strides)[0]
    width = ir.Constant(stride.type, kind.dtype.bitwidth // 8)
    offset = builder.add(builder.mul(row, stride), builder.mul(column, width))
    return builder.gep(builder.bitcast(array.data, ir.IntType(8).as_pointer()), [offset])


@intrinsic(prefer_literal=True)
def load(typing, array, i, j, lanes):
    """Loads ``array[i, j : j + lanes]``."""
    vector = _vector(array, lanes)
    return vector(array, i, j, lanes), _load(array, vector)


@intrinsic
def load_like(typing, array, i, j, like):
    """Loads ``array[i, j : j + lanes]`` with as many lanes as ``like``."""
    return like(array, i, j, like), _load(array, like)


def _load(array: types.Array, vector: Vector) -> Callable:
    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments)
        if array.dtype != types.uint16:
            return builder.load(builder.bitcast(address, vector.llvm.as_pointer()), align=array.dtype.bitwidth // 8)
        halves = ir.VectorType(ir.IntType(16), vector.lanes)
        words = ir.VectorType(ir.IntType(32), vector.lanes)
        bits = builder.zext(builder.load(builder.bitcast(address, halves.as_pointer()), align=2), words)
        return builder.bitcast(builder.shl(bits, ir.Constant(words, [16] * vector.lanes)), vector.llvm)

    return generate


@intrinsic
def store(typing, array, i, j, value):
    """Stores ``value`` to ``array[i, j : j + lanes]``."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments)
        pointer = builder.bitcast(address, value.llvm.as_pointer())
        builder.store(arguments[3], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, i, j, value), generate


@intrinsic(prefer_literal=True)
def zeros(typing, array, lanes):
    """Returns a zero vector of the type of sums of rows of ``array``."""
    vector = _vector(array, lanes)
    return vector(array, lanes), lambda context, builder, signature, arguments: ir.Constant(
        vector.llvm, [0.0] * vector.lanes
    )


@intrinsic
def add(typing, left, right):
    """Computes ``left + right``."""
    return left(left, right), lambda context, builder, signature, arguments: builder.fadd(*arguments, flags=_FAST)


@intrinsic
def subtract(typing, left, right):
    """Computes ``left - right``."""
    return left(left, right), lambda context, builder, signature, arguments: builder.fsub(*arguments, flags=_FAST)


@intrinsic
def divide(typing, left, right):
    """Computes ``left / right`` lane by lane, rounded correctly."""
    return left(left, right), lambda context, builder, signature, arguments: builder.fdiv(*arguments)


@intrinsic
def multiply(typing, left, right):
    """Computes ``left * right`` lane by lane."""
    return left(left, right), lambda context, builder, signature, arguments: builder.fmul(*arguments, flags=_FAST)


def _broadcast(context, builder, vector: Vector, value, kind):
    value = context.cast(builder, value, kind, vector.scalar)
    undefined = ir.Constant(vector.llvm, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(_INDEX, vector.lanes), [0] * vector.lanes)
    )


@intrinsic
def fill(typing, value, like):
    """Returns a vector of the type of ``like`` with ``value`` in all lanes."""
    return like(value, like), lambda context, builder, signature, arguments: _broadcast(
        context, builder, like, arguments[0], value
    )


@intrinsic
def scale(typing, factor, value):
    """Computes ``factor * value`` for a number and a vector."""

    def generate(context, builder, signature, arguments):
        return builder.fmul(_broadcast(context, builder, value, arguments[0], factor), arguments[1], flags=_FAST)

    return value(factor, value), generate


@intrinsic
def total(typing, value):
    """Sums the lanes."""

    def generate(context, builder, signature, arguments):
        scalar = value.llvm.element
        name = f"llvm.vector.reduce.fadd.v{value.lanes}f{value.scalar.bitwidth}"
        kind = ir.FunctionType(scalar, [scalar, value.llvm])
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [ir.Constant(scalar, 0.0), arguments[0]], fastmath=_FAST)

    return value.scalar(value), generate
