"""Places of ratings in time and windows of them, against loops over single users."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.graph.history import in_order, windows
from gnnrec.graph.interactions import Interactions
from gnnrec.graph.places import places_from_newest


def made(counts: list[int], times: int, seed: int = 0) -> tuple[Interactions, np.ndarray]:
    """Interactions with places of users with so many ratings, at one of so many times."""
    generator = np.random.default_rng(seed)
    pointer = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
    movie = np.concatenate([np.sort(generator.choice(90, count, replace=False)) for count in counts])
    time = generator.integers(0, times, len(movie)) + 1_600_000_000
    movies = torch.from_numpy(movie).int()
    place = places_from_newest(pointer, torch.from_numpy(time), movies)
    return Interactions(pointer, movies, torch.ones(len(movie)), torch.arange(len(movie)), place), time


COUNTS = [0, 1, 5, 37, 20, 21, 0, 60]


@pytest.mark.parametrize("times", [1, 3, 10**6])
def test_places_are_those_of_a_sort_from_the_newest(times):
    interactions, time = made(COUNTS, times)
    for user in range(len(COUNTS)):
        some = slice(*interactions.user_ptr[user : user + 2].tolist())
        place, own = interactions.place[some].numpy(), time[some]
        assert sorted(place) == list(range(1, COUNTS[user] + 1))
        assert (np.diff(own[np.argsort(place)]) <= 0).all()
    order = in_order(interactions)
    for user in range(len(COUNTS)):
        some = slice(*interactions.user_ptr[user : user + 2].tolist())
        expected = interactions.movie[some][(-interactions.place[some]).argsort()]
        assert torch.equal(order[some], expected)


def test_ratings_of_one_time_are_in_the_same_random_order_for_all_users():
    movie, pointer = torch.arange(50).repeat(2).int(), torch.tensor([0, 50, 100])
    place = places_from_newest(pointer, torch.zeros(100, dtype=torch.int64), movie)
    assert torch.equal(place[:50], place[50:])
    assert abs(np.corrcoef(place[:50], np.arange(50))[0, 1]) < 0.5


def test_times_that_are_far_apart():
    time = torch.tensor([4_000_000_000, -(10**12), 0, 1_000_000_000])
    assert places_from_newest(torch.tensor([0, 4]), time, torch.arange(4).int()).tolist()[0] == 1
    assert places_from_newest(torch.tensor([0, 0]), time[:0], torch.zeros(0).int()).tolist() == []


@pytest.mark.parametrize("length, step", [(20, 10), (4, 4), (3, 1)])
def test_windows_cover_the_ratings_of_each_user(length, step):
    interactions, _ = made(COUNTS, 10**6)
    interactions.weight = 1.0 + interactions.movie.double() ** 2
    cut, users = windows(interactions, length, step)
    assert torch.equal(cut.weight, 1.0 + cut.movie.double() ** 2)
    assert cut.num_users == len(users) and sorted(set(users.tolist())) == [1, 2, 3, 4, 5, 7]
    order = in_order(interactions)
    for user, count in enumerate(COUNTS):
        own = order[interactions.user_ptr[user] : interactions.user_ptr[user + 1]].tolist()
        starts = [start for start in range(0, count, step) if start == 0 or start + length - step < count]
        expected = [sorted(own[start : start + length]) for start in starts]
        found = [cut.movie[cut.user_ptr[row] : cut.user_ptr[row + 1]].tolist() for row in np.flatnonzero(users == user)]
        assert found == expected and {movie for part in found for movie in part} == set(own)
