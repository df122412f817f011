"""Options of the ranking objective."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gnnrec.utils.bounds import bounded

#: Value of a rating below the like threshold in the closed form, unless leaving such ratings out is better.
WEAK_WEIGHT = 0.3


@dataclasses.dataclass
class RankingOptions:
    """The ranking model, its start and its loss. None depends on the start, or is chosen.

    L2, num_factors, popularity_exponent and weak_weight of a closed form are chosen together: with whole users held out
    (protocol strong) on a fifth of the train users, else on validation.

    Args:
        dim: Channels of user and movie vectors.
        start: Tables at the first step: closed_form (needs a dense matrix over all pairs of movies) or random.
        closed_form_movies: Movies up to which a closed form is computed; with more the start is random.
        l2: L2 of the movie-to-movie weights, in the closed form and in training with the squared loss. 0 is 300 for a
            random start.
        num_factors: Singular vectors of the closed form to keep, at most dim.
        popularity_exponent: Exponent of popularity that scores are divided by; below 0 it is chosen.
        weak_weight: Value of a train user's rating below relevant in the closed form and the squared loss, where a like
            has 1; by default 0.3, or 0 where leaving such ratings out is better by a standard error. Published results
            discard them, which is 0. Leave-last has none.
        validation_users: Fit the closed form again with the validation users of protocol strong, once all is chosen and
            measured, unless training improves on it; false leaves them out, as published results do.
        loss: Loss: squared (on all movies), softmax (over all movies), sampled_softmax or bpr (over sampled movies).
        negatives: Movies sampled for each training rating (sampled_softmax, bpr).
        negative_power: Exponent of popularity that movies are sampled in proportion to.
        user_power: Exponent of a user's number of ratings in the weight of the user in the loss.
        table_l2: Plain L2 of both tables, divided by the number of movies.
        dropout: Share of messages dropped in training; by default 0.5, and 0.7 for a random start.
        users_a_step: Users of a step, over all ranks.
        relevant: Lowest rating of a movie that its user likes, if the dataset was not prepared for ranking.
        count_confidence: Strength alpha of the weights 1 + alpha log(1 + count) of liked movies, if ratings are counts
            of plays, clicks or purchases.
    """

    dim: int = bounded(256, least=1)
    start: Literal["closed_form", "random"] = "closed_form"
    closed_form_movies: int = bounded(40_000, least=0)
    l2: float = bounded(0.0, least=0, meaning="chosen on held-out users")
    num_factors: int = bounded(0, least=0, meaning="chosen on held-out users")
    popularity_exponent: float = bounded(-1.0, least=-10, most=10)
    weak_weight: float | None = bounded(None, least=0, most=1)
    validation_users: bool = True
    loss: Literal["squared", "softmax", "sampled_softmax", "bpr"] = "squared"
    negatives: int = bounded(8, least=1)
    negative_power: float = bounded(0.5, least=-10, most=10)
    user_power: float = bounded(-0.5, least=-10, most=10)
    table_l2: float = bounded(0.0, least=0)
    dropout: float | None = bounded(None, least=0, below=1)
    users_a_step: int = bounded(500, least=0, meaning="all")
    relevant: float = 4.0
    count_confidence: float = bounded(0.0, least=0, meaning="equal weights")

    @property
    def draws(self) -> bool:
        """Whether the loss samples negatives."""
        return self.loss in ("sampled_softmax", "bpr")
