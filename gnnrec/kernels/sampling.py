"""Drawing neighbours, and turning what was drawn into lists."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import dispatch, sampling_reference


def draw(stream: int, ids: Tensor, degree: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
    """Draws positions in neighbour lists, without replacement, each with the same probability.

    A list with at most ``fan_out`` entries is taken whole. A longer one is cut into ``fan_out`` stretches whose lengths
    differ by at most one, one position is drawn in each, and all are rotated by one more draw. So every position has
    probability ``fan_out / degree``, nothing is drawn twice, and nothing is sorted.

    Args:
        stream: A key made by :func:`gnnrec.rng.key`.
        ids: Global rows of the nodes, int64 ``[nodes]``; what is drawn depends on them alone.
        degree: Lengths of their lists, int64 ``[nodes]``.
        fan_out: Draws a node; negative for all neighbours.

    Returns:
        The node of each draw and the position in its list, both int64 ``[draws]``, sorted by node.
    """
    return dispatch.choose(ids.device, "sampling", sampling_reference).draw(stream, ids, degree, fan_out)


def pick(
    row: Tensor, edge: Tensor, slot: Tensor, rows: int, movie: Tensor, residual: Tensor, level: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """CSRLists of the messages among drawn edges.

    Args:
        row: List of each draw, int64 ``[draws]``, in any order.
        edge: What was drawn, int64 ``[draws]``.
        slot: Which message each edge is, -1 for none, int32 ``[edges]``.
        rows: Number of lists.
        movie: int32 ``[messages]``.
        residual: Float ``[messages]``.
        level: uint8 ``[messages]``.

    Returns:
        Where each list starts, int64 ``[rows + 1]``, and movie, residual and level of its messages, in the order of
        the draws.
    """
    kernels = dispatch.choose(row.device, "sampling", sampling_reference)
    return kernels.pick(row, edge, slot, rows, movie, residual, level)
