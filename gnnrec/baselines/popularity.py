"""Everybody gets the movies that most users like."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.ranking_fit import fitted_ranking, training_interactions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed import World
from gnnrec.graph.interactions import Interactions


def _fit(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
    train = training_interactions(dataset, world, splits)
    raters = world.sum_(torch.bincount(train.movie, minlength=dataset.num_movies)).double()

    def score(shown: Interactions) -> Tensor:
        return raters.expand(shown.num_users, -1)

    return fitted_ranking(dataset, world, score)


POPULARITY = Baseline("popularity", "ranking", ({},), _fit)
