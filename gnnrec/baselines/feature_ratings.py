"""Ratings from features of movies, which know movies without ratings: biases with kNN, and biases with a ridge."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.movie_features import feature_matrix, feature_neighbors, movie_features, ranked_movies
from gnnrec.baselines.scoring import fitted_ratings
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Targets
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.statistics import message_statistics
from gnnrec.kernels.ragged import owners
from gnnrec.kernels.sums import bag
from gnnrec.models.closed_form import require_few_movies

#: Values of users and movies that are computed at a time.
_BLOCK = 1 << 24


class _Biases:
    """Closed-form biases, and what they leave of each rating.

    Attributes:
        base: Mean and biases of users, float ``[users]``.
        movie: Biases of movies, float ``[movies]``.
        trained: Movies with ratings, bool ``[movies]``.
        residual: Ratings less mean and all biases, float ``[edges]``.
    """

    def __init__(self, graph: RankGraph):
        statistics = message_statistics(graph)
        self.base, self.movie = statistics.mean + statistics.user_bias, statistics.movie_bias
        self.trained = graph.movie_degree > 0
        self.residual = graph.rating - self.base[owners(graph.user_ptr)] - self.movie[graph.movie.long()]


def _knn(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int) -> Callable[[dict], Fitted]:
    """Biases and a weighted mean of the residuals of the user's ratings of similar movies.

    A movie without ratings has the weighted mean bias of its neighbors. Of ``neighbors`` a movie has that many; a mean
    of residuals is shrunk as by residuals of zero with a weight of ``shrinkage``.
    """
    require_few_movies(dataset.num_movies, f"baseline {RATING_KNN.name}", "leave out this baseline")
    graph = build_rank_graph(dataset, world, splits)
    biases, x = _Biases(graph), feature_matrix(movie_features(dataset, RATING_KNN.name), world.device)
    wanted = ranked_movies(dataset, biases.trained)
    nearest = functools.lru_cache(maxsize=1)(functools.partial(feature_neighbors, x, biases.trained, wanted))

    def fit(setting: dict) -> Fitted:
        similarity = nearest(setting["neighbors"]).to(graph.dtype)
        known = biases.trained.to(graph.dtype)
        mean_bias = similarity.T @ biases.movie / (similarity.T @ known).clamp(min=torch.finfo(graph.dtype).tiny)
        movie_bias = biases.movie.clone()
        movie_bias[wanted] = torch.where(biases.trained[wanted], biases.movie[wanted], mean_bias)

        def predict(targets: Targets) -> Tensor:
            user = owners(targets.pointer, torch.int64)
            predicted = biases.base[user] + movie_bias[targets.movie.long()]
            asked, place = targets.movie.long().unique(return_inverse=True)
            assert bool(torch.isin(asked, wanted).all()), "ratings that were fitted are no targets"
            columns = torch.searchsorted(wanted, asked)
            table = similarity[:, columns].contiguous()
            users = max(1, _BLOCK // max(columns.numel(), 1))
            for first in range(0, graph.num_users, users):
                last = min(first + users, graph.num_users)
                edges = slice(int(graph.user_ptr[first]), int(graph.user_ptr[last]))
                pointer = graph.user_ptr[first : last + 1] - edges.start
                chosen = slice(int(targets.pointer[first]), int(targets.pointer[last]))
                own = user[chosen] - first, place[chosen]
                sums = bag(table, graph.movie[edges], pointer, biases.residual[edges])[own]
                predicted[chosen] += sums / (bag(table, graph.movie[edges], pointer)[own] + setting["shrinkage"])
            return predicted

        return fitted_ratings(dataset, graph, predict)

    return fit


def _ridge(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int) -> Callable[[dict], Fitted]:
    """Biases and two ridges: from features to the biases of movies without ratings, and from features to a user's
    residuals.

    The first is fitted on all ratings less mean and biases of users, with ``movie_l2``, the second on the residuals of
    each user, with ``user_l2``. Both have a constant feature.
    """
    graph = build_rank_graph(dataset, world, splits)
    biases, x = _Biases(graph), feature_matrix(movie_features(dataset, RATING_RIDGE.name), world.device)
    x = torch.cat([x, x.new_ones(len(x), 1)], 1)
    left_over = (graph.rating - biases.base[owners(graph.user_ptr)]).double()
    sums = x.new_zeros(len(x)).index_add_(0, graph.movie.long(), left_over)
    right = x.T @ world.all_reduce_sum_(sums)
    gram = x.T @ (x * graph.movie_degree.double()[:, None])

    def fit(setting: dict) -> Fitted:
        own = x @ torch.linalg.solve(_with_l2(gram, setting["movie_l2"]), right)
        movie_bias = torch.where(biases.trained, biases.movie.double(), own)

        def predict(targets: Targets) -> Tensor:
            user = owners(targets.pointer, torch.int64)
            predicted = (biases.base[user] + movie_bias[targets.movie.long()]).cpu()
            features, residual, rated = x.cpu(), biases.residual.double().cpu(), graph.movie.long().cpu()
            edges, asked, movie = graph.user_ptr.tolist(), targets.pointer.tolist(), targets.movie.long().cpu()
            for number in (targets.pointer.diff() > 0).nonzero().squeeze(1).tolist():
                own = slice(edges[number], edges[number + 1])
                chosen = slice(asked[number], asked[number + 1])
                weights = _user_ridge(features[rated[own]], residual[own], setting["user_l2"])
                predicted[chosen] += features[movie[chosen]] @ weights
            return predicted.to(graph.device, graph.dtype)

        return fitted_ratings(dataset, graph, predict)

    return fit


def _user_ridge(x: Tensor, y: Tensor, l2: float) -> Tensor:
    """Weights of a ridge, float64 ``[columns]``, by the smaller one of its two systems of equations."""
    if len(x) < x.shape[1]:
        return x.T @ torch.linalg.solve(_with_l2(x @ x.T, l2), y)
    return torch.linalg.solve(_with_l2(x.T @ x, l2), x.T @ y)


def _with_l2(gram: Tensor, l2: float) -> Tensor:
    return gram + l2 * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)


def _baseline(name: str, grid: tuple[dict, ...], trial: Callable[..., Callable[[dict], Fitted]]) -> Baseline:
    def fit(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
        return trial(dataset, world, splits, seed)(setting)

    def suits(dataset: PreparedDataset) -> bool:
        return dataset.features("movie") is not None

    return Baseline(name, "rating", grid, fit, trial=trial, suits=suits)


RATING_KNN = _baseline(
    "biases and kNN",
    tuple(
        {"neighbors": count, "shrinkage": shrinkage}
        for count, shrinkage in itertools.product((100, 30, 400), (5.0, 2.0, 15.0, 50.0))
    ),
    _knn,
)
RATING_RIDGE = _baseline(
    "biases and ridge",
    tuple(
        {"movie_l2": movie, "user_l2": user}
        for movie, user in itertools.product((100.0, 10.0, 1000.0, 10000.0), (30.0, 10.0, 100.0, 300.0))
    ),
    _ridge,
)
FEATURE_RATINGS = (RATING_KNN, RATING_RIDGE)
