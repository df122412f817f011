"""Turns vectors so that they fit those of an earlier export, in closed form; no score changes.

A dot product is the same for vectors ``u R`` and ``m R`` with an orthogonal ``R``, so two trainings give vectors that
no index can compare, even where all scores agree. The ``R`` that brings new vectors nearest to the earlier ones of the
same users and movies is ``U V^T``, with the singular vectors of ``new^T old`` (Schönemann, "A generalized solution of
the orthogonal Procrustes problem", 1966). Columns of ratings and of interest are turned separately. Likewise a
constant may move from movie biases to user biases, and from these to the offset.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from gnnrec.inference.user_encoder import Vectors

#: A map this near to the identity is the identity, so that equal vectors stay equal bit for bit.
_SAME = 1e-6


@dataclasses.dataclass(frozen=True)
class Rows:
    """Vectors and biases of the same nodes in two exports.

    Attributes:
        new: ``[nodes, dim]``.
        old: ``[nodes, dim]``.
        new_bias: ``[nodes]``.
        old_bias: ``[nodes]``.
    """

    new: np.ndarray
    old: np.ndarray
    new_bias: np.ndarray
    old_bias: np.ndarray


@dataclasses.dataclass(frozen=True)
class Alignment:
    """The map of vectors and biases.

    Attributes:
        rotation: Orthogonal, float32 ``[dim, dim]``; zeros between the blocks.
        user_shift: Added to user biases.
        movie_shift: Added to movie biases.
        offset: Offset of all scores: that of the earlier export.
    """

    rotation: Tensor
    user_shift: float
    movie_shift: float
    offset: float

    def of_users(self, vectors: Vectors) -> Vectors:
        """Returns the vectors of users as the earlier export would have them."""
        return self._turned(vectors, self.user_shift)

    def of_movies(self, vectors: Vectors) -> Vectors:
        """Returns the vectors of movies as the earlier export would have them."""
        return self._turned(vectors, self.movie_shift)

    def _turned(self, vectors: Vectors, shift: float) -> Vectors:
        turned = vectors.vector @ self.rotation.to(vectors.vector)
        return dataclasses.replace(vectors, vector=turned, bias=vectors.bias + shift)


def align(users: Rows, movies: Rows, blocks: list[slice], offset: float, old_offset: float) -> Alignment:
    """Fits the map on users and movies, which count alike, however many there are.

    Args:
        users: Users that both exports have.
        movies: Movies that both exports have.
        blocks: Columns that are turned separately.
        offset: Offset of the new scores.
        old_offset: Offset of the earlier export.
    """
    dim = blocks[-1].stop
    rotation = np.zeros((dim, dim))
    for block in blocks:
        sides = [
            (side.new[:, block].astype(np.float64), side.old[:, block].astype(np.float64)) for side in (users, movies)
        ]
        rotation[block, block] = orthogonal_map(sides)
    if np.abs(rotation - np.eye(dim)).max() < _SAME:
        rotation = np.eye(dim)
    movie_shift = float(np.mean(movies.old_bias - movies.new_bias, dtype=np.float64)) if len(movies.old_bias) else 0.0
    movie_shift = movie_shift if abs(movie_shift) >= _SAME else 0.0
    user_shift = offset - old_offset - movie_shift
    return Alignment(torch.from_numpy(rotation).float(), user_shift, movie_shift, old_offset)


def orthogonal_map(sides: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The orthogonal ``R`` with the least ``sum ||new R - old||^2`` over sides scaled to the same length.

    Args:
        sides: ``new`` and ``old``, each float64 ``[nodes, dim]``.

    Returns:
        float64 ``[dim, dim]``.
    """
    products = np.zeros((sides[0][0].shape[1],) * 2)
    for new, old in sides:
        scale = np.linalg.norm(new) * np.linalg.norm(old)
        if scale > 0:
            products += new.T @ old / scale
    left, _, right = np.linalg.svd(products)
    return left @ right
