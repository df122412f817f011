"""Rankings from features of movies, which know movies without ratings: popularity by category, kNN, and a ridge."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.movie_features import (
    category_shares,
    feature_matrix,
    feature_neighbors,
    has_categories,
    movie_features,
    ranked_movies,
)
from gnnrec.baselines.ranking_fit import fitted_ranking, training_interactions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions
from gnnrec.kernels.sums import bag
from gnnrec.models.closed_form import require_few_movies
from gnnrec.models.ease import Ease, ease_problem

#: Scores of all movies, float ``[users, movies]``, from shown ratings of some users.
Scores = Callable[[Interactions], Tensor]


@dataclasses.dataclass(frozen=True)
class FeatureRanking:
    """A ranking from features of movies.

    Attributes:
        name: Name in tables.
        grid: Settings from which validation chooses, the default first.
        fits: ``(dataset, world, train) -> (setting -> scores)``; every rank makes the same calls.
        needs_categories: Features must have categories.
    """

    name: str
    grid: tuple[dict, ...]
    fits: Callable[[PreparedDataset, World, Interactions], Callable[[dict], Scores]]
    needs_categories: bool = False

    def suits(self, dataset: PreparedDataset) -> bool:
        """Returns whether a dataset has the features."""
        features = dataset.features("movie")
        return features is not None and (not self.needs_categories or has_categories(features))

    def baseline(self) -> Baseline:
        """The ranking as a baseline of ranking models."""

        def trial(
            dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int
        ) -> Callable[[dict], Fitted]:
            fits = self.fits(dataset, world, training_interactions(dataset, world, splits))
            return lambda setting: fitted_ranking(dataset, world, fits(setting))

        def fit(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
            return trial(dataset, world, splits, seed)(setting)

        return Baseline(self.name, "ranking", self.grid, fit, trial=trial, suits=self.suits)


def _raters(train: Interactions, dataset: PreparedDataset, world: World) -> Tensor:
    """Training ratings of each movie, float64 ``[movies]``."""
    return world.all_reduce_sum_(torch.bincount(train.movie, minlength=dataset.num_movies)).double()


def _category_popularity(dataset: PreparedDataset, world: World, train: Interactions) -> Callable[[dict], Scores]:
    """Mean of ``popularity ** popularity_power * share ** share_power`` over the categories of a movie.

    The popularity of a category is the mean number of ratings of its movies that have some; a user's share of a
    category is that among the shown ratings.
    """
    shares = category_shares(movie_features(dataset, CATEGORY_POPULARITY.name), world.device)
    raters = _raters(train, dataset, world)
    member = (shares > 0).double()
    popularity = raters @ member / (member.T @ (raters > 0).double()).clamp(min=1)

    def fit(setting: dict) -> Scores:
        weight = popularity ** setting["popularity_power"]

        def score(shown: Interactions) -> Tensor:
            liked = bag(shares, shown.movie, shown.user_ptr)
            share = liked / liked.sum(1, keepdim=True).clamp(min=1)
            return (share ** setting["share_power"] * weight) @ shares.T

        return score

    return fit


def _feature_knn(dataset: PreparedDataset, world: World, train: Interactions) -> Callable[[dict], Scores]:
    """Sum of ``cosine ** power`` over the shown movies that are among the nearest ones of a movie."""
    require_few_movies(dataset.num_movies, f"baseline {FEATURE_KNN.name}", "leave out this baseline")
    x = feature_matrix(movie_features(dataset, FEATURE_KNN.name), world.device)
    trained = _raters(train, dataset, world) > 0
    wanted = ranked_movies(dataset, trained)
    nearest = functools.lru_cache(maxsize=1)(functools.partial(feature_neighbors, x, trained, wanted))

    def fit(setting: dict) -> Scores:
        similarity = nearest(setting["neighbors"]) ** setting["power"]

        def score(shown: Interactions) -> Tensor:
            scores = similarity.new_zeros(shown.num_users, dataset.num_movies)
            scores[:, wanted] = bag(similarity, shown.movie, shown.user_ptr)
            return scores

        return score

    return fit


def _feature_ridge(dataset: PreparedDataset, world: World, train: Interactions) -> Callable[[dict], Scores]:
    """Scores of EASE for movies with ratings; for others those of a ridge from features to their vectors.

    The vectors are the columns of the matrix of EASE. A ridge is linear in its targets, so the scores of a user are
    those of a ridge from the features to the user's scores of movies with ratings.
    """
    require_few_movies(dataset.num_movies, f"baseline {FEATURE_RIDGE.name}", "leave out this baseline")
    x = feature_matrix(movie_features(dataset, FEATURE_RIDGE.name), world.device)
    trained = _raters(train, dataset, world) > 0
    mean = x[trained].mean(0)
    known, every = x[trained] - mean, x - mean
    gram = known.T @ known
    problem = ease_problem(train, dataset.num_movies, world)

    @functools.lru_cache(maxsize=1)
    def ease(penalty: float) -> Ease:
        return problem.solve(penalty)

    def fit(setting: dict) -> Scores:
        left = gram + setting["l2"] * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        hat = torch.linalg.solve(left, every.T)
        model = ease(setting["penalty"])

        def score(shown: Interactions) -> Tensor:
            scores = model.scores(shown).double()
            own = scores[:, trained]
            middle = own.mean(1, keepdim=True)
            return torch.where(trained, scores, middle + (own - middle) @ known @ hat)

        return score

    return fit


#: Powers of the popularity of a category and of a user's share of it: popularity alone is the default.
_POWERS = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 1.0), (0.5, 0.5))
CATEGORY_POPULARITY = FeatureRanking(
    "category popularity",
    tuple({"popularity_power": popularity, "share_power": share} for popularity, share in _POWERS),
    _category_popularity,
    needs_categories=True,
)
FEATURE_KNN = FeatureRanking(
    "feature kNN",
    tuple({"neighbors": count, "power": power} for count, power in itertools.product((100, 20, 400), (1, 4))),
    _feature_knn,
)
FEATURE_RIDGE = FeatureRanking(
    "feature ridge",
    tuple(
        {"penalty": penalty, "l2": l2}
        for penalty, l2 in itertools.product((300.0, 1000.0), (10.0, 1.0, 100.0, 1000.0, 10000.0))
    ),
    _feature_ridge,
)
FEATURE_RANKINGS = (CATEGORY_POPULARITY, FEATURE_KNN, FEATURE_RIDGE)
