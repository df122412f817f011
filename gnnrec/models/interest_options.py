"""Options of interest, by which the lists of a rating model are ordered besides its predicted ratings."""

from __future__ import annotations

import dataclasses

from gnnrec.utils.bounds import bounded

#: Weights of the predicted rating from which validation chooses, and the default without validation.
RATING_WEIGHTS, DEFAULT_RATING_WEIGHT = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.2, 1.6, 2.4, 3.2), 0.8


@dataclasses.dataclass
class InterestOptions:
    """Lists of the rating model: interest, the closed-form score of EASE on all ratings, is fitted after training.

    Args:
        enabled: Fit interest, and order lists by interest + rating_weight * predicted rating; false orders them by
            predicted rating.
        movies: Most movies for which interest is fitted, the most rated ones (it inverts a dense matrix over all pairs
            of them). Interest in all others is that in a movie that has nothing in common with the rated ones.
        l2: L2 of the movie-to-movie weights.
        dim: Most channels of a user's and a movie's interest vector.
        num_factors: Singular vectors of the movie-to-movie weights to keep, at most dim.
        rating_weight: Weight of the predicted rating, in standard deviations of the train ratings, to interest, in
            standard deviations over movies. A refit, which has no validation, takes 0.8: pass the one that the measured
            run chose.
        keep: Keep the movie tables of --init-from's run, where it has interest, instead of fitting them: movies that it
            does not have are of no interest until interest is fitted again.
        relevant: Lowest rating of a movie that its user likes, for choices on validation and for the measures of lists;
            by default the one three quarters up the rating scale, which is 4 for stars.
    """

    enabled: bool = True
    movies: int = bounded(10_000, least=1)
    l2: float = bounded(0.0, least=0, meaning="chosen on held-out train ratings")
    dim: int = bounded(256, least=1)
    num_factors: int = bounded(0, least=0, meaning="chosen on held-out train ratings")
    rating_weight: float = bounded(0.0, least=0, meaning="chosen on validation")
    keep: bool = False
    relevant: float | None = None
