"""What a model leaves behind: one vector and one bias for each user and each movie."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from gnnrec.graph.temporal_bias import TemporalBiasTables


@dataclasses.dataclass(frozen=True)
class NodeEmbeddings:
    """All that a prediction needs.

    ``rating = offset + user_bias[u] + movie_bias[m] + head(user[u], movie[m])``, clipped to the rating scale when it is
    shown or evaluated. Where it is known when a rating was given, effects of time are added.

    Attributes:
        user: Float ``[users, dim]``.
        movie: Float ``[movies, dim]``.
        user_bias: Float ``[users]``.
        movie_bias: Float ``[movies]``.
        offset: Float scalar tensor.
        temporal_bias: Effects of time; None where time plays no part.
    """

    user: Tensor
    movie: Tensor
    user_bias: Tensor
    movie_bias: Tensor
    offset: Tensor
    temporal_bias: TemporalBiasTables | None = None
