"""Compiles kernels of calls on CPU tensors as a launch on a GPU would: with its types, constants and alignments."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock


@contextlib.contextmanager
def launches(capability: int = 90) -> Iterator[list[str]]:
    """Context in which Triton compiles kernels for a GPU in the place of launching them; yields their names."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, make_backend
    from triton.runtime.jit import JITFunction, create_function_from_signature

    target, names = GPUTarget("cuda", capability, 32), []
    backend = make_backend(target)

    def compile_only(kernel, *args, grid, warmup, **kwargs):
        assert 1 <= len(grid) <= 3 and all(size > 0 for size in grid)
        bind = create_function_from_signature(kernel.signature, kernel.params, backend)
        bound, specialization, options = bind(*args, **kwargs)
        options, signature, constants, attributes = kernel._pack_args(backend, kwargs, bound, specialization, options)
        source = ASTSource(kernel, signature, constants, attributes)
        triton.compile(source, target=target, options=options.__dict__)
        names.append(kernel.__name__)

    with mock.patch.object(JITFunction, "run", compile_only):
        yield names
