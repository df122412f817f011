"""EASE: a linear item model in closed form (Steck, WWW 2019)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.ranking_fit import fitted_ranking, training_interactions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.models.closed_form import require_few_movies
from gnnrec.models.ease import EaseProblem, ease_problem, is_by_users

#: Penalties from which validation chooses, the default first.
PENALTIES = (300.0, 10.0, 30.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)
#: Most movies with which the penalty is chosen, the most liked ones: an inverse takes the cube of their number.
CHOICE_MOVIES = 4096


def fit_ease(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
    """Fits EASE, which scores ``x B`` for a user who likes the movies ``x``.

    Args:
        dataset: The prepared dataset.
        world: The ranks; rank 0 inverts.
        splits: Splits to fit on.
        seed: Not used.
        setting: ``penalty``, the same for every movie; and ``count_confidence``, with which ``x`` has the weights of
            movies by their counts.

    Raises:
        UserError: There are too many movies.
    """
    return _fits(dataset, world, splits, None)(setting)


def try_ease(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int) -> Callable[[dict], Fitted]:
    """Returns fits of EASE by setting: to the most liked movies, if movies are many and users too."""
    return _fits(dataset, world, splits, CHOICE_MOVIES)


def _fits(
    dataset: PreparedDataset, world: World, splits: tuple[int, ...], most: int | None
) -> Callable[[dict], Fitted]:
    require_few_movies(dataset.num_movies, "baseline EASE", "leave out this baseline")

    @functools.cache
    def problem(confidence: float) -> EaseProblem:
        train = training_interactions(dataset, world, splits, confidence)
        users = round(world.all_reduce_scalar(int((train.user_ptr.diff() > 0).sum())))
        rated = world.all_reduce_sum_(torch.bincount(train.movie, minlength=dataset.num_movies))
        by_users = is_by_users(users, int((rated > 0).sum()))
        return ease_problem(train, dataset.num_movies, world, None if by_users else most)

    def fit(setting: dict) -> Fitted:
        confidence = setting.get("count_confidence", 0.0)
        return fitted_ranking(dataset, world, problem(confidence).solve(setting["penalty"]).scores, confidence)

    return fit


EASE = Baseline(
    "EASE",
    "ranking",
    tuple({"penalty": penalty} for penalty in PENALTIES),
    fit_ease,
    trial=try_ease,
    uses_counts=True,
)
