"""Lists of neighbors for tests of draws."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from gnnrec.kernels.neighbor_lists import NeighborLists


@dataclasses.dataclass
class Example:
    """Lists, and the same as Python objects.

    Attributes:
        lists: The lists.
        whole: Length of each whole list.
        own: Edge and neighbor at each place of each whole list that this rank has.
    """

    lists: NeighborLists
    whole: list[int]
    own: list[dict[int, tuple[int, int]]]


def neighbor_lists(part: bool) -> Example:
    """Draws lists of 0 to 500 neighbors; if ``part``, this rank has a third of each, with edges in another order."""
    random = np.random.default_rng(1)
    whole = np.array([0, 1, 3, 4, 500, 10, 11, *random.integers(0, 60, 20).tolist()])
    start = whole // 3 if part else np.zeros_like(whole)
    length = -(-whole // 3) if part else whole
    pointer = np.concatenate([[0], np.cumsum(length)])
    neighbor, edge = (random.permutation(pointer[-1]) for _ in range(2))
    lists = NeighborLists(
        torch.from_numpy(whole),
        torch.from_numpy(pointer),
        torch.from_numpy(neighbor).int(),
        torch.from_numpy(start) if part else None,
        torch.from_numpy(edge).int() if part else None,
    )
    edge = edge if part else np.arange(pointer[-1])
    own = [
        {place + int(first): (int(edge[begin + place]), int(neighbor[begin + place])) for place in range(count)}
        for first, begin, count in zip(start, pointer.tolist(), length.tolist())
    ]
    return Example(lists, whole.tolist(), own)
