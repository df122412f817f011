"""Compares Triton kernels with plain torch: ``python -m tests.kernels.triton_cases cpu``, or ``cuda``, or ``compiler``.

A separate program, because Triton reads ``TRITON_INTERPRET``, which runs kernels on a CPU, when it is imported. Prints
a JSON object with the error of each case, or an empty string.
"""

from __future__ import annotations

import functools
import sys

import torch

from gnnrec.kernels import dispatch
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.pairs import pair_scores
from gnnrec.kernels.sums import gather_sums, scatter_sums
from tests.kernels.ragged_examples import assert_near, ragged_lists, random_table
from tests.kernels.triton_program import print_errors

ROWS, COLUMNS = 12, 9
#: Entries of the longest list and of a chunk, smaller for the interpreter, which is slow.
LONGEST, CHUNK = {"cpu": 150, "cuda": 1500}, {"cpu": 64, "cuda": 512}
#: Tolerances of sums, and of gradients, which have the dtype of the table.
TOLERANCES = {torch.float64: (1e-12, 1e-12), torch.float32: (1e-5, 1e-5), torch.bfloat16: (1e-5, 2**-8)}
#: Data type, width, and flags for a second table, factors and row scales.
SUMS = {
    "float64 10 second factor scale": (torch.float64, 10, True, True, True),
    "float32 64 second factor scale": (torch.float32, 64, True, True, True),
    "float32 64 second factor": (torch.float32, 64, True, True, False),
    "float32 32 scale": (torch.float32, 32, False, False, True),
    "float32 32": (torch.float32, 32, False, False, False),
    "float32 10 factor scale": (torch.float32, 10, False, True, True),
    "bfloat16 64 second factor scale": (torch.bfloat16, 64, True, True, True),
    "bfloat16 10": (torch.bfloat16, 10, False, False, False),
    "float32 600": (torch.float32, 600, False, False, False),
    "float32 300 second factor scale": (torch.float32, 300, True, True, True),
}
PAIRS = {
    "float32 300": (torch.float32, 300),
    "float32 64": (torch.float32, 64),
    "float32 32": (torch.float32, 32),
    "float32 10": (torch.float32, 10),
    "float64 10": (torch.float64, 10),
}


def compare(function, tables: list, lists: CSRLists, exact: torch.dtype) -> None:
    """Compares values and gradients of both implementations, and two runs of Triton's bit for bit."""
    results = {}
    for name in ("reference", "triton", "again"):
        with dispatch.forced("reference" if name == "reference" else "triton"):
            actual = function(*tables, lists)
            inputs = [table for table in tables if table is not None]
            gradient = torch.linspace(-1, 2, actual.numel(), dtype=exact, device=actual.device).view_as(actual)
            results[name] = [actual, *torch.autograd.grad(actual, inputs, gradient)]
    tolerances = TOLERANCES[tables[0].dtype]
    for number, (expected, actual, again) in enumerate(zip(*results.values())):
        assert actual.dtype == expected.dtype and actual.device == expected.device
        assert torch.equal(actual, again), "two runs differ"
        assert_near(actual, expected, tolerances[number > 0])


def moved(lists: CSRLists, device: str) -> CSRLists:
    tensors = {name: getattr(lists, name) for name in ("pointer", "entry", "factor", "row_scale")}
    tensors = {name: None if tensor is None else tensor.to(device) for name, tensor in tensors.items()}
    return CSRLists(columns=lists.columns, weight=lists.weight, **tensors)


def table(rows: int, width: int, dtype: torch.dtype, seed: int, device: str) -> torch.Tensor:
    return random_table(rows, width, dtype, seed).detach().to(device).requires_grad_()


def sums(direction: str, case: tuple, device: str) -> None:
    dtype, width, second, factor, row_scale = case
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    lists = moved(ragged_lists(ROWS, COLUMNS, LONGEST[device], exact, 1.4, factor, row_scale), device)
    count, function = (COLUMNS, gather_sums) if direction == "gather" else (ROWS, scatter_sums)
    tables = [table(count, width, dtype, 1, device), table(count, width, dtype, 2, device) if second else None]
    compare(function, tables, lists, exact)


def pairs(case: tuple, device: str) -> None:
    dtype, width = case
    lists = moved(ragged_lists(ROWS, COLUMNS, LONGEST[device], dtype), device)
    tables = [table(ROWS, width, dtype, 1, device), table(COLUMNS, width, dtype, 2, device)]
    biases = [table(1, count, dtype, 3, device).detach()[0].requires_grad_() for count in (ROWS, COLUMNS)]
    compare(pair_scores, tables + biases, lists, dtype)


def columns_of_a_wider_table(device: str) -> None:
    wide = table(COLUMNS, 64, torch.float32, 1, device)
    lists = moved(ragged_lists(ROWS, COLUMNS, 10, torch.float32), device)
    compare(lambda wide, lists: gather_sums(wide[:, :32], wide[:, 32:], lists), [wide], lists, torch.float32)


def no_entries(device: str) -> None:
    lists = CSRLists(torch.zeros(4, dtype=torch.int64), torch.zeros(0, dtype=torch.int32), 3)
    lists, one = moved(lists, device), table(3, 8, torch.float32, 1, device)
    compare(gather_sums, [one, None], lists, torch.float32)
    compare(scatter_sums, [one, None], lists, torch.float32)
    bias = torch.ones(3, device=device, requires_grad=True)
    compare(
        pair_scores,
        [one, one.detach().clone().requires_grad_(), bias, bias.detach().clone().requires_grad_()],
        lists,
        torch.float32,
    )


def run_cases(device: str) -> dict:
    cases = {
        f"{way} {name}": functools.partial(sums, way, case)
        for way in ("gather", "scatter")
        for name, case in SUMS.items()
    }
    cases |= {f"pairs {name}": functools.partial(pairs, case) for name, case in PAIRS.items()}
    cases |= {"columns of a wider table": columns_of_a_wider_table, "no entries": no_entries}
    return {name: functools.partial(case, device) for name, case in cases.items()}


def compile_cases() -> dict:
    """Returns cases that compile kernels for Hopper GPUs: the compiler accepts less than the interpreter."""
    from gnnrec.kernels import chunks_triton, pairs_triton, sums_triton

    sizes = {"WEIGHT": 1.25, "WIDTH": 64, "CHUNK": 512, "ROWS": 16, "COLUMNS": 64}
    scales = ["order", "entry_scale", "list_scale"]
    modes = {
        "one table": ["second", "factor", "scaled_out", "factor_out", *scales],
        "one scaled table": ["second", "scaled_out", "factor_out", "order", "entry_scale"],
        "two tables": ["scaled_out", "factor_out", "order", "entry_scale"],
        "two tables by column": ["scaled_out", "factor_out", "list_scale"],
        "pair": ["second", "factor_out", "order", "entry_scale"],
        "pair by column": ["second", "factor_out", "list_scale"],
        "gradients of pairs": ["value", "scaled_out", "entry_scale", "list_scale"],
    }
    cases = {
        f"{mode} {kind}": (sums_triton._add_chunks, {"value": kind, "second": kind, **sizes, **dict.fromkeys(none)})
        for mode, none in modes.items()
        for kind in ("*fp32", "*bf16")
    }
    for name in ("two tables by column", "pair by column"):  # as selected from all edges
        kernel, known = cases[f"{name} *bf16"]
        cases[f"{name} *bf16, short order"] = kernel, {**known, "order": "*i32"}
    rows, columns = chunks_triton.tiles(chunks_triton.WIDEST)
    wide = {"WEIGHT": 1.0, "WIDTH": 26_744, "CHUNK": 512, "ROWS": rows, "COLUMNS": columns}
    cases["rows over all movies"] = sums_triton._add_chunks, {**wide, **dict.fromkeys(modes["one table"])}
    del sizes["WEIGHT"]
    cases["chunks"] = sums_triton._add_to_lists, sizes
    cases["scores"] = pairs_triton._scores, sizes
    return {name: functools.partial(compile_kernel, *case) for name, case in cases.items()}


def compile_kernel(kernel, known: dict) -> None:
    """Compiles a kernel as a launch does, without spills; ``known`` has types and values that names do not tell."""
    from tests.kernels import triton_compiling

    types = {
        **dict.fromkeys(("pointer", "order"), "*i64"),
        **dict.fromkeys(("lists", "extras"), "i32"),
        **dict.fromkeys(("value_stride", "second_stride", "row_stride", "column_stride"), "i32:16"),
        "entry": "*i32",
    }
    types |= {name: value for name, value in known.items() if isinstance(value, str)}
    constants = {name: value for name, value in known.items() if not isinstance(value, str)}
    types = {name: types.get(name, "*fp32") for name in kernel.arg_names if name not in constants}
    taken = triton_compiling.resources(kernel, types, constants, 90)
    assert taken["spills"] == 0 and 0 < taken["registers"] <= 255, taken


def main(where: str) -> None:
    from gnnrec.kernels import chunks_triton

    chunks_triton.CHUNK = CHUNK.get(where, chunks_triton.CHUNK)
    print_errors(compile_cases() if where == "compiler" else run_cases(where))


if __name__ == "__main__":
    main(sys.argv[1])
