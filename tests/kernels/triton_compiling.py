"""Compiles Triton kernels for GPUs that need not be present, and reads the resources that they take.

Import this module in a program that runs without ``TRITON_INTERPRET``: the interpreter has no compiler.
"""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

#: Compute capabilities of A100, H100 and B200.
CAPABILITIES = (80, 90, 100)


def resources(
    kernel: Any, types: dict[str, str], constants: dict[str, Any], capability: int, num_warps: int = 1
) -> dict[str, int]:
    """Compiles a kernel as a real launch does, and returns the resources of a program.

    A launch tells the compiler which pointers and integers are divisible by 16, without which loads are not vectorized.
    Here all pointers are, as those of tensors that torch allocates, and integers whose type ends with ``:16``.

    Args:
        kernel: The function with ``triton.jit``.
        types: Types of the arguments that are not constants, such as ``*fp32``, ``i32`` or ``i32:16``.
        constants: Values of the others; None for an absent tensor.
        capability: Compute capability times 10.
        num_warps: Warps of a program.

    Returns:
        ``registers`` of a thread, ``spills``, bytes that a thread writes to and reads from memory because registers do
        not suffice, and ``shared``, bytes of shared memory.
    """
    from triton.compiler import ASTSource

    unknown = set(kernel.arg_names) - types.keys() - constants.keys()
    if unknown:
        raise ValueError(f"{kernel.__name__} needs types or values of {sorted(unknown)}")
    kinds = {name: types[name] for name in kernel.arg_names if name not in constants}
    signature = {name: kinds[name].removesuffix(":16") if name in kinds else "constexpr" for name in kernel.arg_names}
    aligned = [name for name, kind in kinds.items() if kind.startswith("*") or kind.endswith(":16")]
    attributes = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    source = ASTSource(kernel, signature, dict(constants), attributes)
    return resources_of(source, capability, {"num_warps": num_warps})


def resources_of(source: Any, capability: int, options: dict[str, Any]) -> dict[str, int]:
    """Compiles a source of Triton's compiler and returns what :func:`resources` does."""
    import triton
    from triton import knobs
    from triton.backends.compiler import GPUTarget

    log = io.StringIO()
    # A kernel from the cache would have no log.
    with knobs.compilation.scope(), knobs.nvidia.scope(), contextlib.redirect_stdout(log):
        knobs.compilation.always_compile = knobs.nvidia.dump_ptxas_log = True
        target = GPUTarget("cuda", capability, 32)
        compiled = triton.compile(source, target=target, options=options)
    registers = re.findall(r"Used (\d+) registers", log.getvalue())
    spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", log.getvalue())
    if not registers or not spills:
        raise RuntimeError(f"the log of ptxas has no resources: {log.getvalue()}")
    return {
        "registers": max(map(int, registers)),
        "spills": sum(map(int, spills)),
        "shared": compiled.metadata.shared,
    }
