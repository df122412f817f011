"""Device ``pretend:0``: its tensors have values, which the CPU computes. An operator that mixes devices is an error.

Code that asks ``device.type != "cpu"`` takes the branch that it takes on CUDA. Kernels are those in plain torch, or, if
``TRITON_INTERPRET`` is 1, Triton's as on CUDA (:mod:`tests.pretend_gpu.triton_kernels`). Import this module in a
process of its own: torch cannot forget a device.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from gnnrec.kernels.operators import Operator
from tests.pretend_gpu.counting import Counts
from tests.pretend_gpu.triton_kernels import interpreted, run_triton_kernels

_setup_privateuseone_for_python_backend("pretend")
# torch.tensor(values, device=...) then makes a CPU tensor and copies it.
torch._C._set_only_lift_cpu_tensors(True)

DEVICE = torch.device("pretend", 0)
#: Operators that copy between devices.
_COPIES = ("_to_copy", "copy_", "set_", "lift_fresh")
#: Counts of :func:`counting`; operators are counted into the last one.
_counts: list[Counts] = []


class PretendTensor(Tensor):
    """Tensor on :data:`DEVICE`; ``values`` is a CPU tensor."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> PretendTensor:
        tensor = Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )
        tensor.values = values
        return tensor

    def __repr__(self, **kwargs: Any) -> str:
        return f"PretendTensor({self.values})"

    def tolist(self) -> list:
        for counts in _counts[-1:]:
            counts.wait("tolist")
        return self.values.tolist()

    def numpy(self, **kwargs: Any) -> None:
        raise TypeError("a tensor on a device has no NumPy array: copy it to the host with .cpu()")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, operator: Any, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _compute(operator, args, kwargs or {})


class _PretendMode(TorchDispatchMode):
    """Sees operators without a tensor of the device, such as ``torch.zeros(3, device=DEVICE)``."""

    def __torch_dispatch__(self, operator: Any, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _compute(operator, args, kwargs or {})


def _count_launch(name: str, touched: int) -> None:
    for counts in _counts[-1:]:
        counts.add_launch(name, touched)


def _count_mixing() -> None:
    for counts in _counts[-1:]:
        counts.mixing += 1


if interpreted():
    run_triton_kernels(DEVICE.type, PretendTensor, _count_launch, _count_mixing)


@contextlib.contextmanager
def pretend_gpu() -> Iterator[torch.device]:
    """Context in which :data:`DEVICE` can be used; yields the device."""
    with _PretendMode():
        yield DEVICE


@contextlib.contextmanager
def counting() -> Iterator[Counts]:
    """Context in which operators on the device are counted; yields the counts."""
    _counts.append(Counts())
    try:
        yield _counts[-1]
    finally:
        _counts.pop()


def _compute(operator: Any, args: tuple, kwargs: dict) -> Any:
    """Calls an operator with CPU tensors, and returns tensors on the device if its arguments are there."""
    name = operator._schema.name.split("::")[1]
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    on_device, target = any(isinstance(tensor, PretendTensor) for tensor in tensors), kwargs.get("device")
    if not on_device and not _is_device(target):
        return operator(*args, **kwargs)
    if operator.namespace == "gnnrec":
        with _PretendMode():
            return _function_of(operator._schema.name)(*args, **kwargs)
    if on_device and name not in _COPIES:
        _check_devices(operator, tensors)
    values = tree_map(lambda leaf: leaf.values if isinstance(leaf, PretendTensor) else leaf, (args, kwargs))
    if name == "_to_copy" and target is not None and not _is_device(target):
        for counts in _counts[-1:]:
            counts.wait("copy to the host")
        return operator(*values[0], **values[1])
    if _is_device(target):
        values[1]["device"] = torch.device("cpu")
    out = operator(*values[0], **values[1])
    for counts in _counts[-1:]:
        counts.add(name, *values, out)
    wrapped = tree_map(lambda leaf: PretendTensor(leaf) if isinstance(leaf, Tensor) else leaf, out)
    return return_and_correct_aliasing(operator, args, kwargs, wrapped)


@functools.cache
def _function_of(name: str) -> Callable:
    """The Python function of an operator of this package, which chooses a kernel by the device of its arguments."""
    for module in [module for path, module in sys.modules.items() if path.startswith("gnnrec.")]:
        for operator in vars(module).values():
            if isinstance(operator, Operator) and operator.dispatched._qualname == name:
                return operator.function
    raise LookupError(f"no module of gnnrec has the operator {name}")


def _is_device(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def _check_devices(operator: Any, tensors: list[Tensor]) -> None:
    """Raises an error if a tensor is on the CPU; torch allows those without dimensions."""
    for tensor in tensors:
        if not isinstance(tensor, PretendTensor) and tensor.dim() > 0:
            _count_mixing()
            raise RuntimeError(f"{operator} got a tensor {list(tensor.shape)} on the CPU and another one on {DEVICE}")
