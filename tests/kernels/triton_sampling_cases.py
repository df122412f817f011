"""Cases of :mod:`tests.kernels.triton_random_cases` for Triton kernels that sample, and that order lists by column."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.kernels import column_order, dispatch, sampling
from tests.kernels.selected_lists import Selection, selection

FAN_OUTS = (-1, 0, 1, 3, 16, 200)


def nodes_of(device: str, count: int) -> tuple[Tensor, Tensor]:
    """Returns rows and degrees, some of which are 0, small, or large."""
    random = np.random.default_rng(count)
    degrees = np.concatenate([[0, 1, 3, 4, 70_000, 16, 17], random.integers(0, 60, count)])[:count]
    ids = random.integers(0, 2**33, count)
    return torch.from_numpy(ids).to(device), torch.from_numpy(degrees).to(device)


def draws(count: int, device: str) -> None:
    """Draws equal those in plain torch on the host, with and without slots."""
    ids, degree = nodes_of(device, count)
    for fan_out in FAN_OUTS:
        stream = rng.key(3, "neighbours", fan_out)
        with dispatch.forced("reference"):
            node, position = sampling.draw(stream, ids.cpu(), degree.cpu(), fan_out)
        actual, again = (sampling.draw(stream, ids, degree, fan_out) for _ in range(2))
        for ours, twice, expected in zip(actual, again, (node, position), strict=True):
            assert ours.dtype == torch.int64 and torch.equal(ours.cpu(), expected) and torch.equal(ours, twice)
        if fan_out >= 0:
            slots = [tensor.cpu() for tensor in sampling.draw_slots(stream, ids, degree, fan_out)]
            assert torch.equal(slots[0], torch.arange(count).repeat_interleave(fan_out))
            full = slots[1] >= 0
            assert torch.equal(slots[0][full], node) and torch.equal(slots[1][full], position)
            assert (slots[1][~full] == -1).all()


def messages(count: int, device: str) -> None:
    """Messages among draws, some of which are empty slots, equal those in plain Python."""
    random = np.random.default_rng(count)
    rows, edges, known = 13, 50, 31
    slot = np.full(edges, -1)
    slot[np.sort(random.choice(edges, known, replace=False))] = np.arange(known)
    # The last list has no draws. An empty slot has no row either.
    sets = [(random.integers(0, rows - 1, n), random.integers(-1, edges, n)) for n in (count, count // 2)]
    sets = [(np.where(edge < 0, -1, row), edge) for row, edge in sets]
    tables = torch.arange(known, dtype=torch.int32) * 3, torch.randn(known), torch.arange(known).to(torch.uint8)
    results = sampling.pick(
        [tuple(torch.from_numpy(part).to(device) for part in one) for one in sets],
        torch.from_numpy(slot).to(device, torch.int32),
        rows,
        *(table.to(device) for table in tables),
    )
    for (row, edge), (pointer, *actual) in zip(sets, results, strict=True):
        kept = [[slot[e] for r, e in zip(row, edge) if r == number and e >= 0 <= slot[e]] for number in range(rows)]
        assert pointer.dtype == torch.int64 and pointer.tolist() == [0, *np.cumsum([len(one) for one in kept])]
        chosen = torch.tensor([place for one in kept for place in one], dtype=torch.int64)
        for values, table in zip(actual, tables, strict=True):
            assert values.dtype == table.dtype and torch.equal(values.cpu(), table[chosen])


def by_column(name: str, device: str) -> None:
    """Selected messages and targets are those that a sort by column gives, twice the same."""
    chosen: Selection = selection(name)
    arguments = [tensor.to(device) for tensor in chosen.edges_by_column]
    for index in (torch.int32, torch.int64):
        arguments[1:3] = [tensor.to(index) for tensor in arguments[1:3]]
        for _ in range(2):
            actual = column_order.select_by_column(*arguments, chosen.slot.to(device), chosen.sizes)
            everything = *chosen.by_column, *chosen.targets_by_column
            for ours, expected in zip((*actual[0], *actual[1]), everything, strict=True):
                assert ours.dtype == expected.dtype and torch.equal(ours.cpu(), expected)


CASES: dict[str, Callable] = {
    "draws of no nodes": functools.partial(draws, 0),
    "draws of 7 nodes": functools.partial(draws, 7),
    "draws of 60 nodes": functools.partial(draws, 60),
    "messages of no draws": functools.partial(messages, 0),
    "messages of 1,300 draws": functools.partial(messages, 1300),
    **{f"by column: {name}": functools.partial(by_column, name) for name in ("mixed", "none", "all", "no edges")},
}


def compile_cases() -> dict[str, tuple]:
    """Returns kernel, types, constants, block, and most bytes of shared memory."""
    from gnnrec.kernels import column_order_triton, sampling_triton

    places = dict.fromkeys(("ids", "degree", "pointer", "node_out", "position_out", "row", "edge", "order"), "*i64")
    places |= dict.fromkeys(("slots", "draws", "edges"), "i64")
    entries = dict.fromkeys(("slot", "message", "message_out", "owner_out", "movie", "movie_out"), "*i32")
    types = places | entries | {"rows": "i32", "before": "*i64"}
    taken = {"residual": "*fp32", "residual_out": "*fp32", "level": "*u8", "level_out": "*u8"}
    edges = types | {"row": "*i32", "order": "*i32", "blocks": "i64", "messages": "i64", "counts": "*i64"}
    edges |= dict.fromkeys(("message_row", "target_row"), "*i32")
    edges |= dict.fromkeys(("message_out", "target_out", "message_starts", "target_starts"), "*i64")
    return {
        "draw": (sampling_triton._draw, types, {"FAN_OUT": 20}, 512, 0),
        "draw slots": (sampling_triton._draw, types, {"FAN_OUT": 20, "pointer": None}, 512, 0),
        "find": (sampling_triton._find, types, {}, 512, 0),
        "take": (sampling_triton._take, types | taken, {}, 512, 0),
        "count": (column_order_triton._count, edges, {}, 512, 64),
        "select": (column_order_triton._select, edges, {}, 512, 4096),
        "starts": (column_order_triton._starts, edges, {}, 512, 64),
    }
