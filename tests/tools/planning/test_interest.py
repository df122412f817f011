"""Memory and seconds of interest in a plan, against tensors of a real fit."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gnnrec.cli.main import run_command
from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions
from gnnrec.models.ease import ease_problem
from gnnrec.models.interest_options import InterestOptions
from gnnrec.tools.planning.estimate import deployment_of, estimate
from gnnrec.tools.planning.interest import CORE_FLOPS, InterestCost, interest_cost
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.machines import MACHINES
from gnnrec.tools.planning.options import PlanOptions

ML20M = TrainingJob(users=138_493, movies=26_744, ratings=18_000_000)


def cost(job: TrainingJob, **options) -> InterestCost:
    found = interest_cost(dataclasses.replace(job, interest=InterestOptions(**options)), MACHINES["cpu"], 0.4)
    assert found is not None
    return found


@pytest.mark.parametrize("movies", [300, 700])
def test_the_matrices_of_a_fit_are_counted(movies):
    """Both matrices of a solution are in the counted bytes, and blocks of sums, which are as large here."""
    users = 2_000
    movie = torch.arange(20 * users, dtype=torch.int32) * 11 % movies
    ratings = Interactions(torch.arange(0, 20 * users + 1, 20), movie, torch.ones(len(movie)), torch.arange(len(movie)))
    problem = ease_problem(ratings, movies, World())
    solution = problem.solve(10.0)
    held = sum(table.numel() * table.element_size() for table in (problem.gram, solution.weights))
    job = TrainingJob(users=users, movies=movies, ratings=len(movie), interest=InterestOptions(dim=4))
    assert held <= cost(job, dim=4).bytes - 48 * len(movie) <= 3 * held


def test_few_movies_cost_less_and_a_large_fit_fits_in_memory():
    default, few, many = cost(ML20M), cost(ML20M, movies=3_000), cost(ML20M, movies=26_744)
    assert few.bytes < default.bytes < many.bytes and few.seconds < default.seconds < many.seconds
    assert 2 * 4 * 10_000**2 < default.bytes < 4e9
    fixed = cost(ML20M, l2=200.0, num_factors=256, rating_weight=0.4)
    assert 1e12 / CORE_FLOPS < fixed.seconds < default.seconds  # the inverse alone has 1e12 operations


def test_a_plan_shows_interest_and_counts_its_memory(capsys):
    words = ["--users", "1e5", "--movies", "40000", "--ratings", "1e6", "--set", "interest.movies=40000"]
    run_command(["plan", *words, "--memory", "8"])
    text = capsys.readouterr().out
    assert "while interest is fitted, after training" in text and "interest, after training" in text
    assert "bottleneck: does not fit: 1" in text and "8.00 GB available" in text
    run_command(["plan", *words[:-1], "interest.enabled=false", "--memory", "8"])
    text = capsys.readouterr().out
    assert "interest" not in text and "does not fit" not in text


def test_the_smaller_of_step_and_interest_does_not_matter():
    options = PlanOptions(users=1e6, movies=1e5, ratings=1e8, gpu="h100", memory=80)
    with_interest = estimate(options.job(), deployment_of(options))
    without = estimate(dataclasses.replace(options.job(), interest=InterestOptions(enabled=False)), with_interest.place)
    assert with_interest.device_bytes == without.device_bytes and without.interest is None
    assert without.interest_bytes == 0 < with_interest.interest_bytes
