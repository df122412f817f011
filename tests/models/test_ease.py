"""EASE and its tables against dense inverses and singular values by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions, slice_users
from gnnrec.kernels.ragged import offsets
from gnnrec.models import ease
from gnnrec.models.ease import ease_problem, select_movies
from gnnrec.models.interest import Interest
from tests.distributed.ranks import run_on_ranks

#: Users and movies: the inverse is over movies, or over users, which are fewer.
SHAPES = {"by movies": (50, 30), "by users": (12, 70)}


def ratings(users: int, movies: int) -> np.ndarray:
    """Random ratings; one user and two movies have none."""
    rated = np.random.default_rng(3).random((users, movies)) < np.linspace(0.5, 0.1, movies)
    rated[4], rated[:, [1, movies - 1]] = False, False
    return rated


def interactions(rated: np.ndarray) -> Interactions:
    chosen = torch.from_numpy(rated)
    movie = chosen.nonzero()[:, 1].to(torch.int32)
    return Interactions(offsets(chosen.sum(1)), movie, torch.ones(len(movie)), torch.arange(len(movie)))


def dense_weights(rated: np.ndarray, l2: float) -> np.ndarray:
    """Solves one ridge regression for each movie on all others, by least squares."""
    x = rated.astype(np.float64)
    weights = np.zeros((x.shape[1], x.shape[1]))
    for movie in range(x.shape[1]):
        others = np.delete(np.arange(x.shape[1]), movie)
        design = np.vstack([x[:, others], np.sqrt(l2) * np.eye(len(others))])
        target = np.concatenate([x[:, movie], np.zeros(len(others))])
        weights[others, movie] = np.linalg.lstsq(design, target, rcond=None)[0]
    return weights


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_scores_are_those_of_ridge_regressions(shape):
    rated = ratings(*shape)
    solution = ease_problem(interactions(rated), shape[1], World()).solve(3.0)
    assert type(solution).__name__ == ("_EaseOfMovies" if shape[0] > shape[1] else "_WeightsOfUsers")
    expected = rated @ dense_weights(rated, 3.0)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(solution.scores(interactions(rated)).numpy(), expected, atol=1e-9)
    new = np.random.default_rng(5).random((6, shape[1])) < 0.3  # users that were not fitted, of all movies
    new_scores = solution.scores(interactions(new)).numpy()
    np.testing.assert_allclose(new_scores, new @ dense_weights(rated, 3.0), atol=1e-9)


@pytest.mark.parametrize("dim", [4, 64])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_tables_are_the_best_approximation_of_their_rank(shape, dim):
    rated = ratings(*shape)
    embedding, target = ease_problem(interactions(rated), shape[1], World()).solve(3.0).tables(dim)
    assert embedding.shape == target.shape == (shape[1], dim)
    scores = rated @ dense_weights(rated, 3.0)
    left, values, right = np.linalg.svd(scores, full_matrices=False)
    expected = (left[:, :dim] * values[:dim]) @ right[:dim]
    np.testing.assert_allclose(rated @ embedding.numpy() @ target.numpy().T, expected, atol=1e-8)


def test_selected_movies_are_numbered_by_position():
    rated = ratings(9, 20)
    kept = torch.tensor([0, 3, 4, 11])
    selected = select_movies(interactions(rated), kept, 20)
    expected = interactions(rated[:, kept.numpy()])
    assert torch.equal(selected.user_ptr, expected.user_ptr) and torch.equal(selected.movie, expected.movie)


def on_ranks(world: World, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Scores by EASE and its tables of this rank's users."""
    whole = interactions(ratings(*shape))
    bounds = [shape[0] * rank // world.size for rank in range(world.size + 1)]
    mine = slice_users(whole, torch.arange(bounds[world.rank], bounds[world.rank + 1]))
    solution = ease_problem(mine, shape[1], world).solve(3.0)
    embedding, target = solution.tables(5)
    return solution.scores(mine).numpy(), (embedding @ target.T).numpy()


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_three_ranks_agree_with_one(shape):
    ((scores, product),) = run_on_ranks(1, on_ranks, shape)
    parts = run_on_ranks(3, on_ranks, shape)
    np.testing.assert_allclose(np.concatenate([part for part, _ in parts]), scores, atol=1e-9)
    np.testing.assert_allclose(parts[0][1], product, atol=1e-9)


def test_many_elements_are_not_made_dense(monkeypatch):
    monkeypatch.setattr(ease, "ELEMENTS", 100)
    rated = ratings(12, 70)
    solution = ease_problem(interactions(rated), 70, World()).solve(3.0)
    assert type(solution).__name__ == "_EaseOfMovies"
    np.testing.assert_allclose(solution.scores(interactions(rated)), rated @ dense_weights(rated, 3.0), atol=1e-9)


def test_interest_is_the_score_standardized_over_movies():
    rated = ratings(50, 30)
    embedding, target = ease_problem(interactions(rated), 30, World()).solve(3.0).tables(7)
    interest = Interest.of_tables(embedding, target, 3.0, 0.8)
    scores = rated @ embedding.numpy() @ target.numpy().T
    has_some = rated.any(1)
    centered = scores - scores.mean(1, keepdims=True)
    expected = centered[has_some] / scores[has_some].std(1, keepdims=True)
    found = interest.scores(interactions(rated)).numpy()
    np.testing.assert_allclose(found[has_some], expected, atol=1e-4)
    assert not found[~has_some].any()
    vectors, norm = interest.user_vectors(interactions(rated))
    np.testing.assert_allclose(norm[:, None] * (vectors @ interest.target.T), centered, atol=1e-5)
    np.testing.assert_allclose(norm.numpy(), scores.std(1), atol=1e-5)


def test_interest_is_restored_from_its_state():
    embedding, target = ease_problem(interactions(ratings(50, 30)), 30, World()).solve(3.0).tables(7)
    interest = Interest.of_tables(embedding, target, 3.0, 0.8)
    restored = Interest.of_state(interest.state(), torch.device("cpu"))
    assert (restored.l2, restored.rating_weight, restored.dim) == (3.0, 0.8, 7)
    for name in ("message_embedding", "target"):
        assert torch.equal(getattr(restored, name), getattr(interest, name))


def test_without_ratings_there_is_no_interest():
    nothing = interactions(np.zeros((3, 5), bool))
    interest = Interest.of_tables(*ease_problem(nothing, 5, World()).solve(3.0).tables(2), 3.0, 0.8)
    assert not interest.scores(nothing).any()
