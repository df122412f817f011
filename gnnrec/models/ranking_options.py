"""Options of the ranking objective."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass
class RankingOptions:
    """The ranking model, its start and its loss. What is None depends on the start, or is chosen on validation.

    Args:
        dim: Channels of the vectors of users and movies.
        start: Tables at the first step: closed_form (needs a dense matrix over all pairs of movies) or random.
        closed_form_movies: Most movies that a closed-form start is made for; where there are more it is random.
        l2: Strength of L2 on what a movie says of all others, in the closed form and in training with the squared
            loss; 0 chooses it on validation with the closed form, and is 300 where there is none.
        num_factors: Singular vectors of the closed form that are kept, at most dim; 0 chooses them on validation.
        popularity_exponent: Exponent of popularity that scores are divided by; below 0 chooses it on validation.
        loss: squared (error on all movies), softmax (over all movies), sampled_softmax or bpr (over drawn movies).
        negatives: Movies drawn for each training rating, where the loss draws.
        negative_power: Exponent of popularity that movies are drawn in proportion to.
        user_power: Exponent of the number of a user's ratings that weighs the user in the loss.
        table_l2: Strength of plain L2 on both tables, over the number of movies.
        dropout: Share of messages dropped in training; by default 0.5, from a random start 0.7.
        users_a_step: Users in a step, over all ranks; 0 takes all users.
        relevant: Lowest rating of a movie that its user likes, where the dataset was not prepared for ranking.
    """

    dim: int = 256
    start: Literal["closed_form", "random"] = "closed_form"
    closed_form_movies: int = 40_000
    l2: float = 0.0
    num_factors: int = 0
    popularity_exponent: float = -1.0
    loss: Literal["squared", "softmax", "sampled_softmax", "bpr"] = "squared"
    negatives: int = 8
    negative_power: float = 0.5
    user_power: float = -0.5
    table_l2: float = 0.0
    dropout: float | None = None
    users_a_step: int = 500
    relevant: float = 4.0

    @property
    def draws(self) -> bool:
        """Whether the loss draws negatives."""
        return self.loss in ("sampled_softmax", "bpr")
