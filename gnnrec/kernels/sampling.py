"""Draws neighbors, and builds lists of messages from drawn edges."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import dispatch, sampling_reference

_KERNELS = dispatch.KernelTable("sampling", sampling_reference)


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
        The node of each draw and the position in its list, both int64 ``[draws]``, sorted by node.
    """
    return _KERNELS[ids.device.type].draw(stream, ids, degree, fan_out)


def pick(
    row: Tensor, edge: Tensor, slot: Tensor, rows: int, movie: Tensor, residual: Tensor, level: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Builds lists of the messages among drawn edges.

    Args:
        row: List of each draw, int64 ``[draws]``, in any order.
        edge: Drawn edge, int64 ``[draws]``.
        slot: Message of each edge, -1 for none, int32 ``[edges]``.
        rows: Number of lists.
        movie: int32 ``[messages]``.
        residual: Float ``[messages]``.
        level: uint8 ``[messages]``.

    Returns:
        Start of each list, int64 ``[rows + 1]``, and movie, residual and level of its messages, in the order of draws.
    """
    kernels = _KERNELS[row.device.type]
    return kernels.pick(row, edge, slot, rows, movie, residual, level)
