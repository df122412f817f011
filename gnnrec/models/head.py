"""Rating heads: score pairs of a user vector and a movie vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from gnnrec.graph.batch import Targets
from gnnrec.kernels.pairs import pair_scores
from gnnrec.kernels.ragged import owners

#: Targets that the MLP head scores at a time, which bounds the rows of hidden units in memory.
BLOCK = 65536


class DotHead(nn.Module):
    """``Linear`` on ``z_u * z_m``, initialized to ones: a dot product with a learned weight per channel."""

    def __init__(self, dim: int):
        super().__init__()
        self.linear = nn.Linear(dim, 1, bias=False)

    def reset(self) -> None:
        nn.init.ones_(self.linear.weight)

    def kept_norms(self) -> list[tuple[Tensor, int]]:
        """Returns the weights and their squared norm, that of a vector of ones."""
        return [(self.linear.weight, self.linear.in_features)]

    def forward(
        self,
        users: Tensor,
        movies: Tensor,
        user_bias: Tensor,
        movie_bias: Tensor,
        targets: Targets,
        scale: Tensor | None = None,
    ) -> Tensor:
        """Scores targets, biases included: float ``[targets]``.

        Args:
            users: Float ``[users, dim]``.
            movies: Float ``[movies, dim]``.
            user_bias: Float ``[users]``.
            movie_bias: Float ``[movies]``.
            targets: The pairs.
            scale: Factor of the scores without biases, float scalar tensor; None for 1.
        """
        weight = self.linear.weight if scale is None else self.linear.weight * scale
        return pair_scores(users, movies * weight, user_bias, movie_bias, targets.lists(len(movies)))

    def all_movies(self, users: Tensor, movies: Tensor) -> Tensor:
        """Scores every movie for each user: float ``[users, movies]``."""
        return users @ (movies * self.linear.weight).T


class MLPHead(nn.Module):
    """Two fully connected layers on the concatenated vectors, ``Linear(2 dim, hidden) - ReLU - Linear(hidden, 1)``.

    The first layer is computed once per user and per movie, not per pair.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.user = nn.Linear(dim, hidden)
        self.movie = nn.Linear(dim, hidden, bias=False)
        self.out = nn.Linear(hidden, 1, bias=False)

    def reset(self) -> None:
        """Does nothing: :func:`gnnrec.models.tables.reset_weights` initializes this head."""

    def kept_norms(self) -> list[tuple[Tensor, int]]:
        """Returns nothing: this head learns its scale."""
        return []

    def forward(
        self,
        users: Tensor,
        movies: Tensor,
        user_bias: Tensor,
        movie_bias: Tensor,
        targets: Targets,
        scale: Tensor | None = None,
    ) -> Tensor:
        """Scores targets like :meth:`DotHead.forward`, in blocks whose hidden units are recomputed in backward."""
        owner = owners(targets.pointer)
        scores = _Scores.apply(self.user(users), self.movie(movies), self.out.weight, owner, targets.movie)
        scores = scores if scale is None else scores * scale
        return scores + user_bias[owner] + movie_bias[targets.movie]

    def all_movies(self, users: Tensor, movies: Tensor) -> Tensor:
        """Scores every movie for each user: float ``[users, movies]``."""
        users, movies = self.user(users), self.movie(movies)
        return torch.stack([self.out(torch.relu(user + movies)).squeeze(1) for user in users])


class _Scores(torch.autograd.Function):
    """Scores of pairs from hidden units of users and of movies, which are added.

    A checkpoint of torch for each block would do the same, but it aborts on devices other than CUDA.
    """

    @staticmethod
    def forward(ctx: Any, users: Tensor, movies: Tensor, weight: Tensor, user: Tensor, movie: Tensor) -> Tensor:
        ctx.save_for_backward(users, movies, weight, user, movie)
        return torch.cat([linear(_hidden(users, movies, *pairs), weight).squeeze(1) for pairs in _blocks(user, movie)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        users, movies, weight, user, movie = ctx.saved_tensors
        dtype, totals = torch.promote_types(users.dtype, torch.float32), None
        # From the last block to the first, as derivatives of the blocks would be added.
        for slopes, *pairs in reversed(list(_blocks(gradient.unsqueeze(1), user, movie))):
            hidden = _hidden(users, movies, *pairs)
            # Under autocast, scores and their gradients are narrower than parameters.
            of_hidden = (slopes @ weight.to(slopes.dtype)).to(dtype) * (hidden > 0)
            parts = [
                torch.zeros_like(table, dtype=dtype).index_put_((rows.long(),), of_hidden, accumulate=True)
                for table, rows in zip((users, movies), pairs)
            ]
            parts.append((slopes.T @ hidden.to(slopes.dtype)).to(dtype))
            totals = parts if totals is None else [total + part for total, part in zip(totals, parts)]
        return *[total.to(table.dtype) for total, table in zip(totals, (users, movies, weight))], None, None


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yields :data:`BLOCK` pairs at a time, and one block without pairs if there are none."""
    return zip(*(tensor.split(BLOCK) for tensor in tensors))


def _hidden(users: Tensor, movies: Tensor, user: Tensor, movie: Tensor) -> Tensor:
    return torch.relu(users[user] + movies[movie])
