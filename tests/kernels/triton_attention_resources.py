"""Compiles Triton kernels of attention: ``python -m tests.kernels.triton_attention_resources``.

Prints a JSON object with the resources of each kernel for GPUs.
"""

from __future__ import annotations

import json

import torch
from torch import Tensor

from gnnrec.kernels import dispatch, list_order_reference, ragged
from gnnrec.kernels.attention import largest_logits
from gnnrec.kernels.chunks_triton import CHUNK
from tests.kernels.triton_attention_cases import ATTENTION, EVERYTHING, SLOPE, WIDE, recording, sums_case
from tests.kernels.triton_compiling import CAPABILITIES, resources

#: Kernels that are compiled: case, to users or to movies, and compute capabilities. Wide ones are those with wide rows.
COMPILED = {
    "float32 to users": (ATTENTION["float32 2x32 everything"], True, CAPABILITIES),
    "float32 to movies": (ATTENTION["float32 2x32 everything"], False, (90,)),
    "bfloat16": ((torch.bfloat16, 2, 32, 10, EVERYTHING), True, (90,)),
    "float64": ((torch.float64, 2, 32, 10, EVERYTHING), False, (90,)),
    "wide: two blocks of heads": (WIDE["float32 4x100 everything"][1], True, (90,)),
    "wide: two blocks of channels": (WIDE["float32 1x300 everything"][1], False, (90,)),
}
POINTERS = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.bfloat16: "*bf16",
    torch.int32: "*i32",
    torch.int64: "*i64",
    torch.uint8: "*u8",
}


def recorded_launches(case: tuple, to_users: bool) -> list[tuple]:
    """Returns kernels and arguments of all launches of a layer, on a list that is longer than a chunk."""
    function, inputs, lists, _ = sums_case(to_users, case, 2 * CHUNK + 400, "cpu")
    level = torch.zeros(lists.entry.numel(), dtype=torch.uint8)
    with recording() as launches, dispatch.forced("triton"):
        ragged._KERNELS["cpu"] = list_order_reference  # until the choice of kernels is forgotten
        largest_logits(*inputs[2:], lists, level, SLOPE, to_users)
        function(*inputs, lists).sum().backward()
    return launches


def types_and_constants(kernel, arguments: tuple) -> tuple[dict, dict]:
    """Returns the types of a launch's arguments and the values of constant ones, as Triton derives them."""
    types, constants = {}, {}
    for parameter, argument in zip(kernel.params, arguments, strict=True):
        if parameter.is_constexpr or argument is None:
            constants[parameter.name] = argument
        elif isinstance(argument, Tensor):
            types[parameter.name] = POINTERS[argument.dtype]
        elif isinstance(argument, float):
            types[parameter.name] = "fp32"
        else:
            aligned = argument % 16 == 0 and not parameter.do_not_specialize
            types[parameter.name] = "i32:16" if aligned else "i32"
    return types, constants


def main() -> None:
    """Compiles the kernels of all launches of a layer, with the arguments of the launches."""
    kernels = {}
    for name, (case, to_users, capabilities) in COMPILED.items():
        for kernel, arguments, num_warps in recorded_launches(case, to_users):
            if name.startswith("wide") and kernel.__name__ not in ("sum_chunks", "gradients_of_chunks"):
                continue
            types, constants = types_and_constants(kernel, arguments)
            for capability in capabilities:
                # A kernel that several launches share is compiled once.
                key = kernel.__name__, repr(types), repr(constants), capability
                kernels[key] = name, kernel, types, constants, num_warps, capability
    result = {}
    for number, (name, kernel, *arguments, num_warps, capability) in enumerate(kernels.values()):
        key = f"{kernel.__name__} {number} {name} {capability}"
        result[key] = resources(kernel, *arguments, capability, num_warps)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
