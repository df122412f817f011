"""The linear item model that has a closed form: each movie predicted from all others.

Steck, "Embarrassingly shallow autoencoders for sparse data" (WWW 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.errors import UserError

#: Movies up to which a dense matrix over all pairs of movies is inverted.
MOST_MOVIES = 40_000


def require_few_movies(num_movies: int, option: str, instead: str) -> None:
    """Refuses more movies than :data:`MOST_MOVIES`.

    Args:
        num_movies: Movies of the dataset.
        option: What asks for the closed form, as the user wrote it: ``--model.start closed_form``.
        instead: The way out: ``choose --model.start random``.

    Raises:
        UserError: There are too many.
    """
    if num_movies > MOST_MOVIES:
        raise UserError(
            f"{option}: {num_movies:,} movies make a dense matrix of {4e-9 * num_movies**2:,.0f} GB to invert; "
            f"it is made for up to {MOST_MOVIES:,} movies: {instead}"
        )


@torch.no_grad()
def item_weights(gram: Tensor, penalty_diagonal: Tensor) -> Tensor:
    """The minimum of ``|X - X B|^2 + sum_j penalty_j |B_j|^2`` over ``B`` with zero diagonal, rows weighted as in
    ``gram``; ``B_j`` are the weights with which movie ``j`` predicts others, row ``j``.

    ``P = inv(gram + diag(penalty))``, ``B_ij = -P_ij / P_jj``.

    Args:
        gram: ``X' W X``, float ``[movies, movies]``, symmetric. Its memory is used for the result.
        penalty_diagonal: Float ``[movies]``, positive.

    Returns:
        ``B``, ``[movies, movies]`` with zero diagonal: the scores of a user are ``x B``.

    Raises:
        UserError: The penalty is too small for the matrix to be inverted.
    """
    rated = gram.diagonal() > 0
    if not rated.all():  # movies without raters have no weights, and need not be inverted
        rows = rated.nonzero().squeeze(1)
        weights = _weights(gram[rows][:, rows], penalty_diagonal.to(gram)[rows])
        gram.zero_()[rows[:, None], rows] = weights
        return gram
    return _weights(gram, penalty_diagonal.to(gram))


def _weights(gram: Tensor, penalty: Tensor) -> Tensor:
    """:func:`item_weights` in place."""
    gram.diagonal().add_(penalty)
    failed = gram.new_empty((), dtype=torch.int32)
    torch.linalg.cholesky_ex(gram, out=(gram, failed))
    if failed:
        raise UserError("the closed form cannot be solved with so small a penalty: raise it")
    inverse = torch.cholesky_inverse(gram, out=gram)
    return inverse.div_(inverse.diagonal().neg()).fill_diagonal_(0)
