"""Cases of :mod:`tests.kernels.triton_random_cases`: the kernels that a call launches, compiled as it calls them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from tests.kernels.neighbor_examples import neighbor_lists
from tests.kernels.selected_lists import selection
from tests.kernels.triton_launching import launches

#: Names of the kernels that are launched, and that are expected.
Names = tuple[list[str], list[str]]


def dropout(dtype: torch.dtype) -> Names:
    from gnnrec.kernels import dropout_triton

    states, rows = torch.zeros(100, 64, dtype=dtype), torch.arange(100)
    with launches() as names:
        dropout_triton.dropout(states, rows, -5, 0.1)
        dropout_triton.tanh_dropout(states.T[:, :64], rows[:64], 2**40, 0.1)
        dropout_triton.tanh_dropout_backward(states, states, rows, 5, 0.1)
    return names, ["_drop", "_drop", "_drop_backward"]


def small_integers() -> Names:
    from gnnrec.kernels import random_triton

    with launches() as names:
        random_triton.small_integers(3, torch.arange(5000, dtype=torch.int32), 256)
        random_triton.small_integers(3, torch.arange(5000)[::3], 10)
    return names, ["_small_integers"] * 2


def sampling() -> Names:
    from gnnrec.kernels import sampling_triton

    many, lists = torch.arange(100), neighbor_lists(True).lists
    tables = many.int(), many.float(), many.to(torch.uint8)
    with launches() as names:
        sampling_triton.draw_slots(7, many, 5, lists, 20, 100)
        sampling_triton.draw(7, many, many, 20)
        picked = sampling_triton.pick([(many, many), (many[:50], many[1:51])], many.int(), 100, 100, *tables)
        picked[1].select()
    return names, ["_draw_slots", "_draw", "_find", "_lower_bounds", "_take", "_lower_bounds", "_transpose"]


def by_column() -> Names:
    from gnnrec.kernels import column_order_triton

    chosen = selection("mixed")
    with launches() as names:
        column_order_triton.select_by_column(*chosen.edges_by_column, chosen.slot, chosen.sizes)
    return names, ["_count", "_select", "_starts"]


def check(function: Callable[[], Names]) -> None:
    actual, expected = function()
    assert actual == expected, actual


CASES: dict[str, Callable] = {
    "launches of dropout": functools.partial(dropout, torch.float32),
    "launches of dropout in bfloat16": functools.partial(dropout, torch.bfloat16),
    "launches of dropout in float64": functools.partial(dropout, torch.float64),
    "launches of small integers": small_integers,
    "launches of sampling": sampling,
    "launches of the order by column": by_column,
}
CASES = {name: functools.partial(check, case) for name, case in CASES.items()}
