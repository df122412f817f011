"""Triton kernels on the pretend GPU: Triton's interpreter runs them, and every launch, load and store is counted.

They run if ``TRITON_INTERPRET`` is 1 before Triton is imported; otherwise the device has kernels in plain torch only. A
kernel is found by its name, as on CUDA: ``gnnrec.kernels.NAME_triton``.

Bytes are those of the addresses that loads and stores touch, without masked ones, each time that a program touches
them: no cache is assumed, and no transaction wider than the element. A gathered row counts once for every entry that
reads it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from gnnrec.kernels import dispatch
from tests.pretend_gpu.batched_interpreter import state
from tests.pretend_gpu.fast_interpreter import speed_up

#: Called after each launch with the name of the kernel and its bytes.
OnLaunch = Callable[[str, int], None]


def interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter in this process."""
    return os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None


def _refuse_atomics(*_: Any) -> None:
    raise RuntimeError("a kernel uses an atomic operation: its sums may differ from run to run")


def run_triton_kernels(
    device_type: str, tensor_class: type, on_launch: OnLaunch, on_mixing: Callable[[], None]
) -> None:
    """Makes Triton's kernels those of a device, for the rest of this process.

    Args:
        device_type: The device.
        tensor_class: Class of its tensors, with their values on the CPU in ``values``.
        on_launch: Called after each launch.
        on_mixing: Called before the error of a launch with tensors of two devices.
    """
    from triton.runtime.interpreter import InterpretedFunction, InterpreterBuilder

    speed_up()
    for name in ("create_atomic_rmw", "create_atomic_cas"):
        setattr(InterpreterBuilder, name, _refuse_atomics)
    run = InterpretedFunction.run

    def launch(kernel: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> None:
        tensors = [leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, Tensor)]
        on_device = [isinstance(tensor, tensor_class) for tensor in tensors]
        name = kernel_name(kernel)
        if any(on_device) != all(on_device):
            on_mixing()
            raise RuntimeError(f"kernel {name} got tensors on the CPU and others on {device_type}")
        values = tree_map(lambda leaf: leaf.values if isinstance(leaf, tensor_class) else leaf, (arguments, options))
        before = state.touched
        with _disable_current_modes(), torch.no_grad():
            run(kernel, *values[0], grid=grid, warmup=warmup, **values[1])
        if any(on_device) and not (isinstance(grid, tuple) and 0 in grid):
            on_launch(name, state.touched - before)

    InterpretedFunction.run = launch
    dispatch._COMPILERS[device_type] = dispatch._COMPILERS["cuda"]


def kernel_name(kernel: Any) -> str:
    """Name of a Triton function with its module: ``sums_triton._add_chunks``."""
    return f"{kernel.fn.__module__.rpartition('.')[2]}.{kernel.fn.__name__}"
