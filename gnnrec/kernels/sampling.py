"""Draws neighbors, and builds lists of messages from drawn edges."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import dispatch, sampling_reference
from gnnrec.kernels.neighbor_lists import NeighborLists, Picked

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
        The node of each draw and the position in its list, both int64 ``[draws]``, sorted by node. The host waits for
        a device, because degrees decide on the number of draws.
    """
    return _KERNELS[ids.device.type].draw(stream, ids, degree, fan_out)


def draw_slots(
    stream: int, nodes: Tensor, first: int, lists: NeighborLists, fan_out: int, missing: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws like :func:`draw` into ``fan_out`` slots of each node, so that the host waits for no device.

    A slot is empty if the list is shorter, or if another rank has the drawn neighbor.

    Args:
        stream: Key from :func:`gnnrec.rng.key`.
        nodes: Rows of the nodes in the lists, int64 ``[nodes]``.
        first: Global row of row 0.
        lists: The lists of neighbors, of at least one edge.
        fan_out: Draws per node, at least 0.
        missing: Neighbor of empty slots.

    Returns:
        The row of each slot's node, the edge, -1 for an empty slot, and the neighbor, all int64 ``[nodes * fan_out]``.
    """
    # A loop for CPUs would gain nothing: their host computes the number of draws itself.
    kernels = _KERNELS[nodes.device.type]
    function = getattr(kernels, "draw_slots", sampling_reference.draw_slots)
    return function(stream, nodes, first, lists, fan_out, missing)


def pick(
    draws: list[tuple[Tensor, Tensor]],
    slot: Tensor,
    rows: int,
    columns: int,
    movie: Tensor,
    residual: Tensor,
    level: Tensor,
) -> list[Picked]:
    """Builds lists of the messages among each of two sets of drawn edges.

    A GPU has a place for every draw, so that the host does not wait for the number of messages: places after the last
    list are in none, and have the movie ``columns``.

    Args:
        draws: List of each draw, int64 ``[draws]``, in any order, and drawn edge, int64 ``[draws]``: for each set. On
            devices, the edge of an empty slot is -1.
        slot: Message of each edge, negative for none, int32 ``[edges]``.
        rows: Number of lists of each set.
        columns: Number of movies.
        movie: int32 ``[messages]``.
        residual: Float ``[messages]``.
        level: uint8 ``[messages]``.

    Returns:
        The messages of each list in the order of draws, for each set.
    """
    return _KERNELS[slot.device.type].pick(draws, slot, rows, columns, movie, residual, level)
