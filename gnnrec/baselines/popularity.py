"""Recommends the movies that most users like to every user: of all time, or of the last days."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.ranking_fit import fitted_ranking, training_interactions
from gnnrec.data.blocks import look_up
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.interactions import Interactions

#: Numbers of days from which validation chooses, the default first.
DAYS = (365, 7, 30, 90, 1095)
_DAY = 24 * 60 * 60


def _fit(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
    return fitted_ranking(dataset, world, popularity_scorer(dataset, world, splits))


def popularity_scorer(
    dataset: PreparedDataset, world: World, splits: tuple[int, ...]
) -> Callable[[Interactions], Tensor]:
    """A function from users' shown ratings to the number of users who like each movie, float64 ``[users, movies]``.

    Args:
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        splits: Splits to count in.
    """
    train = training_interactions(dataset, world, splits)
    raters = world.all_reduce_sum_(torch.bincount(train.movie, minlength=dataset.num_movies)).double()
    return lambda shown: raters.expand(shown.num_users, -1)


def recent_raters(train: Interactions, dataset: PreparedDataset, world: World, days: int) -> Tensor:
    """Counts the ratings of each movie in the last days before the newest one, float64 ``[movies]``.

    Movies with equally many are in the order of all their ratings.

    Args:
        train: Ratings of this rank's users.
        dataset: A dataset with times.
        world: The ranks; every rank calls this.
        days: Number of days.
    """
    time = torch.from_numpy(look_up(dataset.timestamp, train.edge_id.cpu().numpy())).to(train.movie.device)
    lowest = torch.iinfo(time.dtype).min
    newest = world.all_reduce_max_(time.max() if time.numel() else torch.tensor(lowest, device=time.device))
    recent = torch.bincount(train.movie[time > newest - days * _DAY], minlength=dataset.num_movies)
    raters = world.all_reduce_sum_(torch.bincount(train.movie, minlength=dataset.num_movies)).double()
    return world.all_reduce_sum_(recent).double() + raters / (1 + raters.sum())


def _fit_recent(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
    if dataset.timestamp is None:
        raise UserError(f"baseline {RECENT_POPULARITY.name}: {dataset.directory} has no times: leave it out")
    raters = recent_raters(training_interactions(dataset, world, splits), dataset, world, setting["days"])
    return fitted_ranking(dataset, world, lambda shown: raters.expand(shown.num_users, -1))


POPULARITY = Baseline("popularity", "ranking", ({},), _fit)
RECENT_POPULARITY = Baseline(
    "recent popularity", "ranking", tuple({"days": days} for days in DAYS), _fit_recent, needs_times=True
)
