"""Times of a step against sums by hand."""

from __future__ import annotations

import dataclasses

import pytest

from gnnrec.graph.options import LoaderOptions
from gnnrec.models.options import ModelOptions
from gnnrec.tools.planning.constants import Constants, constants
from gnnrec.tools.planning.estimate import Deployment, estimate
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.machines import MACHINES
from gnnrec.tools.planning.step_time import Links
from gnnrec.tools.planning.traffic import bytes_a_step, collectives
from gnnrec.tools.planning.work import STAGES

NAMES = [name for names in STAGES.values() for name in names]
MODEL = ModelOptions(dim=8, message_dropout=0.5, genres=False)
JOB = TrainingJob(2000, 500, 40_000, model=MODEL, loader=LoaderOptions(folds=4), genres=0)
NETWORK = Links(1, 8, 50e9, 2e-5, 0.5)


def made(**seconds: float) -> Constants:
    """Constants in which only the given kinds of work take time."""
    values = dict.fromkeys(NAMES, 0.0) | {name.replace("_", " "): value for name, value in seconds.items()}
    return Constants("c", "d", "h", values, 1.5, 1e-3, 1e9, 1e6, 1.0, 1.0, 70.0, dict.fromkeys(NAMES, 1e12), 0.1, 0.05)


def seconds(job: TrainingJob, machine: str = "cpu", measured: Constants | None = None, **network: float) -> float:
    place = Deployment(MACHINES[machine], 1e12, dataclasses.replace(NETWORK, **network))
    return estimate(job, place, measured).step_seconds


def test_each_kind_of_work_costs_its_constant():
    # Of 40,000 ratings three quarters are of other folds, and half of those are left in.
    assert seconds(JOB, measured=made(messages=2.0)) == pytest.approx(2 * 15_000 * 8)
    assert seconds(JOB, measured=made(pairs=3.0)) == pytest.approx(3 * 10_000 * 8)
    assert seconds(JOB, measured=made(edges=1.0)) == pytest.approx(40_000)
    assert seconds(JOB, measured=made(rows=1.0)) == pytest.approx(2500 * (3 * 8 + 1))
    assert seconds(JOB, measured=made(states=1.0)) == pytest.approx(2500 * 8)


def test_ranks_share_the_ratings_and_the_machine_and_add_collectives():
    job = dataclasses.replace(JOB, ranks=2)
    calls = sum(part.calls for part in collectives(job))
    waiting = bytes_a_step(job) / 1e9 + calls * 1e-3
    assert seconds(job, measured=made(messages=2.0)) == pytest.approx(1.5 * 7500 * 8 * 2 + waiting)


def test_a_ring_over_hosts_has_the_speed_of_their_link():
    job = dataclasses.replace(JOB, ranks=4)
    calls, sent = sum(part.calls for part in collectives(job)), bytes_a_step(job)
    # Two hosts: each byte is sent 2 * 3 / 4 times, and a message crosses twice.
    expected = 1.5 * sent / 1e6 + calls * 2 * 1e-4
    found = seconds(job, measured=made(), ranks=4, per_host=2, link=1e6, latency=1e-4)
    assert found == pytest.approx(expected)


def test_twice_the_bandwidth_halves_the_time_bound_by_it():
    job = TrainingJob(10**8, 10**6, 10**10, ranks=8)
    slow, fast = (seconds(job, "h100", achieved=achieved) for achieved in (0.25, 0.5))
    assert 0.5 * slow < fast < 0.55 * slow


def test_the_share_in_collectives_grows_with_movies_and_ranks():
    def share(**values: int) -> float:
        job = dataclasses.replace(TrainingJob(10**7, 10**5, 10**9, ranks=16), **values)
        return estimate(job, Deployment(MACHINES["h100"], 1e12, NETWORK)).collective_share

    assert share() < share(movies=10**6) < share(movies=10**7)
    assert share() < share(ranks=64) < share(ranks=256)


def test_more_work_takes_longer_with_the_constants_of_the_package():
    here = seconds(JOB)
    for name in ("users", "movies", "ratings"):
        assert seconds(dataclasses.replace(JOB, **{name: 2 * getattr(JOB, name)})) >= here > 0
    assert all(value >= 0 for value in constants().seconds.values())
    assert set(constants().seconds) == set(NAMES) == set(constants().largest)
