"""Linear item model with a closed form (EASE): each movie is predicted from all others.

Steck, "Embarrassingly shallow autoencoders for sparse data" (WWW 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.errors import UserError

#: Most movies for which a dense matrix over all pairs of movies is inverted.
MOST_MOVIES = 40_000


def require_few_movies(num_movies: int, option: str, instead: str) -> None:
    """Checks that a dataset has at most :data:`MOST_MOVIES` movies.

    Args:
        num_movies: Movies of the dataset.
        option: The option that needs the closed form, as the user wrote it: ``--ranking.start closed_form``.
        instead: What to do instead: ``choose --ranking.start random``.

    Raises:
        UserError: There are more.
    """
    if num_movies > MOST_MOVIES:
        raise UserError(
            f"{option}: inverts a dense matrix, {4e-9 * num_movies**2:,.0f} GB for {num_movies:,} movies; "
            f"the limit is {MOST_MOVIES:,} movies: {instead}"
        )


@torch.no_grad()
def item_weights(gram: Tensor, penalty_diagonal: Tensor) -> Tensor:
    """Minimizes ``|X - X B|^2 + sum_j penalty_j |B_j|^2`` over ``B`` with zero diagonal.

    Row ``B_j`` has the weights with which movie ``j`` predicts others; users are weighted as in ``gram``. The solution
    is ``B_ij = -P_ij / P_jj`` with ``P = inv(gram + diag(penalty))``.

    Args:
        gram: ``X' W X``, float ``[movies, movies]``, symmetric; overwritten with the result.
        penalty_diagonal: Float ``[movies]``, positive.

    Returns:
        ``B``, ``[movies, movies]``: the scores of a user are ``x B``.

    Raises:
        UserError: The penalty is too small for the matrix to be inverted.
    """
    rated = gram.diagonal() > 0
    if not rated.all():  # movies without raters have no weights
        rows = rated.nonzero().squeeze(1)
        weights = _weights(gram[rows][:, rows], penalty_diagonal.to(gram)[rows])
        gram.zero_()[rows[:, None], rows] = weights
        return gram
    return _weights(gram, penalty_diagonal.to(gram))


def _weights(gram: Tensor, penalty: Tensor) -> Tensor:
    """Computes :func:`item_weights` in place."""
    gram.diagonal().add_(penalty)
    failed = gram.new_empty((), dtype=torch.int32)
    torch.linalg.cholesky_ex(gram, out=(gram, failed))
    if failed:
        raise UserError("the closed form has no numerically stable solution with this L2 penalty: choose a larger one")
    inverse = torch.cholesky_inverse(gram, out=gram)
    return inverse.div_(inverse.diagonal().neg()).fill_diagonal_(0)
