"""Interest: how likely a user is to rate a movie at all, which says more about lists than how it would be rated."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn.functional import pad

from gnnrec.graph.interactions import Interactions
from gnnrec.kernels.sums import bag
from gnnrec.models.standardized_tables import standardize_tables, unit_vectors


@dataclasses.dataclass(frozen=True)
class Interest:
    """Scores of EASE for the movies that a user has rated, standardized over all movies for each user.

    A user's vector is the sum of the message embeddings of the rated movies. The columns of the targets have mean 0 and
    are orthogonal with variance 1. So over all movies the scores of a user have mean 0 and, if the vector is scaled to
    length 1, standard deviation 1. Lists are ordered by ``interest + rating_weight * standardized predicted rating``.

    Attributes:
        message_embedding: Float32 ``[movies, dim]``.
        target: Float32 ``[movies, dim]``.
        l2: L2 of the movie-to-movie weights.
        rating_weight: Weight of the predicted rating.
    """

    message_embedding: Tensor
    target: Tensor
    l2: float
    rating_weight: float

    @staticmethod
    def of_tables(message_embedding: Tensor, target: Tensor, l2: float, rating_weight: float) -> Interest:
        """Standardizes tables whose dot products, summed over rated movies, are the scores of EASE.

        Args:
            message_embedding: Float ``[movies, dim]``.
            target: Float ``[movies, dim]``.
            l2: See :class:`Interest`.
            rating_weight: See :class:`Interest`.
        """
        return Interest(*standardize_tables(message_embedding, target), l2, rating_weight)

    def widened(self, dim: int) -> Interest:
        """Returns the same interest with columns of zeros up to ``dim``, which change no score."""
        padding = [0, max(dim - self.dim, 0)]
        message_embedding, target = pad(self.message_embedding, padding), pad(self.target, padding)
        return dataclasses.replace(self, message_embedding=message_embedding, target=target)

    @property
    def dim(self) -> int:
        """Columns of the tables."""
        return self.target.shape[1]

    def user_vectors(self, rated: Interactions) -> tuple[Tensor, Tensor]:
        """Computes vectors of length 1, and the lengths before scaling, from rated movies.

        Times the length, interest is the score of EASE less its mean over all movies. A user without ratings has zeros.

        Args:
            rated: Ratings of some users.

        Returns:
            Float32 ``[users, dim]`` and ``[users]``.
        """
        return unit_vectors(bag(self.message_embedding, rated.movie, rated.user_ptr))

    def scores(self, rated: Interactions) -> Tensor:
        """Computes the interest of users in all movies from rated movies, float32 ``[users, movies]``."""
        return self.user_vectors(rated)[0] @ self.target.T

    def chosen(self) -> dict[str, float]:
        """Returns settings that validation chose or the options fixed, for the summary."""
        return {"interest_l2": self.l2, "interest_factors": self.dim, "rating_weight": self.rating_weight}

    def state(self) -> dict[str, Tensor]:
        """Returns the tensors of a checkpoint; :meth:`of_state` reads them back."""
        return {
            "message_embedding": self.message_embedding.cpu(),
            "target": self.target.cpu(),
            "l2": torch.tensor(self.l2, dtype=torch.float64),
            "rating_weight": torch.tensor(self.rating_weight, dtype=torch.float64),
        }

    @staticmethod
    def kinds(state: dict[str, Tensor], movies: int) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Returns the shapes and types that the tensors of a state must have, given those of its first table."""
        target = state.get("target")
        width = target.shape[-1] if target is not None and target.dim() else 0
        tables = dict.fromkeys(("message_embedding", "target"), ((movies, width), torch.float32))
        return {**tables, **dict.fromkeys(("l2", "rating_weight"), ((), torch.float64))}

    @staticmethod
    def of_state(state: dict[str, Tensor], device: torch.device) -> Interest:
        """Restores the result of :meth:`state`."""
        embedding, target = (state[name].to(device) for name in ("message_embedding", "target"))
        return Interest(embedding, target, state["l2"].item(), state["rating_weight"].item())
