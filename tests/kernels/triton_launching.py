"""Compiles kernels of calls on CPU tensors as a launch on a GPU would: with its types, constants and alignments."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock


@contextlib.contextmanager
def launches(capability: int = 90) -> Iterator[list[str]]:
    """Context in which Triton compiles kernels for a GPU in the place of launching them; yields their names."""
    import triton
    from triton.backends.compiler import GPUTarget

    names = []

    def compile_only(source, options):
        triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        names.append(source.fn.__name__)

    with _in_place_of_launches(capability, compile_only):
        yield names


@contextlib.contextmanager
def launched_resources(capability: int) -> Iterator[list[tuple[str, dict[str, int]]]]:
    """Does what :func:`launches` does, and yields names with the resources of :mod:`tests.kernels.triton_compiling`."""
    from tests.kernels import triton_compiling

    found = []

    def compile_only(source, options):
        found.append((source.fn.__name__, triton_compiling.resources_of(source, capability, options)))

    with _in_place_of_launches(capability, compile_only):
        yield found


@contextlib.contextmanager
def _in_place_of_launches(capability: int, compile_source: Callable[[Any, dict[str, Any]], None]) -> Iterator[None]:
    """Context in which each launch passes its source and its options to a function."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, make_backend
    from triton.runtime.jit import JITFunction, create_function_from_signature

    backend = make_backend(GPUTarget("cuda", capability, 32))

    def compile_only(kernel, *args, grid, warmup, **kwargs):
        assert 1 <= len(grid) <= 3 and all(size > 0 for size in grid)
        bind = create_function_from_signature(kernel.signature, kernel.params, backend)
        bound, specialization, options = bind(*args, **kwargs)
        options, signature, constants, attributes = kernel._pack_args(backend, kwargs, bound, specialization, options)
        compile_source(ASTSource(kernel, signature, constants, attributes), options.__dict__)

    with mock.patch.object(JITFunction, "run", compile_only):
        yield
