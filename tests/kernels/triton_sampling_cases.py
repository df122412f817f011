"""Cases of :mod:`tests.kernels.triton_random_cases` for Triton kernels that sample, and that order lists by column."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.kernels import column_order, dispatch, sampling
from gnnrec.kernels.neighbor_lists import NeighborLists
from tests.kernels.neighbor_examples import neighbor_lists
from tests.kernels.selected_lists import Selection, selection

FAN_OUTS = (-1, 0, 1, 3, 16, 200)


def nodes_of(device: str, count: int) -> tuple[Tensor, Tensor]:
    """Returns rows and degrees, some of which are 0, small, or large."""
    random = np.random.default_rng(count)
    degrees = np.concatenate([[0, 1, 3, 4, 70_000, 16, 17], random.integers(0, 60, count)])[:count]
    ids = random.integers(0, 2**33, count)
    return torch.from_numpy(ids).to(device), torch.from_numpy(degrees).to(device)


def draws(count: int, device: str) -> None:
    """Draws equal those in plain torch on the host."""
    ids, degree = nodes_of(device, count)
    for fan_out in FAN_OUTS:
        stream = rng.key(3, "neighbours", fan_out)
        with dispatch.forced("reference"):
            node, position = sampling.draw(stream, ids.cpu(), degree.cpu(), fan_out)
        actual, again = (sampling.draw(stream, ids, degree, fan_out) for _ in range(2))
        for ours, twice, expected in zip(actual, again, (node, position), strict=True):
            assert ours.dtype == torch.int64 and torch.equal(ours.cpu(), expected) and torch.equal(ours, twice)


def slots(part: bool, device: str) -> None:
    """Slots equal those in plain torch on the host, for whole lists and for parts of them."""
    lists = neighbor_lists(part).lists
    tensors = {name: None if value is None else value.to(device) for name, value in vars(lists).items()}
    moved, nodes = NeighborLists(**tensors), torch.arange(len(lists.degree)).flip(0)
    for fan_out in FAN_OUTS[1:]:
        stream = rng.key(3, "neighbours", fan_out)
        with dispatch.forced("reference"):
            expected = sampling.draw_slots(stream, nodes, 2**33, lists, fan_out, -7)
        assert fan_out < 3 or 0 < (expected[1] < 0).sum() < expected[1].numel()
        for _ in range(2):
            actual = sampling.draw_slots(stream, nodes.to(device), 2**33, moved, fan_out, -7)
            for ours, theirs in zip(actual, expected, strict=True):
                assert ours.dtype == theirs.dtype and torch.equal(ours.cpu(), theirs)


def messages(count: int, device: str) -> None:
    """Messages among draws, some of which are empty slots, equal those in plain Python, also sorted by movie."""
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
        3 * known,
        *(table.to(device) for table in tables),
    )
    for (row, edge), picked in zip(sets, results, strict=True):
        kept = [[slot[e] for r, e in zip(row, edge) if r == number and e >= 0 <= slot[e]] for number in range(rows)]
        pointer = [0, *np.cumsum([len(one) for one in kept]).tolist()]
        assert picked.pointer.dtype == torch.int64 and picked.pointer.tolist() == pointer
        chosen = torch.tensor([place for one in kept for place in one], dtype=torch.int64)
        entries = picked.movie, picked.residual, picked.level
        for values, table in zip(entries, tables, strict=True):
            assert values.dtype == table.dtype and values.numel() == len(edge)
            assert torch.equal(values[: pointer[-1]].cpu(), table[chosen])
        assert (picked.movie[pointer[-1] :] == 3 * known).all()
        owner = torch.repeat_interleave(torch.arange(rows), torch.tensor(pointer).diff())
        column, order = torch.sort(tables[0][chosen], stable=True)
        starts, row_by_movie, order_by_movie = picked.select()
        assert torch.equal(starts.cpu(), torch.searchsorted(column, torch.arange(3 * known + 1, dtype=torch.int32)))
        assert row_by_movie.dtype == torch.int32 and order_by_movie.dtype == torch.int64
        assert torch.equal(row_by_movie[: pointer[-1]].cpu().long(), owner[order])
        assert torch.equal(order_by_movie[: pointer[-1]].cpu(), order)
        assert order_by_movie.numel() == len(edge) and (order_by_movie < max(len(edge), 1)).all()


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
    "slots of whole lists": functools.partial(slots, False),
    "slots of parts of lists": functools.partial(slots, True),
    "messages of no draws": functools.partial(messages, 0),
    "messages of 1,300 draws": functools.partial(messages, 1300),
    **{f"by column: {name}": functools.partial(by_column, name) for name in ("mixed", "none", "all", "no edges")},
}


def compile_cases() -> dict[str, tuple]:
    """Returns kernel, types, constants, block, and most bytes of shared memory."""
    from gnnrec.kernels import column_order_triton, picking_triton, sampling_triton

    ids = "ids nodes degree pointer start node_out position_out edge_out neighbor_out row edge order starts entry_out"
    places = dict.fromkeys([*ids.split(), "first_row", "first_edge", "second_row", "second_edge", "before"], "*i64")
    sizes = "slots draws edges first missing rows lists first_draws begin places"
    entries = "slot message message_out neighbor movie movie_out row_out keys key_out counts"
    types = places | dict.fromkeys(sizes.split(), "i64") | dict.fromkeys(entries.split(), "*i32") | {"columns": "i32"}
    taken = {"residual": "*fp32", "residual_out": "*fp32", "level": "*u8", "level_out": "*u8"}
    edges = types | dict.fromkeys(("row", "order", "message_row", "target_row"), "*i32")
    edges |= {"blocks": "i64", "messages": "i64", "counts": "*i64"}
    edges |= dict.fromkeys(("message_starts", "target_starts"), "*i64")
    edges |= dict.fromkeys(("message_out", "target_out"), "*i32")
    whole = {"start": None, "edge": None}
    return {
        "draw": (sampling_triton._draw, types, {"FAN_OUT": 20}, 256, 0),
        "slots of whole lists": (sampling_triton._draw_slots, types, {"FAN_OUT": 20, **whole}, 256, 0),
        "slots of parts": (sampling_triton._draw_slots, types | {"edge": "*i32"}, {"FAN_OUT": 20}, 256, 0),
        "find": (picking_triton._find, types, {}, 512, 0),
        "lower bounds": (picking_triton._lower_bounds, types, {}, 512, 0),
        "take": (picking_triton._take, types | taken, {}, 512, 0),
        "transpose": (picking_triton._transpose, types, {}, 512, 4096),
        "count": (column_order_triton._count, edges, {}, 512, 64),
        "select": (column_order_triton._select, edges, {}, 512, 4096),
        "starts": (column_order_triton._starts, edges, {}, 512, 64),
    }
