"""Initial tables of the ranking model: a low-rank factorization of the closed-form item model with weighted users."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.models.closed_form import item_weights

#: Exponent of a movie's weighted popularity in the penalty, and the constant added to popularity before.
_PENALTY_POWER, _PENALTY_OFFSET = 0.3, 0.001
#: Blocks of the Krylov basis, and columns of a block in excess of the requested vectors.
BLOCKS, OVERSAMPLING = 4, 32


@dataclasses.dataclass(frozen=True)
class ItemModel:
    """The closed form for one L2 strength, from which tables of any width are computed.

    Attributes:
        gram: ``G = X' W X`` of the movies that have ratings, float ``[n, n]``.
        weights: ``B``, float ``[n, n]``.
        rated: Rows of these movies, int64 ``[n]``.
        num_movies: Movies of the dataset.
    """

    gram: Tensor
    weights: Tensor
    rated: Tensor
    num_movies: int

    def tables(self, dim: int) -> tuple[Tensor, Tensor]:
        """Computes message embeddings ``B V`` and targets ``V``, float ``[movies, dim]``; scores are ``x B V V'``.

        ``V`` are the first ``dim`` right singular vectors of ``sqrt(W) X B``, the eigenvectors of ``B' G B``: this is
        the best approximation of rank ``dim`` to the scores of ``B`` for the training users. Columns beyond the rank
        of ``sqrt(W) X B`` are zero.
        """
        vectors = top_eigenvectors(self.gram, self.weights, dim)
        embedding, target = (vectors.new_zeros(self.num_movies, dim) for _ in range(2))
        target[self.rated, : vectors.shape[1]] = vectors
        embedding[self.rated, : vectors.shape[1]] = self.weights @ vectors
        return embedding, target


def movie_penalty(popularity: Tensor, l2: float) -> Tensor:
    """Computes L2 on the weights of each movie for all others: ``l2 * (g_j / mean g + .001) ^ .3``, ``[movies]``.

    Args:
        popularity: ``g``: ratings of each movie, weighted by user, float ``[movies]``; the mean is over those above 0.
        l2: Strength of the penalty.
    """
    mean = popularity[popularity > 0].mean()
    return l2 * (popularity / mean + _PENALTY_OFFSET) ** _PENALTY_POWER


def item_model(gram: Tensor, l2: float) -> ItemModel:
    """Computes ``B`` that minimizes the weighted squared error with L2 on its rows and messages dropped at rate 0.5.

    In expectation this dropout equals L2 of strength ``g_j``, the diagonal of ``gram``, to which
    :func:`movie_penalty` is added. Movies without ratings are left out; their rows of the tables are zero.

    Args:
        gram: ``X' W X``, float ``[movies, movies]``; not modified.
        l2: Strength of the penalty, above 0.

    Raises:
        UserError: ``l2`` is too small for the matrix to be inverted.
    """
    rated = gram.diagonal().nonzero().squeeze(1)
    among_rated = gram[rated][:, rated] if rated.numel() < gram.shape[0] else gram
    popularity = among_rated.diagonal()
    penalty = movie_penalty(popularity, l2) + popularity
    return ItemModel(among_rated, item_weights(among_rated.clone(), penalty), rated, gram.shape[0])


def top_eigenvectors(gram: Tensor, weights: Tensor, count: int) -> Tensor:
    """Computes the eigenvectors of ``B' G B`` with the largest nonzero eigenvalues, in descending order.

    Exact for few movies; for many, the Rayleigh-Ritz approximation in a block Krylov space (Musco and Musco,
    "Randomized block Krylov methods for stronger and faster approximate singular value decomposition", NIPS 2015).

    Args:
        gram: ``G``, float ``[n, n]``.
        weights: ``B``, float ``[n, n]``.
        count: Number of vectors.

    Returns:
        Float ``[n, at most count]``, orthonormal columns.
    """
    size = gram.shape[0]

    def multiply(block: Tensor) -> Tensor:
        return weights.T @ (gram @ (weights @ block))

    width = count + OVERSAMPLING
    if size <= 2 * BLOCKS * width:
        basis, projected = None, multiply(torch.eye(size, dtype=gram.dtype, device=gram.device))
    else:
        rows = torch.arange(size, device=gram.device)
        block = rng.normal_rows(rng.key("closed-form start"), rows, width).to(gram)
        blocks: list[Tensor] = []
        products: list[Tensor] = []
        for _ in range(BLOCKS):
            for other in blocks * 2:  # twice, because the first pass leaves rounding errors
                block = block - other @ (other.T @ block)
            blocks.append(torch.linalg.qr(block).Q)
            products.append(multiply(blocks[-1]))
            block = products[-1]
        basis = torch.cat(blocks, 1)
        projected = basis.T @ torch.cat(products, 1)
    values, vectors = torch.linalg.eigh((projected + projected.T) / 2)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    # Popularity makes the first value hundreds of times the others. A bound that grows with size, like NumPy's for the
    # rank of a matrix, would discard most of them in float32.
    smallest = values[:1] * 10 * torch.finfo(gram.dtype).eps
    vectors = vectors[:, values > smallest]
    return vectors if basis is None else basis @ vectors
