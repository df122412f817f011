"""Which implementation of a kernel runs: compiled by numba, a Triton kernel, or plain torch."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
from collections.abc import Iterator
from types import ModuleType

import torch

#: Device type -> package that compiles for it, and the ending of the modules that need it.
_COMPILERS = {"cpu": ("numba", "cpu"), "cuda": ("triton", "triton")}
_forced: list[str] = []


def choose(device: torch.device, name: str, reference: ModuleType) -> ModuleType:
    """The module ``gnnrec.kernels.NAME_cpu`` or ``NAME_triton`` where one exists and can run, else ``reference``.

    Args:
        device: Where the tensors are.
        name: Name of the kernels.
        reference: The same functions in plain torch.
    """
    package, ending = _COMPILERS.get(device.type, (None, None))
    if _forced:
        ending = _forced[-1]
    elif package is None or not _installed(package):
        return reference
    module = f"gnnrec.kernels.{name}_{ending}"
    return importlib.import_module(module) if ending != "reference" and _installed(module) else reference


@functools.cache
def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@contextlib.contextmanager
def forced(ending: str) -> Iterator[None]:
    """Makes every kernel run in one implementation: ``reference``, ``cpu`` or ``triton``. For tests."""
    _forced.append(ending)
    try:
        yield
    finally:
        _forced.pop()
