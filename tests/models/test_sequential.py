"""Scores from the order of likes against sums over single likes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.graph.interactions import Interactions
from gnnrec.models.sequential import SequentialTables

MOVIES = 30


def tables(exponent: float = 0.7, next_weight: float = 1.5) -> tuple[SequentialTables, list[np.ndarray]]:
    generator = torch.Generator().manual_seed(0)
    raw = [torch.randn(MOVIES, dim, generator=generator, dtype=torch.float64) for dim in (6, 6, 4, 4)]
    made = SequentialTables.of_tables((raw[0], raw[1]), (raw[2], raw[3]), exponent, next_weight)
    return made, [table.numpy() for table in raw]


def liked(place: bool = True) -> Interactions:
    movie = torch.tensor([3, 8, 20, 0, 29]).int()
    places = torch.tensor([2, 1, 3, 1, 2]).int() if place else None
    return Interactions(torch.tensor([0, 3, 3, 5]), movie, torch.ones(5), torch.arange(5), places)


def z(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean()) / scores.std()


@pytest.mark.parametrize("place", [True, False])
def test_scores_are_standardized_sums_of_decayed_likes(place):
    sequential, (embedding, target, next_embedding, next_target) = tables()
    scores = (sequential.user_vectors(liked(place)) @ sequential.movie_vectors().T).numpy()
    for user, (movies, places) in {0: ([3, 8, 20], [2, 1, 3]), 2: ([0, 29], [1, 2])}.items():
        first, second = np.zeros((2, MOVIES))
        for movie, number in zip(movies, places if place else [1, 1, 1]):
            first += number**-0.7 * target @ embedding[movie]
            second += 0.5 ** ((number - 1) / 8) * next_target @ next_embedding[movie]
        np.testing.assert_allclose(scores[user], z(first) + 1.5 * z(second), atol=1e-4)
    assert (scores[1] == 0).all()


@pytest.mark.parametrize("place", [True, False])
def test_weights_of_likes_are_factors_of_the_first_score(place):
    sequential, (embedding, target, *_) = tables(next_weight=0.0)
    likes = liked(place)
    likes.weight = torch.tensor([1.0, 2.5, 1.3, 4.0, 1.0], dtype=torch.float64)
    scores = (sequential.user_vectors(likes) @ sequential.movie_vectors().T).numpy()
    decays = [number**-0.7 if place else 1.0 for number in (2, 1, 3)]
    first = sum(
        weight * decay * target @ embedding[movie] for weight, decay, movie in zip((1, 2.5, 1.3), decays, (3, 8, 20))
    )
    np.testing.assert_allclose(scores[0], z(first), atol=1e-4)


def test_the_state_restores_the_tables():
    sequential, _ = tables()
    again = SequentialTables.of_state(sequential.state(), torch.device("cpu"))
    assert again.exponent == 0.7 and again.next_weight == 1.5 and again.chosen() == sequential.chosen()
    assert torch.equal(again.user_vectors(liked()), sequential.user_vectors(liked()))
    assert torch.equal(again.movie_vectors(), sequential.movie_vectors())
