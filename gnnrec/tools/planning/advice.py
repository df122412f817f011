"""What would make a plan fit, and how far replicated movies reach."""

from __future__ import annotations

import dataclasses
from typing import Any

from gnnrec.tools.planning.estimate import Deployment, Estimate, estimate
from gnnrec.tools.planning.job import TrainingJob

#: Users of a step, and neighbours drawn, of the sampled plan that is tried.
_SEEDS_A_RANK, _DRAWN = 65_536, 10
_MOST_RANKS = 1 << 20


def ways_to_fit(found: Estimate) -> list[str]:
    """Options that make a plan fit, each by itself; one line where none does alone."""
    job, place = found.job, found.place
    ways = []
    ranks = least_ranks(job, place)
    if ranks is not None:
        ways.append(f"--gpus {ranks} (more ranks)")
    if not place.host_rows and not place.machine.measured:
        there = dataclasses.replace(place, host_rows=True)
        other = estimate(job, there)
        if other.fits:
            ways.append(f"--user-rows host ({other.host_bytes / 1e9:,.0f} GB of host memory a rank)")
    dim = job.model.dim // 2
    while dim >= 8:
        if estimate(_with_model(job, dim=dim), place).fits:
            ways.append(f"--dim {dim} (smaller vectors)")
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
        largest = max((part for part in found.memory if part.place == "device"), key=lambda part: part.bytes)
        ways.append(f"nothing alone; the largest part is {largest.name}, which grows with {largest.grows_with}")
    return ways


def least_ranks(job: TrainingJob, place: Deployment) -> int | None:
    """The fewest ranks on which a job fits, None where no number does: movies are on every rank."""

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
    """The same in mini-batches of users with sampled neighbours, without the sums that a control variate keeps."""
    seeds = min(_SEEDS_A_RANK * job.ranks, job.users)
    drawn: dict[str, Any] = {"movies_per_user": _DRAWN, "raters_per_movie": _DRAWN, "control_variate": False}
    loader = dataclasses.replace(job.loader, seed_users=seeds, **drawn)
    return dataclasses.replace(job, loader=loader)


def movie_bytes(found: Estimate) -> float:
    """Bytes of every rank that grow with the movies."""
    return sum(part.bytes for part in found.memory if part.grows_with == "movies")


def most_movies(found: Estimate, share: float = 0.5) -> tuple[float, str]:
    """Movies up to which replicating them is cheap, and what ends it.

    Args:
        found: A plan.
        share: Of a step's time in collectives, and of a rank's memory, that is still cheap.

    Returns:
        The number, with everything else as it is, and ``collectives`` or ``memory``.
    """
    limit = share * found.place.memory

    def too_many(movies: int) -> str:
        other = estimate(dataclasses.replace(found.job, movies=movies), found.place)
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
