"""Similarities of item-kNN.

Sarwar et al., "Item-based collaborative filtering recommendation algorithms" (WWW 2001), with ratings as ones.
"""

from __future__ import annotations

from torch import Tensor

#: Relative difference of similarities that rounding makes.
ROUNDED = 1e-6


def cosine_neighbors(gram: Tensor, neighbors: int) -> Tensor:
    """Computes the similarities of each movie to its nearest ones.

    Args:
        gram: Numbers of common raters, float ``[movies, movies]``.
        neighbors: Nearest movies of a movie that count; those that tie with the last one, but for rounding, count too.

    Returns:
        ``S``, float ``[movies, movies]``: the scores of a user are ``x S``. Column ``j`` has the neighbors of movie
        ``j``, and 0 elsewhere.
    """
    length = gram.diagonal().sqrt().clamp(min=1)
    similarity = (gram / length).div_(length[:, None]).fill_diagonal_(0)
    if neighbors < len(similarity):
        lowest = similarity.topk(neighbors, 0).values[-1]
        similarity.masked_fill_(similarity < lowest * (1 - ROUNDED), 0)
    return similarity
