"""Similarities of item-kNN against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from gnnrec.models.neighbors import cosine_neighbors


@pytest.mark.parametrize("neighbors", [1, 4, 29, 500])
def test_each_movie_has_its_nearest_ones(neighbors):
    rated = (np.random.default_rng(0).random((200, 30)) < 0.2).astype(float)
    rated[:, 7] = 0  # a movie without ratings is near nothing
    expected = cosine_similarity(rated.T)
    np.fill_diagonal(expected, 0)
    for movie in range(30):
        lowest = np.sort(expected[:, movie])[::-1][min(neighbors, 30) - 1]
        expected[expected[:, movie] < lowest * (1 - 1e-6), movie] = 0
    actual = cosine_neighbors(torch.from_numpy(rated.T @ rated), neighbors)
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-12)
    assert (actual > 0).sum(0).max() >= min(neighbors, 28)
