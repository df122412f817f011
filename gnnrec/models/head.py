"""Rating heads: score pairs of a user vector and a movie vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

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

    @torch.no_grad()
    def keep_norms(self) -> None:
        """Scales the weights to the norm of a vector of ones."""
        self.linear.weight.mul_(self.linear.in_features**0.5 / self.linear.weight.norm())

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

    def keep_norms(self) -> None:
        """Does nothing: this head learns its scale."""

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
        users, movies = self.user(users), self.movie(movies)
        owner = owners(targets.pointer)
        blocks = [
            checkpoint(self._pairs, users, movies, owner[start : start + BLOCK], targets.movie[start : start + BLOCK],
                       use_reentrant=False)
            for start in range(0, max(owner.numel(), 1), BLOCK)
        ]  # fmt: skip
        scores = torch.cat(blocks) if scale is None else torch.cat(blocks) * scale
        return scores + user_bias[owner] + movie_bias[targets.movie]

    def _pairs(self, users: Tensor, movies: Tensor, user: Tensor, movie: Tensor) -> Tensor:
        return self.out(torch.relu(users[user] + movies[movie])).squeeze(1)

    def all_movies(self, users: Tensor, movies: Tensor) -> Tensor:
        """Scores every movie for each user: float ``[users, movies]``."""
        users, movies = self.user(users), self.movie(movies)
        return torch.stack([self.out(torch.relu(user + movies)).squeeze(1) for user in users])
