"""Training data of ranking baselines, and their metrics on any split from their scores."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gnnrec.baselines.baseline import Fitted
from gnnrec.data.prepared import VALIDATION, PreparedDataset
from gnnrec.data.split_ranking import relevance
from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.evaluation.ranking_split import read_ranking_split
from gnnrec.graph.interactions import Interactions, read_interactions, require_counts, training_splits
from gnnrec.graph.partition import partition

#: Lowest relevant rating of datasets that were not prepared for ranking.
RELEVANT = 4.0


def training_interactions(
    dataset: PreparedDataset, world: World, splits: tuple[int, ...], confidence: float = 0.0
) -> Interactions:
    """Relevant ratings of this rank's users to fit on.

    Args:
        dataset: The prepared dataset.
        world: The ranks.
        splits: Splits to fit on. Shown ratings of validation users are included exactly if validation is.
        confidence: Strength of the weights of ratings (:func:`gnnrec.graph.interactions.count_confidence`).
    """
    splits = training_splits(dataset.manifest.split["protocol"], refit=VALIDATION in splits)
    part = partition(dataset.manifest.shards, world.rank, world.size)
    require_counts(dataset, confidence)
    return read_interactions(dataset, part, splits, _relevant(dataset), world.device, confidence=confidence)


def fitted_ranking(
    dataset: PreparedDataset, world: World, score: Callable[[Interactions], Tensor], confidence: float = 0.0
) -> Fitted:
    """A fitted baseline that ranks movies for users from their shown ratings.

    Args:
        dataset: Dataset of the held-out ratings.
        world: The ranks.
        score: Maps shown ratings of some users to their scores of all movies, float ``[users, movies]``.
        confidence: Strength of the weights of shown ratings.
    """

    def metrics(split: int) -> RankingMetrics:
        return read_ranking_split(dataset, world, split, _relevant(dataset), confidence=confidence).rank(score)

    return Fitted(torch.no_grad()(metrics))


def _relevant(dataset: PreparedDataset) -> float:
    threshold = relevance(dataset.manifest)
    return RELEVANT if threshold is None else threshold
