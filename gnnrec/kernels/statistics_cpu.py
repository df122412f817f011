"""CPU implementation of :mod:`gnnrec.kernels.statistics`: each loop reads all edges once, user by user.

Each thread has its own table for sums over movies.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.edges import Edges
from gnnrec.kernels.threads import array, balanced_ranges, num_workers, run_compiled


@compiled
def _fold_sums(pointer, movie, rating, fold, first, last, user_count, user_sum, movie_count, movie_sum):
    for user in range(first, last):
        for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
            f, m, r = fold[edge], np.uint32(movie[edge]), rating[edge]
            user_count[f, user] += 1
            user_sum[f, user] += r
            movie_count[m, f] += 1
            movie_sum[m, f] += r


def fold_sums(edges: Edges, folds: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.statistics.fold_sums`."""
    pointer = array(edges.pointer)
    ranges = balanced_ranges(pointer, num_workers(edges.movie.numel()))
    user_count = torch.zeros(folds, len(pointer) - 1, dtype=torch.int32)
    user_sum = torch.zeros(folds, len(pointer) - 1, dtype=torch.float64)
    movie_count = torch.zeros(len(ranges), edges.movies, folds, dtype=torch.int32)
    movie_sum = torch.zeros(len(ranges), edges.movies, folds, dtype=torch.float64)
    read = pointer, edges.movie, edges.rating, edges.fold
    run_compiled(_fold_sums, ranges, read, [user_count, user_sum], [movie_count, movie_sum])
    return user_count, user_sum, movie_count.sum(0, dtype=torch.int32), movie_sum.sum(0)


@compiled
def _level_sums(pointer, movie, level, sender_scale, to_users, first, last, out):
    for user in range(first, last):
        for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
            m = np.uint32(movie[edge])
            if to_users:
                out[user, level[edge]] += 1 if sender_scale is None else sender_scale[m]
            else:
                out[m, level[edge]] += 1 if sender_scale is None else sender_scale[user]


def level_sums(
    pointer: Tensor,
    movie: Tensor,
    level: Tensor,
    shape: tuple[int, int],
    scale: Tensor | None,
    to_users: bool,
    dtype: torch.dtype,
) -> Tensor:
    """See :func:`gnnrec.kernels.statistics.level_sums`."""
    ranges = balanced_ranges(array(pointer), num_workers(movie.numel()))
    read = pointer, movie, level, scale, to_users
    if to_users:
        out = torch.zeros(shape, dtype=dtype)
        run_compiled(_level_sums, ranges, read, [out])
        return out
    tables = torch.zeros(len(ranges), *shape, dtype=dtype)
    run_compiled(_level_sums, ranges, read, tables=[tables])
    return tables[0] if len(ranges) == 1 else tables.sum(0)
