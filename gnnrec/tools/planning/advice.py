"""Options that make a plan fit into memory, and the limit of replicated movies."""

from __future__ import annotations

import dataclasses
from typing import Any

from gnnrec.tools.planning.estimate import Deployment, Estimate, estimate
from gnnrec.tools.planning.job import TrainingJob

#: Users of a rank in a step and sampled neighbors of the sampled plan.
_SEEDS_A_RANK, _DRAWN = 65_536, 10
_MOST_RANKS = 1 << 20


def ways_to_fit(planned: Estimate) -> list[str]:
    """Lists options each of which alone makes a plan fit, or one line if there are none."""
    job, place = planned.job, planned.place
    ways = []
    ranks = least_ranks(job, place)
    if ranks is not None:
        ways.append(f"--gpus {ranks} (more ranks)")
    if not place.host_rows and not place.machine.measured:
        on_host = estimate(job, dataclasses.replace(place, host_rows=True))
        if on_host.fits:
            ways.append(f"--user-rows host ({on_host.host_bytes / 1e9:,.0f} GB of host memory a rank)")
    dim = job.model.dim // 2
    while dim >= 8:
        if estimate(_with_model(job, dim=dim), place).fits:
            ways.append(f"--dim {dim} (smaller embeddings)")
            break
        dim //= 2
    sampled = sampled_job(job)
    if not job.loader.seed_users and estimate(sampled, place).fits:
        options = sampled.loader
        ways.append(
            f"--seed-users {options.seed_users} --movies-per-user {options.movies_per_user} "
            f"--raters-per-movie {options.raters_per_movie} --set loader.control_variate=false (sampled steps)"
        )
    if not ways:
        largest = max((part for part in planned.memory if part.place == "device"), key=lambda part: part.bytes)
        ways.append(f"no single option; the largest part is {largest.name}, which grows with {largest.grows_with}")
    return ways


def least_ranks(job: TrainingJob, place: Deployment) -> int | None:
    """Returns the fewest ranks on which a job fits; None if no number is enough, since movies are on every rank."""

    def fits(ranks: int) -> bool:
        return estimate(dataclasses.replace(job, ranks=ranks), place).fits

    high = job.ranks
    while not fits(high):
        high *= 2
        if high > min(_MOST_RANKS, job.users):
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def sampled_job(job: TrainingJob) -> TrainingJob:
    """Returns the job with mini-batches of users and sampled neighbors, without a control variate."""
    seed_users = min(_SEEDS_A_RANK * job.ranks, job.users)
    sampling: dict[str, Any] = {"movies_per_user": _DRAWN, "raters_per_movie": _DRAWN, "control_variate": False}
    loader = dataclasses.replace(job.loader, seed_users=seed_users, **sampling)
    return dataclasses.replace(job, loader=loader)


def movie_bytes(planned: Estimate) -> float:
    """Returns the bytes of a rank that grow with the number of movies."""
    return sum(part.bytes for part in planned.memory if part.grows_with == "movies")


def most_movies(planned: Estimate, share: float = 0.5) -> tuple[float, str]:
    """Finds the number of movies up to which replicating them is cheap.

    Args:
        planned: A plan.
        share: Acceptable share of the time of a step in collectives, and of the memory of a rank.

    Returns:
        The number, all else being equal, and the limiting resource: ``collectives`` or ``memory``.
    """
    limit = share * planned.place.memory

    def too_many(movies: int) -> str:
        other = estimate(dataclasses.replace(planned.job, movies=movies), planned.place)
        if other.collective_share > share:
            return "collectives"
        return "memory" if movie_bytes(other) > limit else ""

    low, high = 1, 2
    while not too_many(high) and high < 1 << 50:
        low, high = high, high * 2
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if too_many(middle) else (middle, high)
    return low, too_many(high)


def _with_model(job: TrainingJob, **values: Any) -> TrainingJob:
    return dataclasses.replace(job, model=dataclasses.replace(job.model, **values))
