"""Global mean and biases against dense sums and scikit-learn's metrics."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from gnnrec.baselines.means import fit_biases, fit_mean
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION
from gnnrec.distributed.world import World
from tests.baselines.data import clipped, triples


def assert_scores(metrics, dataset, rating, predicted):
    predicted = clipped(dataset, predicted)
    assert metrics.rmse == pytest.approx(root_mean_squared_error(rating, predicted), rel=1e-5)
    assert metrics.mae == pytest.approx(mean_absolute_error(rating, predicted), rel=1e-5)


@pytest.mark.parametrize("split", [TEST, VALIDATION])
def test_global_mean_equals_dense(small, split):
    metrics = fit_mean(small, World(), (TRAIN,), 0, {}).metrics(split)
    rating = triples(small, split)[2]
    assert_scores(metrics, small, rating, np.full(len(rating), triples(small, TRAIN)[2].mean()))


def test_biases_equal_dense(small):
    user, movie, rating = triples(small, TRAIN)
    table, known = (np.zeros((small.num_users, small.num_movies)) for _ in range(2))
    table[user, movie], known[user, movie] = rating - rating.mean(), 1
    user_bias = np.zeros(small.num_users)
    for _ in range(2):
        movie_bias = ((table - user_bias[:, None]) * known).sum(0) / (known.sum(0) + 5)
        user_bias = ((table - movie_bias) * known).sum(1) / (known.sum(1) + 5)
    test_user, test_movie, test_rating = triples(small, TEST)
    metrics = fit_biases(small, World(), (TRAIN,), 0, {}).metrics(TEST)
    assert_scores(metrics, small, test_rating, rating.mean() + user_bias[test_user] + movie_bias[test_movie])
