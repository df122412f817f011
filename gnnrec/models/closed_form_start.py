"""Tables of the ranking model from a closed form: the item model with weighted users, at low rank."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.models.closed_form import item_weights

#: Exponent of a movie's weighted popularity in the penalty, and what is added to popularity before.
_PENALTY_POWER, _PENALTY_OFFSET = 0.3, 0.001
#: Blocks of the Krylov basis, and columns of a block beyond those that are wanted.
_BLOCKS, _OVERSAMPLING = 4, 32


@dataclasses.dataclass(frozen=True)
class ItemModel:
    """The closed form of one strength, which tables of any width are cut from.

    Attributes:
        gram: ``G = X' W X`` of the movies that have ratings, float ``[n, n]``.
        weights: ``B``, float ``[n, n]``.
        rated: Rows of those movies, int64 ``[n]``.
        num_movies: Movies of the dataset.
    """

    gram: Tensor
    weights: Tensor
    rated: Tensor
    num_movies: int

    def tables(self, dim: int) -> tuple[Tensor, Tensor]:
        """Source table ``B V`` and target table ``V``, float ``[movies, dim]``: scores ``x B V V'``.

        ``V`` are the first ``dim`` right singular vectors of ``sqrt(W) X B``, the eigenvectors of ``B' G B``: among all
        scores of this rank these are nearest to the scores of ``B`` for the users of training. Columns beyond the rank
        of ``sqrt(W) X B`` are zero.
        """
        vectors = top_eigenvectors(self.gram, self.weights, dim)
        source, target = (vectors.new_zeros(self.num_movies, dim) for _ in range(2))
        target[self.rated, : vectors.shape[1]] = vectors
        source[self.rated, : vectors.shape[1]] = self.weights @ vectors
        return source, target


def movie_penalty(popularity: Tensor, strength: float) -> Tensor:
    """L2 on what a movie says of all others: ``strength * (g_j / mean g + .001) ^ .3``, float ``[movies]``.

    Args:
        popularity: ``g``: ratings of each movie, weighted by user, float ``[movies]``; the mean is over those above 0.
        strength: Strength.
    """
    mean = popularity[popularity > 0].mean()
    return strength * (popularity / mean + _PENALTY_OFFSET) ** _PENALTY_POWER


def item_model(gram: Tensor, strength: float) -> ItemModel:
    """``B`` that minimises the weighted squared error with messages dropped at random, one of two, and L2 on its rows.

    In expectation that dropout is L2 of strength ``g_j``, the diagonal of ``gram``; :func:`movie_penalty` is added.
    Movies without ratings have no part in it, and rows of zeros in the tables.

    Args:
        gram: ``X' W X``, float ``[movies, movies]``; it is left as it is.
        strength: Strength of the penalty, above 0.

    Raises:
        UserError: The strength is too small for the matrix to be inverted.
    """
    rated = gram.diagonal().nonzero().squeeze(1)
    among_rated = gram[rated][:, rated] if rated.numel() < gram.shape[0] else gram
    popularity = among_rated.diagonal()
    penalty = movie_penalty(popularity, strength) + popularity
    return ItemModel(among_rated, item_weights(among_rated.clone(), penalty), rated, gram.shape[0])


def top_eigenvectors(gram: Tensor, weights: Tensor, count: int) -> Tensor:
    """The eigenvectors of ``B' G B`` with the largest eigenvalues, largest first, without those of eigenvalue zero.

    Exact for few movies; for many, Rayleigh and Ritz's approximation in a block Krylov space (Musco and Musco,
    "Randomized block Krylov methods for stronger and faster approximate singular value decomposition", NIPS 2015).

    Args:
        gram: ``G``, float ``[n, n]``.
        weights: ``B``, float ``[n, n]``.
        count: Vectors wanted.

    Returns:
        Float ``[n, at most count]``, orthonormal columns.
    """
    size = gram.shape[0]

    def multiply(block: Tensor) -> Tensor:
        return weights.T @ (gram @ (weights @ block))

    width = count + _OVERSAMPLING
    if size <= 2 * _BLOCKS * width:
        basis, projected = None, multiply(torch.eye(size, dtype=gram.dtype, device=gram.device))
    else:
        rows = torch.arange(size, device=gram.device)
        block = rng.normal_rows(rng.key("closed-form start"), rows, width).to(gram)
        blocks: list[Tensor] = []
        products: list[Tensor] = []
        for _ in range(_BLOCKS):
            for other in blocks * 2:  # twice, for the first time leaves rounding errors
                block = block - other @ (other.T @ block)
            blocks.append(torch.linalg.qr(block).Q)
            products.append(multiply(blocks[-1]))
            block = products[-1]
        basis = torch.cat(blocks, 1)
        projected = basis.T @ torch.cat(products, 1)
    values, vectors = torch.linalg.eigh((projected + projected.T) / 2)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    # Popularity alone makes the first value hundreds of times the others: a bound that grows with size, as numpy's for
    # the rank of a matrix, would throw most of them away in float32.
    smallest = values[:1] * 10 * torch.finfo(gram.dtype).eps
    vectors = vectors[:, values > smallest]
    return vectors if basis is None else basis @ vectors
