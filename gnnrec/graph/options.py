"""Options of the loader."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gnnrec.utils.bounds import bounded


@dataclasses.dataclass
class LoaderOptions:
    """Division of an epoch into steps, from sampled mini-batches of users to all users with all neighbors.

    Args:
        folds: Parts that the training ratings are divided into each epoch; each is supervised once, while it passes no
            message.
        seed_users: Seed users of a step, over all ranks.
        movies_per_user: Movies sampled for each user.
        raters_per_movie: Raters sampled for each movie, over all ranks.
        control_variate: Sample only the change since the start of a pass over the users, at which sums over whole
            neighborhoods are taken; only where neighbors are sampled.
        movie_rows: Movies whose sums and gradients sampled steps add up over ranks: all, or active (those that the step
            uses on any rank). With one layer, active also samples raters only for the movies among the targets of the
            step. auto is active with one layer where a step has fewer messages to users and targets than half of the
            movies.
        sampler: Neighbor sampler: builtin (tensor operations on the device of the graph) or pyg (samples on the CPU
            and copies to the device; needs pyg-lib or torch-sparse).
    """

    folds: int = bounded(20, least=2, most=256)
    seed_users: int = bounded(0, least=0, meaning="all")
    movies_per_user: int = bounded(-1, least=-1, meaning="all")
    raters_per_movie: int = bounded(-1, least=-1, meaning="all")
    control_variate: bool = True
    movie_rows: Literal["auto", "all", "active"] = "auto"
    sampler: Literal["builtin", "pyg"] = "builtin"

    @property
    def samples(self) -> bool:
        """False where every step takes all users with all neighbors."""
        return self.seed_users > 0 or self.movies_per_user >= 0 or self.raters_per_movie >= 0
