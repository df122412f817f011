"""Selects the implementation of a kernel: compiled by numba, a Triton kernel, or plain torch.

numba imports scipy.linalg with its first loop. It is imported here, before data take memory, because its BLAS waits
without end for memory that a limit (``ulimit -d``) does not allow.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
from collections.abc import Iterator
from types import ModuleType

import scipy.linalg  # noqa: F401
import torch

#: Device type -> package that compiles for it, and suffix of the modules that need it.
_COMPILERS = {"cpu": ("numba", "cpu"), "cuda": ("triton", "triton")}
_forced: list[str] = []
_tables: list[KernelTable] = []


def choose(device: torch.device, name: str, reference: ModuleType) -> ModuleType:
    """Returns ``gnnrec.kernels.NAME_cpu`` or ``NAME_triton`` if it exists and can run, else ``reference``.

    Args:
        device: Device of the tensors.
        name: Name of the kernels.
        reference: Module with the same functions in plain torch.
    """
    package, suffix = _COMPILERS.get(device.type, (None, None))
    if _forced:
        suffix = _forced[-1]
    elif package is None or not _installed(package):
        return reference
    module = f"gnnrec.kernels.{name}_{suffix}"
    return importlib.import_module(module) if suffix != "reference" and _installed(module) else reference


class KernelTable(dict[str, ModuleType]):
    """Maps device types to kernels: ``KERNELS[tensor.device.type].gather(...)``. Looks a module up once per device.

    Args:
        name: Name of the kernels.
        reference: Module with the same functions in plain torch.
    """

    def __init__(self, name: str, reference: ModuleType):
        super().__init__()
        self.name, self.reference = name, reference
        _tables.append(self)

    def __missing__(self, device_type: str) -> ModuleType:
        self[device_type] = module = choose(torch.device(device_type), self.name, self.reference)
        return module


@functools.cache
def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@contextlib.contextmanager
def forced(suffix: str) -> Iterator[None]:
    """Forces one implementation for all kernels, ``reference``, ``cpu`` or ``triton``, in tests."""
    _forced.append(suffix)
    _forget_choices()
    try:
        yield
    finally:
        _forced.pop()
        _forget_choices()


def _forget_choices() -> None:
    for table in _tables:
        table.clear()
