"""Measures of the lists of a rating run, next to those of simple baselines, for its summary and records."""

from __future__ import annotations

from typing import Any

import torch

from gnnrec.baselines.item_knn import NEIGHBORS
from gnnrec.baselines.popularity import DAYS, recent_raters
from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import TEST, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.lists import RatingLists, list_split
from gnnrec.evaluation.metrics import prefixed
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.rating_model import RatingModel
from gnnrec.training.interest import FittedInterest

#: Metrics of lists in tables: of the first 20 movies.
LIST_METRICS = ("test_recall@20", "test_ndcg@20", "test_coverage", "test_popular")


def measure_lists(
    config: TrainConfig,
    dataset: PreparedDataset,
    world: World,
    model: RatingModel,
    embeddings: NodeEmbeddings,
    fitted: FittedInterest | None,
) -> dict[str, Any]:
    """Test metrics of lists for the movies that users like.

    Args:
        config: The configuration.
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        model: The trained model, without DDP.
        embeddings: Its embeddings of this rank's users and of all movies.
        fitted: Interest; None for lists in the order of predicted ratings.

    Returns:
        ``test_`` metrics of the model; ``users``, the number of users measured; ``order``; and in ``baselines`` the
        metrics of popularity, where there are times that of the last year, and with interest of item-kNN and of EASE,
        whose scores are those that interest approximates.
    """
    split = list_split(dataset, world, TEST, config.refit, config.interest, config.seed)
    interest = fitted.interest if fitted else None
    metrics = RatingLists(model, embeddings, interest).measure(split)
    rows: dict[str, RankingMetrics] = {}
    if config.baselines:
        raters = world.all_reduce_sum_(torch.bincount(split.shown.movie, minlength=dataset.num_movies)).double()
        rows["popularity"] = split.rank(lambda shown: raters.expand(shown.num_users, -1))
        if dataset.timestamp is not None:
            recent = recent_raters(split.shown, dataset, world, DAYS[0])
            rows["recent popularity"] = split.rank(lambda shown: recent.expand(shown.num_users, -1))
        if fitted and fitted.problem and fitted.ease:
            rows["item kNN"] = split.rank(fitted.problem.neighbors(NEIGHBORS[0]).scores)
            rows["EASE"] = split.rank(fitted.ease.scores)
    return {
        **_figures(metrics),
        "users": metrics.count,
        "order": "interest and rating" if fitted else "rating",
        "baselines": {name: _figures(row) for name, row in rows.items()},
    }


def list_records(lists: dict[str, Any]) -> dict[str, float]:
    """Metrics of lists under the names of records and trackers, such as ``test_list_recall@20``."""
    values = {name: lists.get(name) for name in LIST_METRICS}
    return {name.replace("test_", "test_list_"): value for name, value in values.items() if value is not None}


def _figures(metrics: RankingMetrics) -> dict[str, float | None]:
    return {name: value for name, value in prefixed("test", metrics).items() if name in LIST_METRICS}
