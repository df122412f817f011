"""Makes Triton's interpreter faster, with the same results; scans add in another order, as GPUs do.

Triton 3.7 patches its language anew in every launch and in every call of a function, builds a table of types for every
result, and scans number by number.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tests.pretend_gpu import batched_interpreter
from tests.pretend_gpu.batched_interpreter import is_batched


@functools.cache
def speed_up() -> None:
    """Changes the interpreter for the rest of this process."""
    import triton.language as tl
    from triton.runtime import interpreter

    patch_language, types = interpreter._patch_lang, _types(tl)
    patched: set[frozenset[int]] = set()

    def patch_once(function: Any) -> Any:
        languages = frozenset(id(value) for value in function.__globals__.values() if value in (tl, tl.core))
        if languages not in patched:
            patch_language(function)
            patched.add(languages)
            tl.tensor.__bool__, tl.tensor.__index__ = batched_interpreter.truth, batched_interpreter.number
        return interpreter._LangPatchScope()  # nothing to restore

    def numpy_type(kind: Any) -> np.dtype:
        kind = kind.element_ty if isinstance(kind, tl.block_type) else kind
        return types["pointer" if isinstance(kind, tl.pointer_type) else kind.name]

    interpreter._patch_lang, interpreter._get_np_dtype = patch_once, numpy_type
    interpreter.ScanOps.generic_scan = _scan
    batched_interpreter.install()
    _share_types(tl.core)


def _share_types(core: Any) -> None:
    """Makes block types of the same element and shape one object, which has the shape that its tensors have."""
    init, made = core.block_type.__init__, {}
    no_shape, one = core.tuple([]), core.constexpr(1)

    def new(cls: type, element: Any, shape: Any) -> Any:
        key = id(element), tuple(core._unwrap_if_constexpr(size) for size in shape)
        if key not in made:
            # A type that is known keeps its element, so that no other object gets its id.
            made[key] = kind = object.__new__(cls)
            init(kind, element, shape)
            kind.of_tensors = core.tuple([core.constexpr(size) for size in kind.shape]), core.constexpr(kind.numel)
        return made[key]

    def init_tensor(tensor: Any, handle: Any, kind: Any) -> None:
        tensor.handle, tensor.type, tensor.dtype = handle, kind, kind.scalar
        tensor.shape, tensor.numel = kind.of_tensors if kind.is_block() else (no_shape, one)

    core.block_type.__new__, core.block_type.__init__ = new, lambda *_: None
    core.tensor.__init__ = init_tensor


def _types(tl: Any) -> dict[str, np.dtype]:
    from triton.runtime.interpreter import _get_np_dtype

    kinds = [kind for kind in vars(tl).values() if isinstance(kind, tl.dtype) and kind != tl.void]
    known = {"pointer": np.dtype(np.uint64)}
    for kind in kinds:
        try:
            known[kind.name] = _get_np_dtype(kind)
        except KeyError:  # a type without tensors
            continue
    return known


def _scan(scan: Any, values: Any) -> list[Any]:
    """Combines each number with those 1, 2, 4 and so on places before, whole tensors at a time."""
    data, ahead = [value.handle.data for value in values], is_batched(values[0].handle)
    if any(is_batched(value.handle) != ahead for value in values):
        shape = np.broadcast_shapes(*(part.shape for part in data))
        data, ahead = [np.broadcast_to(part, shape).view(batched_interpreter.Batched) for part in data], True
    shape, axis = data[0].shape, scan.axis + ahead
    place = np.arange(shape[axis]).reshape([-1 if number == axis else 1 for number in range(len(shape))])
    step = 1
    while step < shape[axis]:
        before = [scan.to_tensor(np.roll(part, step, axis), value.dtype) for part, value in zip(data, values)]
        own = [scan.to_tensor(part, value.dtype) for part, value in zip(data, values)]
        combined = scan.combine_fn.fn(*before, *own)
        combined = combined if isinstance(combined, tuple) else (combined,)
        data = [np.where(place >= step, new.handle.data, part).view(type(part)) for new, part in zip(combined, data)]
        step *= 2
    return [scan.to_tensor(part, value.dtype) for part, value in zip(data, values)]
