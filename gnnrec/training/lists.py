"""Measures of the lists of a rating run, next to those of simple baselines, for its summary and records."""

from __future__ import annotations

from typing import Any

import torch

from gnnrec.baselines.feature_rankings import FEATURE_RANKINGS, FeatureRanking
from gnnrec.baselines.item_knn import NEIGHBORS
from gnnrec.baselines.popularity import DAYS, recent_raters
from gnnrec.baselines.ranking import MOST_MOVIES_FOR_PAIRS
from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import TEST, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.lists import RatingLists, list_split
from gnnrec.evaluation.metrics import prefixed
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.evaluation.ranking_split import RankingSplit
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
        metrics of popularity, where there are times that of the last year, with interest of item-kNN and of EASE,
        whose scores are those that interest approximates, and for few movies with features of rankings from features
        (:mod:`gnnrec.baselines.feature_rankings`), which are tuned on validation.
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
        if dataset.num_movies <= MOST_MOVIES_FOR_PAIRS:
            suiting = [ranking for ranking in FEATURE_RANKINGS if ranking.suits(dataset)]
            tuning = None if config.refit or not suiting else _validation(config, dataset, world)
            rows |= {ranking.name: _tuned(ranking, dataset, split, tuning) for ranking in suiting}
    return {
        **_figures(metrics),
        "users": metrics.count,
        "order": "interest and rating" if fitted else "rating",
        "baselines": {name: _figures(row) for name, row in rows.items()},
    }


def _validation(config: TrainConfig, dataset: PreparedDataset, world: World) -> RankingSplit | None:
    """The users on whose validation ratings rankings are tuned; None without such ratings."""
    split = list_split(dataset, world, VALIDATION, False, config.interest, config.seed)
    return split if world.all_reduce_scalar(split.targets.num_edges) else None


def _tuned(
    ranking: FeatureRanking, dataset: PreparedDataset, split: RankingSplit, tuning: RankingSplit | None
) -> RankingMetrics:
    """Metrics of a ranking with the best setting on validation, or the default; every rank calls this."""
    world = split.world
    fits = ranking.fits(dataset, world, split.shown)
    setting = ranking.grid[0]
    if tuning is not None:
        losses = []
        for candidate in ranking.grid:
            world.check_stop()
            losses.append(world.broadcast_object(tuning.rank(fits(candidate)).loss or 0.0))
        setting = ranking.grid[losses.index(min(losses))]
    return split.rank(fits(setting))


def list_records(lists: dict[str, Any]) -> dict[str, float]:
    """Metrics of lists under the names of records and trackers, such as ``test_list_recall@20``."""
    values = {name: lists.get(name) for name in LIST_METRICS}
    return {name.replace("test_", "test_list_"): value for name, value in values.items() if value is not None}


def _figures(metrics: RankingMetrics) -> dict[str, float | None]:
    return {name: value for name, value in prefixed("test", metrics).items() if name in LIST_METRICS}
