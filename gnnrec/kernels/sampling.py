"""Draws neighbors, and builds lists of messages from drawn edges."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import dispatch, sampling_reference

_KERNELS = dispatch.KernelTable("sampling", sampling_reference)

Lists = tuple[Tensor, Tensor, Tensor, Tensor]


def draw(stream: int, ids: Tensor, degree: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
    """Draws positions in neighbour lists, without replacement, each with the same probability.

    A list with at most ``fan_out`` entries is taken whole. A longer one is divided into ``fan_out`` intervals whose
    lengths differ by at most one; one position is drawn in each interval, and all positions are rotated by one more
    draw. So every position has probability ``fan_out / degree``, none is drawn twice, and no sort is needed.

    Args:
        stream: Key from :func:`gnnrec.rng.key`.
        ids: Global rows of the nodes, int64 ``[nodes]``; draws depend on the row and the degree only.
        degree: Lengths of the nodes' lists, int64 ``[nodes]``.
        fan_out: Draws per node; negative for all neighbors.

    Returns:
        The node of each draw and the position in its list, both int64 ``[draws]``, sorted by node. The host waits for
        a device, because degrees decide on the number of draws.
    """
    return _KERNELS[ids.device.type].draw(stream, ids, degree, fan_out)


def draw_slots(stream: int, ids: Tensor, degree: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
    """Draws like :func:`draw` into ``fan_out`` slots of each node, so that the host waits for no device.

    Args:
        stream, ids, degree: As in :func:`draw`.
        fan_out: Draws per node, at least 0.

    Returns:
        The node of each slot and the position in its list, -1 for an empty slot, both int64 ``[nodes * fan_out]``.
    """
    # A loop for CPUs would gain nothing: their host computes the number of draws itself.
    return getattr(_KERNELS[ids.device.type], "draw_slots", sampling_reference.draw_slots)(stream, ids, degree, fan_out)


def pick(
    draws: list[tuple[Tensor, Tensor]], slot: Tensor, rows: int, movie: Tensor, residual: Tensor, level: Tensor
) -> list[Lists]:
    """Builds lists of the messages among each of several sets of drawn edges.

    The host waits for a device once, for the numbers of messages.

    Args:
        draws: List of each draw, int64 ``[draws]``, in any order, and drawn edge, int64 ``[draws]``: for each set. On
            devices, the edge of an empty slot is -1.
        slot: Message of each edge, negative for none, int32 ``[edges]``.
        rows: Number of lists of each set.
        movie: int32 ``[messages]``.
        residual: Float ``[messages]``.
        level: uint8 ``[messages]``.

    Returns:
        For each set, start of each list, int64 ``[rows + 1]``, and movie, residual and level of its messages, in the
        order of draws.
    """
    kernels = _KERNELS[slot.device.type]
    if hasattr(kernels, "pick"):
        return [kernels.pick(row, edge, slot, rows, movie, residual, level) for row, edge in draws]
    sets = [kernels.find(row, edge, slot, rows) for row, edge in draws]
    counts = torch.stack([pointer[-1] for pointer, _, _ in sets]).tolist()
    return [
        (pointer, *kernels.take(order, message, count, movie, residual, level))
        for (pointer, order, message), count in zip(sets, counts)
    ]
