"""Tables by an inverse over users equal those over movies, and singular vectors by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.models.ease import is_by_users
from gnnrec.models.item_problem import ItemsByMovies, ItemsByUsers
from tests.models.test_closed_form_start import L2, numpy_item_weights, weighted_users


@pytest.mark.parametrize("dim", [3, 8, 30])
def test_both_inverses_give_the_same_scores(dim):
    rated = weighted_users(12, 40, unrated=3) * np.random.default_rng(5).choice([0.3, 1.0], (12, 40))
    by_users, by_movies = ItemsByUsers(torch.from_numpy(rated)), ItemsByMovies(torch.from_numpy(rated.T @ rated))
    weights = numpy_item_weights(rated)
    right = np.linalg.svd(rated @ weights)[2][:dim].T if dim < 12 else np.linalg.svd(rated @ weights)[2][:12].T
    expected = weights @ right @ right.T
    for problem in (by_users, by_movies):
        source, target = problem.tables(L2, dim)
        assert source.shape == target.shape == (40, dim)
        np.testing.assert_allclose((source @ target.T).numpy(), expected, atol=1e-9)
        norms = target.norm(dim=0)[: min(dim, 12)].numpy()
        np.testing.assert_allclose(norms, 1, atol=1e-9)
        assert not source[37:].any() and not source[:, 12:].any()


def test_the_cheaper_inverse_is_taken():
    assert is_by_users(500, 6000) and not is_by_users(500, 900) and not is_by_users(40_000, 100_000)
