"""Options of the loader."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass
class LoaderOptions:
    """How an epoch is cut into steps. One dial: from sampled mini-batches of users to all users with all neighbours.

    Args:
        folds: Parts that the training ratings are cut into each epoch (2 to 256); each is supervised once while it
            passes no message.
        seed_users: Seed users in a step, over all ranks; 0 takes all users.
        movies_per_user: Movies drawn for each user; -1 takes all.
        raters_per_movie: Raters drawn for each movie, over all ranks; -1 takes all.
        control_variate: Where neighbours are sampled, sample only what changed since the beginning of a pass over the
            users, when sums over whole neighbourhoods were taken.
        movie_rows: What sampled steps add up over ranks: all (the sums of all movies) or active (those of the
            movies
            that get a message in the step, on whichever rank). With one layer, active also draws raters for the
            movies of the step's targets alone: no others count.
        sampler: builtin (tensor operations on the device of the graph) or pyg (needs pyg-lib or torch-sparse; CPU).
    """

    folds: int = 20
    seed_users: int = 0
    movies_per_user: int = -1
    raters_per_movie: int = -1
    control_variate: bool = True
    movie_rows: Literal["all", "active"] = "all"
    sampler: Literal["builtin", "pyg"] = "builtin"

    @property
    def samples(self) -> bool:
        """False where every step takes all users with all neighbours."""
        return self.seed_users > 0 or self.movies_per_user >= 0 or self.raters_per_movie >= 0
