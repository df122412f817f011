"""Sums over pairs of the entries of lists, such as how many users rated both of two movies."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import gram_reference
from gnnrec.kernels.dispatch import choose
from gnnrec.kernels.lists import CSRLists


def pair_sums(lists: CSRLists, weight: Tensor | None, first: int, last: int) -> Tensor:
    """Sums products over the lists that have both of two columns, on the CPU: ``weight[i] * factor[a] * factor[b]``.

    Args:
        lists: Entries on the CPU, ascending and different within a list, with the factors of entries, float64, or None
            for ones; other values are not read.
        weight: Weight of each list, float64 ``[rows]``; None for ones.
        first: First column.
        last: One past the last column.

    Returns:
        float64 ``[last - first, columns - first]``. ``result[i, j]`` is the sum of the columns ``first + i`` and
        ``first + j`` for ``j >= i``, and 0 for ``j < i``.
    """
    return choose(torch.device("cpu"), "gram", gram_reference).pair_sums(lists, weight, first, last)
