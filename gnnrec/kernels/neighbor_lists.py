"""Lists of neighbors to draw from, and lists of the messages among drawn edges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import Tensor

from gnnrec.kernels.lists import ByColumn


@dataclasses.dataclass(frozen=True)
class NeighborLists:
    """Lists of the neighbors of nodes, of which this rank has a part.

    Attributes:
        degree: Lengths of the whole lists, int64 ``[nodes]``.
        pointer: Start of this rank's part of each list, int64 ``[nodes + 1]``.
        neighbor: Neighbor of each place in the parts, int32 ``[edges]``.
        start: Place of the part in the whole list, int64 ``[nodes]``; None where a part is the whole list.
        edge: Edge of each place, int32 or int64 ``[edges]``; None where it is the place.
    """

    degree: Tensor
    pointer: Tensor
    neighbor: Tensor
    start: Tensor | None = None
    edge: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Picked:
    """Messages among a set of drawn edges, by list.

    Attributes:
        pointer: Start of each list, int64 ``[lists + 1]``.
        movie: int32 ``[entries]``.
        residual: Float ``[entries]``.
        level: uint8 ``[entries]``.
        select: Computes the lists sorted by movie where that is cheaper than a sort of one set; None to sort.
    """

    pointer: Tensor
    movie: Tensor
    residual: Tensor
    level: Tensor
    select: Callable[[], ByColumn] | None = None
