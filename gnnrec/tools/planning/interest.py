"""Memory and seconds of fitting interest after training (:mod:`gnnrec.training.interest`).

Counted are the matrices, the operations on them and the scores of the users on whom choices are made. Interest is
fitted once all steps are done, when messages and activations are freed.
"""

from __future__ import annotations

import dataclasses

from gnnrec.evaluation.lists import MEASURED_USERS
from gnnrec.models.closed_form_start import BLOCKS, OVERSAMPLING
from gnnrec.models.ease import is_by_users
from gnnrec.models.gram import BLOCK, FLOAT64_MOVIES
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.machines import Machine
from gnnrec.training.interest import CHOICE_MOVIES, FIRST_MOVIES

#: Operations per second of one core in float32 products and factorizations, and scores ranked per second. Rounded
#: measurements on one machine; a few tens of percent off on others.
CORE_FLOPS, RANKED_SCORES = 1e11, 1.5e8
#: Pairs of a user's movies that one core counts per second, and the mean square of the number of ratings of a user over
#: the squared mean: 3.5 in MovieLens 20M.
PAIRS, SQUARES = 7e8, 3.5
#: Strengths that a search downhill tries, numbers of factors that are tried, and weights of the rating.
_STRENGTHS, _FACTORS, _WEIGHTS = 3, 6, 4
#: Bytes per rating of the copies that are sorted by user and by movie.
_RATING_BYTES = 48


@dataclasses.dataclass(frozen=True)
class InterestCost:
    """Cost of interest on one rank.

    Attributes:
        bytes: Memory beyond that of the model and its graph.
        seconds: Duration; rank 0 solves, and others wait for it.
    """

    bytes: float
    seconds: float


def interest_cost(job: TrainingJob, machine: Machine, achieved: float) -> InterestCost | None:
    """Estimates the cost of interest; None if it is switched off.

    Args:
        job: The job.
        machine: Device of a rank.
        achieved: Share of a GPU's data sheet that is achieved.
    """
    options = job.interest
    if not options.enabled:
        return None
    movies, users = min(job.movies, options.movies), min(job.users, MEASURED_USERS)
    flops = CORE_FLOPS if machine.measured else machine.flops * achieved
    few = is_by_users(job.users, movies)
    if few:
        matrices = 8 * (4 * job.users * movies + 2 * job.users**2)
    else:
        size = 8 if movies <= FLOAT64_MOVIES else 4
        block = 3 * 8 * min(BLOCK, movies**2)
        matrices = max(2 * size * movies**2, size * movies**2 + block) + 3 * size * movies * _basis(job)
    seconds = _solve(job, movies, 8 if few or movies <= FLOAT64_MOVIES else 4) / flops
    first, choice = min(FIRST_MOVIES, movies), min(CHOICE_MOVIES, movies)
    if not (options.l2 and options.num_factors):
        strengths = 1 if options.l2 else _STRENGTHS
        seconds += strengths * (_solve(job, first, 4) + _solve(job, choice, 4)) / flops
        factors = 0 if options.num_factors else _FACTORS
        scores = users * (strengths * first + (strengths + factors) * choice)
        seconds += scores * _score_seconds(flops, 2 * options.dim, job.ranks)
    if not options.rating_weight:
        weights = _WEIGHTS * users * job.movies
        seconds += weights * _score_seconds(flops, 2 * (options.dim + job.model.dim), job.ranks)
    pairs = SQUARES * (job.ratings / job.users) ** 2 / 2 * job.users / job.ranks
    seconds += (1 if few else 3) * pairs / PAIRS  # the choice, with two numbers of movies, and the fit
    return InterestCost(matrices + _RATING_BYTES * job.local_ratings, seconds)


def _basis(job: TrainingJob) -> int:
    """Columns of the basis of singular vectors."""
    return BLOCKS * (job.interest.dim + OVERSAMPLING)


def _solve(job: TrainingJob, movies: int, size: int) -> float:
    """Operations of an inverse, n^3, of the singular vectors, and of their orthogonal basis.

    Args:
        job: The job.
        movies: Movies of the problem.
        size: Bytes of a number; those of 8 take twice as long.
    """
    if is_by_users(job.users, movies):
        return 2.0 * (25 * job.users**3 + 10 * job.users**2 * movies)
    basis = min(_basis(job), movies)
    return size / 4 * (movies**3 + 6 * movies**2 * basis + 4 * movies * basis**2)


def _score_seconds(flops: float, operations: int, ranks: int) -> float:
    """Seconds of a score and its place in a ranking."""
    return (operations / flops + 1 / RANKED_SCORES) / ranks
