"""Options of the model."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gnnrec.utils.bounds import bounded

#: Least shrinkage: exported vectors keep their directions, which similar movies and maps of movies are about.
LEAST_SHRINKAGE = 0.01


@dataclasses.dataclass
class ModelOptions:
    """The rating model.

    Args:
        architecture: Layer of message passing: gat, gcn or sage (GraphSAGE), or a layer of your own as FILE.py:NAME,
            a class or a build function.
        dim: Channels of embeddings and layers.
        layers: Layers of message passing; with 0 the model is biased matrix factorization.
        heads: Attention heads (gat).
        concat: Concatenate attention heads of dim / heads channels; false averages heads of dim channels (gat).
        self_loops: Count a node among its own neighbors (gcn).
        restore_degree: Multiply means by the square root of the number of ratings they are taken over (sage, gat).
        user_ids: Learn an id embedding for each user; false makes the model inductive in users.
        movie_ids: Learn an id embedding for each movie.
        genres: Use genres as movie features, if the data has them.
        features: Use features of movies and users, if the data has them; a ranking model uses those of movies.
        row_dropout: Share of the users with features whose learned rows are left out in a pass, so that features learn
            to stand in for them; for half of these also their ratings are left out.
        time: Learn temporal bias, if ratings have times: years of a movie, days and sessions of a user.
        head: Rating head: dot (a linear layer on z_u * z_m that starts as ones) or mlp (two layers on both vectors).
        head_dim: Hidden units of the mlp head.
        dropout: Dropout rate of id embeddings and hidden states.
        message_dropout: Share of messages dropped at random, drawn again in each pass over the users.
        message_tables: Type in which the first layer reads rows of message embeddings, and of the gradients of its
            sums, for each message: float32, or bf16 for half the bytes (rounded to 8 bits; sums, embeddings and their
            gradients are in float32). For layers that sum with fixed weights: gcn and sage.
        init_std: Standard deviation of initial message embeddings and user ids.
        movie_id_init_std: Standard deviation of initial movie ids.
        shrinkage: Factor, in inference, of all of a predicted rating but the mean and its closed-form biases; by
            default validation chooses it, and a refit, which has no validation, keeps 1: pass the one that the measured
            run chose.
    """

    architecture: str = "sage"
    dim: int = bounded(64, least=1)
    layers: int = bounded(1, least=0)
    heads: int = bounded(2, least=1)
    concat: bool = True
    self_loops: bool = False
    restore_degree: bool = True
    user_ids: bool = True
    movie_ids: bool = True
    genres: bool = True
    features: bool = True
    row_dropout: float = bounded(0.1, least=0, below=1)
    time: bool = True
    head: Literal["dot", "mlp"] = "dot"
    head_dim: int = bounded(64, least=1)
    dropout: float = bounded(0.1, least=0, below=1)
    message_dropout: float = bounded(0.3, least=0, most=0.9)
    message_tables: Literal["float32", "bf16"] = "float32"
    init_std: float = bounded(0.05, least=0)
    movie_id_init_std: float = bounded(0.1, least=0)
    shrinkage: float | None = bounded(None, least=LEAST_SHRINKAGE, most=1)
