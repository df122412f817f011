"""Result of a model: one vector and one bias for each user and each movie."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from gnnrec.graph.temporal_bias import TemporalBiasTables


@dataclasses.dataclass(frozen=True)
class NodeEmbeddings:
    """Embeddings and biases from which ratings are predicted.

    ``rating = offset + user_bias[u] + movie_bias[m] + head(user[u], movie[m])``, clipped to the rating scale for output
    and evaluation. Temporal biases are added if the time of the rating is known.

    Attributes:
        user: Float ``[users, dim]``.
        movie: Float ``[movies, dim]``.
        user_bias: Float ``[users]``.
        movie_bias: Float ``[movies]``.
        offset: Float scalar tensor.
        temporal_bias: Tables of temporal biases; None in models without time.
        head_scale: Factor of the head's part of a score, float scalar tensor; None for 1.
    """

    user: Tensor
    movie: Tensor
    user_bias: Tensor
    movie_bias: Tensor
    offset: Tensor
    temporal_bias: TemporalBiasTables | None = None
    head_scale: Tensor | None = None
