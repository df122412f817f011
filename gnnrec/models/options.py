"""Options of the model."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass
class ModelOptions:
    """The model.

    Args:
        architecture: Message passing: gat, gcn or sage (GraphSAGE), or another file of gnnrec/models/layers.
        dim: Channels of embeddings and layers.
        layers: Layers of message passing; 0 is biased matrix factorisation.
        heads: Attention heads (gat).
        concat: Concatenate attention heads of dim / heads channels; false averages heads of dim channels (gat).
        self_loops: Count a node among its own neighbours (gcn).
        restore_degree: Multiply means by the root of the number of ratings they were taken over (sage, gat).
        user_ids: An id embedding for each user; false makes the model inductive in users.
        movie_ids: An id embedding for each movie.
        genres: Genres as movie features, where the data has them.
        time: Effects of the time of a rating, where the data has times: years of a movie, days and sessions of a user.
        head: Rating head: dot (a Linear on z_u * z_m, starting as ones) or mlp (two layers on both vectors).
        head_dim: Hidden units of the mlp head.
        dropout: Dropout rate on id embeddings and hidden states.
        message_dropout: Share of messages left out at random, anew in each pass over the users.
        init_std: Standard deviation of initial source rows and user ids.
        movie_id_init_std: Standard deviation of initial movie ids.
    """

    architecture: str = "sage"
    dim: int = 64
    layers: int = 1
    heads: int = 2
    concat: bool = True
    self_loops: bool = False
    restore_degree: bool = True
    user_ids: bool = True
    movie_ids: bool = True
    genres: bool = True
    time: bool = True
    head: Literal["dot", "mlp"] = "dot"
    head_dim: int = 64
    dropout: float = 0.1
    message_dropout: float = 0.3
    init_std: float = 0.05
    movie_id_init_std: float = 0.1
