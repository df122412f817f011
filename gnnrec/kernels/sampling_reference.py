"""Reference implementation of :mod:`gnnrec.kernels.sampling` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.kernels.neighbor_lists import NeighborLists, Picked
from gnnrec.kernels.ragged import offsets


def draw(stream: int, ids: Tensor, degree: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling.draw`."""
    counts = degree if fan_out < 0 else degree.clamp(max=fan_out)
    pointer = offsets(counts)
    node = torch.repeat_interleave(torch.arange(ids.numel(), device=ids.device), counts)
    number = torch.arange(node.numel(), device=ids.device) - pointer[node]
    return node, number if fan_out < 0 else _positions(stream, ids, degree, fan_out, node, number)


def draw_slots(
    stream: int, nodes: Tensor, first: int, lists: NeighborLists, fan_out: int, missing: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling.draw_slots`."""
    slot = torch.arange(nodes.numel() * fan_out, device=nodes.device)
    node, number = slot // max(fan_out, 1), slot % max(fan_out, 1)
    position = _positions(stream, nodes + first, lists.degree[nodes], fan_out, node, number)
    row = nodes[node]
    full = number < lists.degree[row]
    if lists.start is not None:
        position = position - lists.start[row]
    full &= (position >= 0) & (position < lists.pointer.diff()[row])
    place = torch.where(full, lists.pointer[row] + position, 0)
    edge = place if lists.edge is None else lists.edge[place].to(torch.int64)
    return row, torch.where(full, edge, -1), torch.where(full, lists.neighbor[place].to(torch.int64), missing)


def _positions(stream: int, ids: Tensor, degree: Tensor, fan_out: int, node: Tensor, number: Tensor) -> Tensor:
    """Returns the positions in their lists of draws ``number`` of nodes."""
    length = degree[node]
    first = number * length // max(fan_out, 1)
    interval = (number + 1) * length // max(fan_out, 1) - first
    drawn = first + rng.integers(stream, ids[node] * (fan_out + 1) + number, interval.clamp(min=1))
    rotation = rng.integers(stream, ids * (fan_out + 1) + fan_out, degree.clamp(min=1))
    position = (drawn + rotation[node]) % length.clamp(min=1)
    return torch.where(length > fan_out, position, number)


def pick(
    draws: list[tuple[Tensor, Tensor]],
    slot: Tensor,
    rows: int,
    columns: int,
    movie: Tensor,
    residual: Tensor,
    level: Tensor,
) -> list[Picked]:
    """See :func:`gnnrec.kernels.sampling.pick`. The host waits once, for the numbers of messages."""
    sets = [_find(row, edge, slot, rows) for row, edge in draws]
    counts = torch.stack([pointer[-1] for pointer, _ in sets]).tolist()
    chosen = [message[:count] for (_, message), count in zip(sets, counts)]
    return [
        Picked(pointer, movie[message], residual[message], level[message])
        for (pointer, _), message in zip(sets, chosen)
    ]


def _find(row: Tensor, edge: Tensor, slot: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Sorts the messages among drawn edges by list, those of draws without one last.

    Returns:
        Start of each list, int64 ``[rows + 1]``, and the message of each draw, int32 ``[draws]``.
    """
    message = torch.where(edge >= 0, slot[edge.clamp(min=0)], -1)
    row, order = torch.sort(torch.where(message >= 0, row, rows), stable=True)
    return torch.searchsorted(row, torch.arange(rows + 1, device=row.device)), message[order]
