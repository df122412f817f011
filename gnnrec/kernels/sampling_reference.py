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
    if fan_out < 0:
        return node, number
    length = degree[node]
    first = number * length // max(fan_out, 1)
    interval = (number + 1) * length // max(fan_out, 1) - first
    drawn = first + rng.integers(stream, ids[node] * (fan_out + 1) + number, interval.clamp(min=1))
    rotation = rng.integers(stream, ids * (fan_out + 1) + fan_out, degree.clamp(min=1))
    position = (drawn + rotation[node]) % length.clamp(min=1)
    return node, torch.where(length > fan_out, position, number)


def pick(
    row: Tensor, edge: Tensor, slot: Tensor, rows: int, movie: Tensor, residual: Tensor, level: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling.pick`."""
    slot = slot[edge]
    carried = (slot >= 0).nonzero().squeeze(1)
    row, order = torch.sort(row[carried], stable=True)
    slot = slot[carried][order]
    counts = torch.zeros(rows, dtype=torch.int64, device=row.device)
    pointer = offsets(counts.index_add_(0, row, torch.ones_like(row, dtype=torch.int64)))
    return pointer, movie[slot], residual[slot], level[slot]
