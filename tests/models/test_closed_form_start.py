"""The closed form and its tables against NumPy on the matrix of users by movies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.models.closed_form_start import item_model, movie_penalty, top_eigenvectors

L2 = 20.0


def weighted_users(users: int, movies: int, seed: int = 0, unrated: int = 2) -> np.ndarray:
    """Returns ``sqrt(W) X`` of random users, float64 ``[users, movies]``; the last movies have no ratings."""
    rng = np.random.default_rng(seed)
    rated = (rng.random((users, movies)) < rng.random(movies) * 0.5 + 0.05).astype(np.float64)
    rated[:, movies - unrated :] = 0
    return rated * np.sqrt(rng.random((users, 1)) + 0.5)


def numpy_item_weights(rated: np.ndarray) -> np.ndarray:
    """Computes the item model movie by movie: each column is a ridge regression on all other movies."""
    gram = rated.T @ rated
    diagonal = np.diag(gram)
    penalty = L2 * (diagonal / diagonal[diagonal > 0].mean() + 0.001) ** 0.3 + diagonal
    weights = np.zeros_like(gram)
    for movie in range(len(gram)):
        others = np.arange(len(gram)) != movie
        left = gram[np.ix_(others, others)] + np.diag(penalty[others])
        weights[others, movie] = np.linalg.solve(left, gram[others, movie])
    return weights


def test_the_item_model_is_a_ridge_regression_of_each_movie_on_all_others():
    rated = weighted_users(40, 15)
    model = item_model(torch.from_numpy(rated.T @ rated), L2)
    expected = numpy_item_weights(rated)
    assert model.rated.tolist() == list(range(13))
    np.testing.assert_allclose(model.weights.numpy(), expected[:13, :13], atol=1e-12)
    assert not expected[13:].any() and not expected[:, 13:].any()


@pytest.mark.parametrize("dim", [1, 5, 13])
def test_tables_are_singular_vectors(dim):
    rated = weighted_users(40, 15)
    weights = numpy_item_weights(rated)
    source, target = item_model(torch.from_numpy(rated.T @ rated), L2).tables(dim)
    assert source.shape == target.shape == (15, dim)
    right = np.linalg.svd(rated @ weights)[2][:dim].T
    np.testing.assert_allclose((target @ target.T).numpy(), right @ right.T, atol=1e-9)
    np.testing.assert_allclose((source @ target.T).numpy(), weights @ right @ right.T, atol=1e-9)


def test_columns_beyond_the_rank_are_zero():
    rated = weighted_users(6, 15)
    source, target = item_model(torch.from_numpy(rated.T @ rated), L2).tables(20)
    assert (target[:, :6].norm(dim=0) > 0.99).all()
    assert not target[:, 6:].any() and not source[:, 6:].any()
    weights = numpy_item_weights(rated)
    np.testing.assert_allclose(rated @ (source @ target.T).numpy(), rated @ weights, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_many_movies_are_nearly_exact(dtype):
    """With the Krylov approximation for many movies, the vectors retain almost all of the largest possible variance."""
    rated, dim = weighted_users(900, 700, unrated=0), 6
    model = item_model(torch.from_numpy(rated.T @ rated), L2)
    vectors = top_eigenvectors(model.gram.to(dtype), model.weights.to(dtype), dim).double()
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(dim, dtype=torch.float64), atol=1e-5, rtol=0)
    scores = rated @ model.weights.numpy()
    best = (np.linalg.svd(scores, compute_uv=False)[:dim] ** 2).sum()
    assert ((scores @ vectors.numpy()) ** 2).sum() > 0.9999 * best


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_small_eigenvalues_are_kept(dtype):
    """In real data the first eigenvalue, due to popularity, is far above all others."""
    values = torch.logspace(0, -5, 200, dtype=dtype)
    vectors = top_eigenvectors(torch.diag(values), torch.eye(200, dtype=dtype), 150)
    torch.testing.assert_close(vectors.abs().T @ values, values[:150], rtol=1e-3, atol=0)


def test_the_penalty_is_proportional_to_l2_and_grows_with_popularity():
    popularity = torch.tensor([0.0, 1.0, 4.0, 4.0])
    penalty = movie_penalty(popularity, 2.0)
    torch.testing.assert_close(penalty, 2 * (popularity / 3 + 0.001) ** 0.3)
    torch.testing.assert_close(movie_penalty(popularity, 6.0), 3 * penalty)


def test_the_gram_matrix_is_not_modified():
    rated = weighted_users(40, 15, unrated=0)
    gram = torch.from_numpy(rated.T @ rated)
    before = gram.clone()
    item_model(gram, L2).tables(3)
    assert torch.equal(gram, before)
