"""CPU implementation of :mod:`gnnrec.kernels.order_sums`.

A pair of places ``p < q`` is in the histories of all movies after ``q``: their products are a geometric sum. So a
user's movies are visited once for each place within reach. Each thread adds to its own rows.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.threads import array, equal_ranges, num_workers, run_threads


@compiled
def _order_sums(pointer, movie, weight, decay, reach, first, last, products, successors):
    longest = 0
    for user in range(len(pointer) - 1):
        longest = max(longest, pointer[user + 1] - pointer[user])
    power, later = np.ones(reach + 1), np.zeros(longest + 1)
    for distance in range(1, reach + 1):
        power[distance] = power[distance - 1] * decay
    for count in range(1, longest + 1):  # decay^0 + decay^2 + ... of so many movies
        later[count] = later[count - 1] * decay * decay + 1
    for user in range(len(pointer) - 1):
        begin, end, own = pointer[user], pointer[user + 1], weight[user]
        for place in range(begin, end):
            row = movie[place]
            if row < first or row >= last:
                continue
            products[row, row] += own * later[end - 1 - place]
            for other in range(max(begin, place - reach), place):
                products[row, movie[other]] += own * power[place - other] * later[end - 1 - place]
            for other in range(place + 1, min(end, place + reach + 1)):
                products[row, movie[other]] += own * power[other - place] * later[end - 1 - other]
                successors[row, movie[other]] += own * power[other - place - 1]


def order_sums(
    pointer: Tensor, movie: Tensor, weight: Tensor, columns: int, decay: float, reach: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.order_sums.order_sums`."""
    products, successors = (torch.zeros(columns, columns, dtype=dtype) for _ in range(2))
    read = array(pointer), array(movie), array(weight), decay, reach
    written = array(products), array(successors)
    ranges = [some for some in equal_ranges(columns, num_workers(movie.numel())) if some[0] < some[1]]
    if ranges:
        run_threads(lambda number, first, last: _order_sums(*read, first, last, *written), ranges)
    return products, successors
