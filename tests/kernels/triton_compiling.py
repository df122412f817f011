"""Compiles Triton kernels for GPUs that need not be there, and reads the resources that they use."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

#: Compute capabilities of A100, H100 and B200.
CAPABILITIES = (80, 90, 100)


def resources(kernel, types: dict, constants: dict, capability: int, num_warps: int = 1) -> dict[str, int]:
    """Compiles a kernel with the attributes of a real launch: torch aligns its tensors to 16 bytes and more.

    Args:
        kernel: Function with the decorator ``triton.jit``.
        types: Type of each argument, such as ``"*fp32"`` or ``"i64"``.
        constants: Values of constant arguments; None for a missing tensor.
        capability: 80, 90 or 100.
        num_warps: Warps of a program.

    Returns:
        ``registers`` of a thread, bytes of ``spills`` of a thread, and bytes of ``shared`` memory of a program.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
    pointers = [number for number, kind in enumerate(signature.values()) if kind.startswith("*")]
    attributes = {(number,): [["tt.divisibility", 16]] for number in pointers}
    source = ASTSource(kernel, signature, constants, attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": num_warps})
    program = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "kernel.cubin"
        file.write_bytes(compiled.asm["cubin"])
        listing = subprocess.run([program, "-res-usage", file], capture_output=True, text=True, check=True).stdout
    registers, stack, local = (int(re.search(rf"{name}:(\d+)", listing)[1]) for name in ("REG", "STACK", "LOCAL"))
    return {"registers": registers, "spills": stack + local, "shared": compiled.metadata.shared}
