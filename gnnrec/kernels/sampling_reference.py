"""Reference implementation of :mod:`gnnrec.kernels.sampling` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.kernels.ragged import offsets


def draw(stream: int, ids: Tensor, degree: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling.draw`."""
    counts = degree if fan_out < 0 else degree.clamp(max=fan_out)
    pointer = offsets(counts)
    node = torch.repeat_interleave(torch.arange(ids.numel(), device=ids.device), counts)
    number = torch.arange(node.numel(), device=ids.device) - pointer[node]
    return node, number if fan_out < 0 else _positions(stream, ids, degree, fan_out, node, number)


def draw_slots(stream: int, ids: Tensor, degree: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling.draw_slots`."""
    slot = torch.arange(ids.numel() * fan_out, device=ids.device)
    node, number = slot // max(fan_out, 1), slot % max(fan_out, 1)
    position = _positions(stream, ids, degree, fan_out, node, number)
    return node, torch.where(number < degree[node], position, -1)


def _positions(stream: int, ids: Tensor, degree: Tensor, fan_out: int, node: Tensor, number: Tensor) -> Tensor:
    """Returns the positions in their lists of draws ``number`` of nodes."""
    length = degree[node]
    first = number * length // max(fan_out, 1)
    interval = (number + 1) * length // max(fan_out, 1) - first
    drawn = first + rng.integers(stream, ids[node] * (fan_out + 1) + number, interval.clamp(min=1))
    rotation = rng.integers(stream, ids * (fan_out + 1) + fan_out, degree.clamp(min=1))
    position = (drawn + rotation[node]) % length.clamp(min=1)
    return torch.where(length > fan_out, position, number)


def find(row: Tensor, edge: Tensor, slot: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sorts the messages among drawn edges by list; the host does not wait for their number.

    Args:
        row, edge, slot, rows: As in :func:`gnnrec.kernels.sampling.pick`; the edge of an empty slot is -1.

    Returns:
        Start of each list, int64 ``[rows + 1]``, the order of draws, int64 ``[draws]``, of which the first
        ``pointer[-1]`` have messages, and the message of each draw, int32 ``[draws]``.
    """
    message = torch.where(edge >= 0, slot[edge.clamp(min=0)], -1)
    row, order = torch.sort(torch.where(message >= 0, row, rows), stable=True)
    return torch.searchsorted(row, torch.arange(rows + 1, device=row.device)), order, message


def take(
    order: Tensor, message: Tensor, count: int, movie: Tensor, residual: Tensor, level: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns movie, residual and level of the first ``count`` draws in ``order``."""
    message = message[order[:count]]
    return movie[message], residual[message], level[message]
