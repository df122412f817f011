"""Held-out ratings have the right shares and do not depend on other users in the file."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gnnrec.data import split, split_input
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION
from gnnrec.errors import UserError


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(split_input, "_BLOCK", 7000)


@pytest.fixture
def data() -> split.SplitInput:
    """2,000 users with 1 to 60 ratings of 300 movies."""
    rng = np.random.default_rng(0)
    ratings = rng.integers(1, 61, 2000)
    return split.SplitInput(
        user_ptr=np.concatenate([[0], np.cumsum(ratings)]),
        movie=np.concatenate([np.sort(rng.choice(300, n, False)) for n in ratings]).astype(np.int32),
        rating=np.full(ratings.sum(), 5, np.float32),
        timestamp=rng.integers(0, 50, ratings.sum()),  # many ties
        user_hash=rng.permutation(10**6)[:2000],
        movie_hash=np.arange(300) * 3,
        test=0.1,
        validation=0.05,
        seed=0,
    )


def select_users(data: split.SplitInput, users: np.ndarray, **changes) -> tuple[split.SplitInput, np.ndarray]:
    """Returns the data of some users in the given order, and the old positions of their ratings."""
    sizes = np.diff(data.user_ptr)[users]
    positions = np.concatenate([np.arange(data.user_ptr[user], data.user_ptr[user + 1]) for user in users])
    part = dataclasses.replace(
        data,
        user_ptr=np.concatenate([[0], np.cumsum(sizes)]),
        movie=data.movie[positions],
        rating=data.rating[positions],
        timestamp=data.timestamp[positions],
        user_hash=data.user_hash[users],
        **changes,
    )
    return part, positions


@pytest.mark.parametrize("protocol", ["random", "temporal"])
def test_shares_are_as_requested(data, protocol):
    parts = np.bincount(split.PROTOCOLS[protocol](data), minlength=3) / len(data.movie)
    assert parts[TEST] == pytest.approx(0.1, abs=0.006)
    assert parts[VALIDATION] == pytest.approx(0.045, abs=0.005)
    assert parts.sum() == 1


@pytest.mark.parametrize("protocol", ["random", "temporal"])
def test_split_is_independent_of_other_users_and_their_order(data, protocol):
    whole = split.PROTOCOLS[protocol](data)
    subset, positions = select_users(data, np.random.default_rng(1).permutation(2000)[:700])
    assert np.array_equal(split.PROTOCOLS[protocol](subset), whole[positions])


@pytest.mark.parametrize("protocol", ["random", "temporal"])
def test_seed_changes_the_split_and_zero_shares_hold_nothing_out(data, protocol):
    function = split.PROTOCOLS[protocol]
    assert (function(data) != function(dataclasses.replace(data, seed=1))).mean() > 0.01
    assert not function(dataclasses.replace(data, test=0.0, validation=0.0)).any()


def test_random_test_part_does_not_depend_on_the_validation_share(data):
    first, second = split.random(data), split.random(dataclasses.replace(data, validation=0.5))
    assert np.array_equal(first == TEST, second == TEST)
    assert (second[first == VALIDATION] == VALIDATION).all()


def test_random_parts_are_spread_over_movies_and_users(data):
    """Held-out shares by movie and by user vary like independent draws: no movie or user is favored."""
    held_out = split.random(data) == TEST
    owner = np.repeat(np.arange(2000), np.diff(data.user_ptr))
    for group in (data.movie, owner):
        n = np.bincount(group)
        z = (np.bincount(group, held_out) - 0.1 * n) / np.sqrt(0.09 * n)
        assert np.mean(z**2) == pytest.approx(1, abs=0.25)


def test_temporal_holds_out_the_last_ratings_of_each_user(data):
    parts = split.temporal(data)
    for user in range(2000):
        rows = slice(data.user_ptr[user], data.user_ptr[user + 1])
        times, part = data.timestamp[rows], parts[rows]
        assert (part == TRAIN).any()
        stage = np.select([part == TRAIN, part == VALIDATION], [0, 1], 2)  # train, then validation, then test
        for earlier, later in ((0, 1), (1, 2), (0, 2)):
            if (stage == earlier).any() and (stage == later).any():
                assert times[stage == earlier].max() <= times[stage == later].min()
        n = len(times)
        assert (part == TEST).sum() in (int(0.1 * n), int(0.1 * n) + 1)


def test_temporal_keeps_a_single_rating_in_train(data):
    single, _ = select_users(data, np.flatnonzero(np.diff(data.user_ptr) == 1), test=0.9, validation=0.9)
    assert len(single.movie) > 5 and not split.temporal(single).any()


def test_temporal_needs_timestamps(data):
    with pytest.raises(UserError, match="--protocol temporal needs timestamps"):
        split.temporal(dataclasses.replace(data, timestamp=None))
