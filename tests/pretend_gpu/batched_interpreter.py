"""Runs many programs of a Triton kernel at a time in Triton's interpreter, which takes them one by one.

Arrays of numbers that differ between programs are :class:`Batched`, with the programs as their first dimension. Where
programs take different branches, or different numbers of turns, what they stored is undone, and each group starts
again. Bytes are those of each program: of the addresses that loads and stores touch, without masked ones.
"""

from __future__ import annotations

import builtins
import functools
import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

#: Most programs at a time.
MOST = 256
#: Numbers of the programs, int64 ``[3, programs]``; bytes touched; and what was stored, to undo it.
state = SimpleNamespace(programs=np.zeros((3, 1), np.int64), touched=0, undo=[])


class Batched(np.ndarray):
    """An array whose first dimension is that of the programs."""


class Divergence(BaseException):
    """Programs go different ways; ``keys`` ``[programs]`` has the same number for those that stay together."""

    def __init__(self, keys: np.ndarray):
        super().__init__()
        self.keys = np.asarray(keys)


def is_batched(*values: Any) -> bool:
    return any(isinstance(getattr(value, "data", None), Batched) for value in values)


def run_programs(function: Callable, arguments: dict[str, Any], grid: tuple[int, ...]) -> None:
    """Calls a function for all programs of a grid."""
    every = np.indices(grid).reshape(len(grid), -1)
    for first in builtins.range(0, every.shape[1], MOST):
        _run(function, arguments, every[:, first : first + MOST])


def _run(function: Callable, arguments: dict[str, Any], programs: np.ndarray) -> None:
    from triton.runtime.interpreter import _interpreter

    state.programs, state.undo, touched = programs, [], state.touched
    try:
        function(**arguments)
    except Divergence as divergence:
        for addresses, before, mask in reversed(state.undo):
            _interpreter.store(addresses, before, mask)
        state.touched = touched
        for key in np.unique(divergence.keys):
            _run(function, arguments, programs[:, divergence.keys == key])


def _call_grid(executor: Any, *arguments: Any, **options: Any) -> None:
    """Does what ``GridExecutor.__call__`` does, with many programs at a time."""
    from triton.runtime import interpreter

    names = inspect.getfullargspec(executor.fn).args
    options = {name: value for name, value in options.items() if name in names}
    on_host, options_on_host = executor._init_args_hst(arguments, options)
    interpreter._patch_lang(executor.fn)
    given = inspect.getcallargs(executor.fn, *on_host, **options_on_host)
    given = {
        name: value if name in executor.constexprs else interpreter._implicit_cvt(value)
        for name, value in given.items()
    }
    grid = executor.grid(given) if callable(executor.grid) else executor.grid
    grid = (*grid, *[1] * (3 - len(grid)))
    interpreter.interpreter_builder.set_grid_dim(*grid)
    try:
        run_programs(executor.fn, given, grid)
    except Exception as error:
        raise interpreter.InterpreterError(repr(error)) from error
    executor._restore_args_dev(arguments, on_host, options, options_on_host)


def install() -> None:
    """Changes the interpreter for the rest of this process."""
    from triton.runtime import interpreter

    builder, replaced = interpreter.InterpreterBuilder, _builder_methods(interpreter)
    for name in [name for name in dir(builder) if name.startswith("create_")]:
        setattr(builder, name, replaced.get(name) or _elementwise(getattr(builder, name), interpreter.TensorHandle))
    interpreter.ReduceScanOpInterface.to_tensor = functools.partialmethod(_to_tensor)
    for name, function in (("sum", _sum), ("min_max", _min_max), ("generic_reduce", _refuse_batches)):
        setattr(interpreter.ReduceOps, name, _kept_or(function, getattr(interpreter.ReduceOps, name)))
    interpreter.ScanOps.cumsum = _cumsum
    interpreter.GridExecutor.__call__ = _call_grid
    interpreter.range = _range  # which the interpreter gives to all kernels


def _elementwise(method: Callable, handle: type) -> Callable:
    def call(builder: Any, *arguments: Any, **options: Any) -> Any:
        out = method(builder, *arguments, **options)
        if isinstance(out, handle) and not is_batched(out) and is_batched(*arguments):
            out.data = np.asarray(out.data).view(Batched)
        return out

    return call


def _builder_methods(interpreter: Any) -> dict[str, Callable]:
    """Returns methods of the interpreter that move dimensions, or touch memory."""
    handle, memory, numpy_type = interpreter.TensorHandle, interpreter._interpreter, interpreter._get_np_dtype

    def program_id(builder: Any, axis: int) -> Any:
        numbers = state.programs[axis].astype(np.int32)
        same = (numbers == numbers[0]).all()
        return handle(numbers[:1] if same else numbers.view(Batched), interpreter.tl.int32)

    def whole(*parts: Any) -> tuple[list[np.ndarray], int]:
        """Arrays of one shape, and how many programs each number stands for."""
        shape = np.broadcast_shapes(*(part.data.shape for part in parts))
        arrays = [np.array(np.broadcast_to(np.asarray(part.data), shape), order="C") for part in parts]
        return arrays, 1 if is_batched(*parts) else state.programs.shape[1]

    def load(builder: Any, address: Any, mask: Any, other: Any, *_: Any) -> Any:
        kind = address.get_element_ty()
        if other is None:
            other = handle(np.zeros_like(np.asarray(address.data), dtype=numpy_type(kind)), kind)
        arrays, times = whole(address, mask, other)
        state.touched += int(arrays[1].sum()) * times * max(1, kind.primitive_bitwidth // 8)
        read = memory.load(*arrays, numpy_type(kind))
        return handle(read.view(Batched) if is_batched(address, mask, other) else read, kind)

    def store(builder: Any, address: Any, value: Any, mask: Any, *_: Any) -> None:
        kind = address.get_element_ty()
        (addresses, values, inside), times = whole(address, value, mask)
        state.touched += int(inside.sum()) * times * max(1, kind.primitive_bitwidth // 8)
        if state.programs.shape[1] > 1:
            before = memory.load(addresses, inside, np.zeros_like(values), values.dtype)
            state.undo.append((addresses, before, inside))
        memory.store(addresses, values, inside)

    def load_all(builder: Any, address: Any, *_: Any) -> Any:
        return load(builder, address, handle(np.ones(1, dtype=bool), interpreter.tl.int1), None)

    def store_all(builder: Any, address: Any, value: Any, *_: Any) -> None:
        store(builder, address, value, handle(np.ones(1, dtype=bool), interpreter.tl.int1))

    def shaped(change: Callable) -> Callable:
        """A method that changes dimensions: with a number of leading ones that stay."""

        def call(builder: Any, value: Any, *options: Any) -> Any:
            data = change(np.asarray(value.data), is_batched(value), *options)
            return handle(data.view(Batched) if is_batched(value) else data, value.dtype.scalar)

        return call

    def splat(builder: Any, kind: Any, value: Any) -> Any:
        data, shape = np.asarray(value.data).astype(numpy_type(value.dtype)), tuple(kind.shape)
        if not is_batched(value):
            return handle(np.full(shape, data.reshape(-1)[0], dtype=data.dtype), value.dtype.scalar)
        data = np.broadcast_to(data.reshape(-1, *[1] * len(shape)), (len(data), *shape))
        return handle(data.view(Batched), value.dtype.scalar)

    def reshape(data: np.ndarray, ahead: bool, shape: Any, *_: Any) -> np.ndarray:
        return data.reshape(*data.shape[:ahead], *shape)

    return {
        "create_get_program_id": program_id,
        "create_masked_load": load,
        "create_masked_store": store,
        "create_load": load_all,
        "create_store": store_all,
        "create_splat": splat,
        "create_unsplat": shaped(lambda data, ahead: data.reshape(-1)[: len(data) if ahead else 1]),
        "create_expand_dims": shaped(lambda data, ahead, axis: np.expand_dims(data, axis + ahead)),
        "create_broadcast": shaped(lambda data, ahead, shape: np.broadcast_to(data, (*data.shape[:ahead], *shape))),
        "create_reshape": shaped(reshape),
        "create_trans": shaped(
            lambda data, ahead, order: np.transpose(data, [*builtins.range(ahead), *(axis + ahead for axis in order)])
        ),
    }


def _to_tensor(operation: Any, values: Any, kind: Any) -> Any:
    from triton.runtime import interpreter

    tl, data = interpreter.tl, np.asarray(values).astype(interpreter._get_np_dtype(kind))
    batched = isinstance(values, Batched)
    shape = data.shape[batched:]
    data = data.view(Batched) if batched else data.reshape(shape or 1)
    return tl.core.tensor(
        interpreter.TensorHandle(data, kind.scalar), tl.block_type(kind.scalar, list(shape)) if shape else kind.scalar
    )


def _axis(operation: Any, data: np.ndarray) -> Any:
    return operation.axis + 1 if operation.axis is not None else tuple(builtins.range(1, data.ndim))


def _kept_or(function: Callable, original: Callable) -> Callable:
    """A method for batches, and the interpreter's own for all else."""

    def call(operation: Any, values: Any, *arguments: Any, **options: Any) -> Any:
        first = values[0] if isinstance(values, tuple) else values
        method = function if is_batched(first.handle) else original
        return method(operation, values, *arguments, **options)

    return call


def _sum(operation: Any, value: Any) -> Any:
    data = value.handle.data
    return operation.to_tensor(np.sum(data, axis=_axis(operation, data), keepdims=operation.keep_dims), value.dtype)


def _min_max(operation: Any, value: Any, val_reduce_op: Callable | None, idx_reduce_op: Callable | None = None) -> Any:
    if val_reduce_op is None or idx_reduce_op is not None:
        raise NotImplementedError("the place of a largest number, of many programs at a time")
    value = value[0] if isinstance(value, tuple) else value
    data = value.handle.data
    found = val_reduce_op(data, axis=_axis(operation, data), keepdims=operation.keep_dims)
    return operation.to_tensor(np.asarray(found).view(Batched), value.dtype)


def _refuse_batches(operation: Any, *_: Any) -> Any:
    raise NotImplementedError("a reduction by a function, of many programs at a time")


def _cumsum(operation: Any, value: Any) -> list[Any]:
    data = value.handle.data
    axis = operation.axis % (data.ndim - is_batched(value.handle)) + is_batched(value.handle)
    return [operation.to_tensor(np.cumsum(data, axis=axis), value.dtype)]


def truth(tensor: Any) -> bool:
    """Whether a condition holds, in all programs or in none."""
    data = tensor.handle.data
    if not isinstance(data, Batched):
        return bool(data) if data.size == 1 else True
    if data.ndim > 1:
        return True
    holds = np.asarray(data) != 0
    if holds.all() or not holds.any():
        return bool(holds[0])
    raise Divergence(holds)


def number(tensor: Any) -> int:
    """A number that is the same in all programs."""
    data = np.asarray(tensor.handle.data)
    if data.size > 1 and isinstance(tensor.handle.data, Batched) and (data != data[0]).any():
        raise Divergence(data)
    return int(data.reshape(-1)[0])


def _range(*bounds: Any) -> Iterator[Any]:
    """``range`` whose bounds may differ between programs, if all take as many turns."""
    handles = [getattr(bound, "handle", None) for bound in bounds]
    if not is_batched(*handles):
        return builtins.range(*bounds)
    return _turns(*([0, *bounds] if len(bounds) == 1 else bounds))


def _turns(start: Any, end: Any, step: Any = 1) -> Iterator[Any]:
    first, last = (
        np.asarray(bound.handle.data).astype(np.int64) if hasattr(bound, "handle") else int(bound)
        for bound in (start, end)
    )
    step = int(step)
    turns = np.maximum(0, -((first - last) // step))
    if (turns != turns[0]).any():
        raise Divergence(turns)
    for turn in builtins.range(int(turns[0])):
        yield start + turn * step
