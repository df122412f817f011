"""Baselines without factors: the global mean, and user and movie biases."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.scoring import fitted_ratings
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Targets
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.statistics import message_statistics
from gnnrec.kernels.ragged import owners


def fit_mean(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
    """Predicts the mean of the fitted ratings."""
    graph = build_rank_graph(dataset, world, splits)
    mean = message_statistics(graph).mean
    return fitted_ratings(dataset, graph, lambda targets: mean.expand(targets.rating.numel()))


def fit_biases(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
    """Predicts with :func:`bias_predictor`."""
    graph = build_rank_graph(dataset, world, splits)
    return fitted_ratings(dataset, graph, bias_predictor(graph))


def bias_predictor(graph: RankGraph) -> Callable[[Targets], Tensor]:
    """A function from ratings to mean + user bias + movie bias (:func:`gnnrec.graph.statistics.message_statistics`).

    Args:
        graph: Graph of the ratings that the biases are fitted on. Every rank calls this.
    """
    statistics = message_statistics(graph)
    mean, user_bias, movie_bias = statistics.mean, statistics.user_bias, statistics.movie_bias
    return lambda targets: mean + user_bias[owners(targets.pointer)] + movie_bias[targets.movie]


GLOBAL_MEAN = Baseline("global mean", "rating", ({},), fit_mean)
BIASES = Baseline("biases", "rating", ({},), fit_biases)
