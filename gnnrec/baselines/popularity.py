"""Recommends the movies that most users like to every user."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.ranking_fit import fitted_ranking, training_interactions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions


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


POPULARITY = Baseline("popularity", "ranking", ({},), _fit)
