"""Runs Triton kernels that draw random numbers: ``python -m tests.kernels.triton_random_cases cpu | cuda | compiler``.

A separate program, because Triton reads ``TRITON_INTERPRET``, which runs kernels on a CPU, when it is imported. Prints
a JSON object with the error of each case, or an empty string.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.kernels import dispatch
from gnnrec.kernels.dropout import dropout, tanh_dropout
from gnnrec.kernels.random import small_integers
from tests.kernels import triton_random_launches, triton_sampling_cases
from tests.kernels.triton_compiling import CAPABILITIES, resources
from tests.kernels.triton_program import print_errors

#: Rows of dropout, out of order and beyond 32 bits.
ROWS = torch.cat([torch.arange(3, 90), torch.tensor([2**33 + 1, 0, 2**40])])
#: Keys of both signs, and one that fits into 32 bits.
KEYS = rng.key(1, "dropout"), rng.key(2, "dropout"), 5, -1, 2**63 - 1, -(2**63)
OPERATORS = {"dropout": (dropout, lambda states: states), "tanh_dropout": (tanh_dropout, torch.tanh)}
#: Data type, columns and rate; 2,060 columns are two tiles of a program.
DROPOUT = {
    "float32 64 0.1": (torch.float32, 64, 0.1),
    "float32 7 0.5": (torch.float32, 7, 0.5),
    "float32 1 0.97": (torch.float32, 1, 0.97),
    "float32 2060 0.3": (torch.float32, 2060, 0.3),
    "float32 64 0": (torch.float32, 64, 0.0),
    "float64 10 0.1": (torch.float64, 10, 0.1),
    "float64 64 0.5": (torch.float64, 64, 0.5),
}
#: The interpreter computes nonsense in bfloat16.
ONLY_ON_GPUS = {"bfloat16 64 0.1": (torch.bfloat16, 64, 0.1), "bfloat16 7 0.5": (torch.bfloat16, 7, 0.5)}
TOLERANCES = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 2**-7}


def states_of(width: int, dtype: torch.dtype, device: str) -> Tensor:
    generator = torch.Generator().manual_seed(width)
    return (3 * torch.randn(len(ROWS), width, generator=generator, dtype=torch.float64)).to(device, dtype)


def masked(name: str, dtype: torch.dtype, width: int, rate: float, device: str) -> None:
    """Compares values and gradients with masked states in double precision, and two runs bit for bit."""
    operator, before = OPERATORS[name]
    # The interpreter is slow.
    chosen = ROWS if width < 1000 else ROWS[-9:]
    states, tolerance = states_of(width, dtype, device)[: len(chosen)].requires_grad_(), TOLERANCES[dtype]
    exact, rows = states.detach().double().requires_grad_(), chosen.to(device)
    gradient = torch.randn(states.shape, generator=torch.Generator().manual_seed(2)).to(device, dtype)
    for stream in KEYS[:1]:
        mask = rng.dropout_mask(stream, chosen, width, rate).to(device)
        expected = before(exact) * mask / (1 - rate)
        actual, again = (operator(states, rows, stream, rate) for _ in range(2))
        assert actual.dtype == dtype and actual.is_contiguous() and torch.equal(actual, again)
        torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)
        assert torch.equal(actual == 0, ~mask)
        ours, twice = (torch.autograd.grad(out, states, gradient)[0] for out in (actual, again))
        theirs = torch.autograd.grad(expected, exact, gradient.double())[0]
        # 1 - tanh ** 2 loses digits where tanh is near 1.
        loose = tolerance * 8 / (1 - rate)
        torch.testing.assert_close(ours.double(), theirs, rtol=loose, atol=loose)
        assert torch.equal(ours, twice) and (ours[~mask] == 0).all()


def masks_of_keys(device: str) -> None:
    """All keys give the mask of gnnrec.rng bit for bit."""
    for stream in KEYS:
        for width in (3, 8):
            actual = dropout(torch.ones(len(ROWS), width, device=device), ROWS.to(device), stream, 0.4) > 0
            assert torch.equal(actual.cpu(), rng.dropout_mask(stream, ROWS, width, 0.4))


def small_values_of_tanh(device: str) -> None:
    """Small, large and infinite values have a small relative error, in both precisions."""
    magnitude = torch.cat([torch.logspace(-30, 2, 500, dtype=torch.float64), torch.tensor([0, float("inf")])])
    values = torch.cat([magnitude, -magnitude])[:, None].to(device)
    rows = torch.zeros(len(values), dtype=torch.int64, device=device)
    assert rng.dropout_mask(3, rows, 1, 0.0).all()
    for dtype, tolerance in ((torch.float32, 5e-7), (torch.float64, 1e-15)):
        rounded = values.to(dtype)
        actual = tanh_dropout(rounded, rows, 3, 0.0)
        torch.testing.assert_close(actual.double(), rounded.double().tanh(), rtol=tolerance, atol=0)
    assert tanh_dropout(torch.full((1, 1), float("nan"), device=device), rows[:1], 3, 0.0).isnan().all()


def views(name: str, device: str) -> None:
    """States and gradients may be views with any strides."""
    operator, before = OPERATORS[name]
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(12, len(ROWS), dtype=torch.float64, generator=generator).to(device).requires_grad_()
    mask, rows = rng.dropout_mask(9, ROWS, 6, 0.3).to(device), ROWS.to(device)
    for view in (states.T[:, ::2], states.reshape(len(ROWS), 12)[:, 3:9]):
        actual, expected = operator(view, rows, 9, 0.3), before(view) * mask / 0.7
        torch.testing.assert_close(actual, expected)
        one = torch.ones((), dtype=torch.float64, device=device)
        for gradient in (one.expand(actual.shape), torch.randn(6, len(ROWS), dtype=torch.float64).to(device).T):
            ours, theirs = (
                torch.autograd.grad(out, states, gradient, retain_graph=True)[0] for out in (actual, expected)
            )
            torch.testing.assert_close(ours, theirs)


def no_rows(device: str) -> None:
    rows = torch.zeros(0, dtype=torch.int64, device=device)
    for operator in (dropout, tanh_dropout):
        states = torch.zeros(0, 5, device=device, requires_grad=True)
        out = operator(states, rows, 1, 0.5)
        assert out.shape == (0, 5) and torch.autograd.grad(out.sum(), states)[0].shape == (0, 5)
        assert operator(torch.zeros(2, 0, device=device), rows.new_zeros(2), 1, 0.5).shape == (2, 0)


def bytes_of_counters(device: str) -> None:
    """Small integers are those of gnnrec.rng, for counters of both types, strided and empty."""
    counters = torch.cat([torch.arange(1100), torch.tensor([2**31 - 1, 2**31, 2**40 + 3, 2**63 - 1])])
    for stream in KEYS:
        for below in (1, 2, 7, 255, 256):
            expected = rng.integers(stream, counters, below)
            actual = small_integers(stream, counters.to(device), below)
            assert actual.dtype == torch.uint8 and torch.equal(actual.cpu().long(), expected)
    assert torch.equal(small_integers(5, counters.to(device)[::3], 9).cpu().long(), rng.integers(5, counters[::3], 9))
    small = counters[:1101].int()
    assert torch.equal(small_integers(5, small.to(device), 200).cpu().long(), rng.integers(5, small, 200))
    assert small_integers(5, counters[:0].to(device), 9).shape == (0,)


def run_cases(device: str) -> dict[str, Callable]:
    known = DROPOUT | (ONLY_ON_GPUS if device == "cuda" else {})
    cases: dict[str, Callable] = {
        f"{name} {case}": functools.partial(masked, name, *options)
        for name in OPERATORS
        for case, options in known.items()
    }
    cases |= {f"{name} of views": functools.partial(views, name) for name in OPERATORS}
    cases |= {
        "masks of keys": masks_of_keys,
        "small values of tanh": small_values_of_tanh,
        "no rows": no_rows,
        "small integers": bytes_of_counters,
    }
    return {name: functools.partial(case, device) for name, case in {**cases, **triton_sampling_cases.CASES}.items()}


def compile_cases() -> dict[str, Callable]:
    """Returns cases that compile kernels for GPUs: the compiler accepts less than the interpreter."""
    from gnnrec.kernels import dropout_triton, random_triton

    types = {"counters": "*i64", "out": "*u8"}
    cases = {"small integers": (random_triton._small_integers, types, {"stride": 1}, 1024, 0)}
    strides = {"row_stride": 64, "column_stride": 1}
    of_gradient = {f"gradient_{name}": value for name, value in strides.items()}
    for kind in ("*fp32", "*bf16", "*fp64"):
        types = dict.fromkeys(("states", "out", "gradient"), kind)
        # A thread reads two float64 columns of a word, and gets the word from another thread.
        block, shared = (128, 1024) if kind == "*fp64" else (512, 0)
        sizes = {"WIDTH": 64, "ROWS": block // 16, "SPAN": 16}
        for tanh in (False, True):
            name = f"{'tanh_' if tanh else ''}dropout {kind}"
            cases[name] = dropout_triton._drop, types, {"TANH": tanh, **strides, **sizes}, block, shared
        constants = strides | of_gradient | sizes
        cases[f"derivative {kind}"] = dropout_triton._drop_backward, types, constants, block, shared
    cases |= triton_sampling_cases.compile_cases()
    compiled = {
        f"{name} {capability}": functools.partial(compile_kernel, *case, capability)
        for name, case in cases.items()
        for capability in CAPABILITIES
    }
    return compiled | triton_random_launches.CASES


def compile_kernel(kernel, types: dict, constants: dict, block: int, shared: int, capability: int) -> None:
    """Compiles a kernel, and checks that its values stay in registers, and its bytes of shared memory."""
    integers = dict.fromkeys(("stream", "factor", "keep", "count", "below"), "i64")
    types = {"rows": "*i64", "threshold": "i32"} | integers | types
    used = resources(kernel, types, {**constants, "BLOCK": block}, capability, num_warps=4)
    assert used["spills"] == 0 and used["shared"] <= shared, used
    # 64 registers leave room for 8 programs of 4 warps on a multiprocessor; exp and log in float64 need more.
    assert 0 < used["registers"] <= (128 if types.get("states") == "*fp64" else 64), used


def main(where: str) -> None:
    with dispatch.forced("triton"):
        print_errors(compile_cases() if where == "compiler" else run_cases(where))


if __name__ == "__main__":
    main(sys.argv[1])
