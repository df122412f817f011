"""Ranking protocols compared with their rules written as plain loops over users."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from gnnrec.data import split_input
from gnnrec.data.prepared import SPLIT_NAMES, TEST, TEST_INPUT, TRAIN, UNUSED, VALIDATION, VALIDATION_INPUT
from gnnrec.data.split_input import SplitInput
from gnnrec.data.split_ranking import check_used, leave_last, relevance, strong
from gnnrec.errors import UserError
from tests.datasets import write_dataset

TARGETS, INPUTS = (VALIDATION, TEST), (VALIDATION_INPUT, TEST_INPUT)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(split_input, "_BLOCK", 5000)


@pytest.fixture
def data() -> SplitInput:
    """2,000 users with 0 to 40 ratings; half of the 800 movies are rare."""
    rng = np.random.default_rng(0)
    ratings = rng.integers(1, 41, 2000)
    weight = np.repeat([1.0, 0.002], 400)
    movies = [np.sort(rng.choice(800, n, False, weight / weight.sum())) for n in ratings]
    return SplitInput(
        user_ptr=np.concatenate([[0], np.cumsum(ratings)]),
        movie=np.concatenate(movies).astype(np.int32),
        rating=(rng.integers(1, 11, ratings.sum()) / 2).astype(np.float32),
        timestamp=rng.integers(0, 20, ratings.sum()),  # many ties
        user_hash=rng.permutation(10**6)[:2000],
        movie_hash=np.arange(800) * 3,
        test=0.2,
        validation=0.1,
        seed=0,
    )


def table(data: SplitInput, part: np.ndarray) -> pd.DataFrame:
    user = np.repeat(np.arange(len(data.user_ptr) - 1), np.diff(data.user_ptr))
    columns = {"user": user, "movie": data.movie, "rating": data.rating, "time": data.timestamp, "part": part}
    return pd.DataFrame(columns)


@pytest.mark.slow
def test_strong_holds_out_whole_users(data):
    frame = table(data, strong(data))
    assert (frame.part[frame.rating < 4] == UNUSED).all()
    trained_movies = set(frame.movie[frame.part == TRAIN])
    roles, dropped = [], 0
    for _, all_ratings in frame.groupby("user"):
        relevant = all_ratings[all_ratings.rating >= 4]
        parts = set(relevant.part)
        if len(relevant) < 5:
            assert parts <= {UNUSED}
            continue
        if parts == {TRAIN}:
            roles.append(TRAIN)
            continue
        usable = relevant[relevant.movie.isin(trained_movies)]
        dropped += len(relevant) - len(usable)
        assert (relevant.part[~relevant.movie.isin(trained_movies)] == UNUSED).all()
        if len(usable) < 2:
            assert parts == {UNUSED}
            continue
        target, shown = next(pair for pair in zip(TARGETS, INPUTS) if pair[0] in parts)
        roles.append(target)
        assert set(usable.part) == {target, shown}
        assert (usable.part == target).sum() == max(1, int(0.2 * len(usable) + 0.5))
    shares = np.bincount(roles, minlength=3) / len(roles)
    assert dropped > 5
    assert shares[TEST] == pytest.approx(0.2, abs=0.03)
    assert shares[VALIDATION] == pytest.approx(0.08, abs=0.02)


def test_strong_follows_its_options(data):
    changed = dataclasses.replace(data, relevant=3.0, least_relevant=12, held_out=0.5)
    frame = table(data, strong(changed))
    relevant = frame[frame.rating >= 3]
    used = relevant.groupby("user").part.agg(lambda part: (part != UNUSED).any())
    many = relevant.groupby("user").size() >= 12
    assert (used == many).mean() > 0.99 and not used[~many].any()
    targets, inputs = relevant.part.isin(TARGETS).sum(), relevant.part.isin(INPUTS).sum()
    assert targets / (targets + inputs) == pytest.approx(0.52, abs=0.02)  # halves are rounded up


def test_strong_spreads_targets_over_movies(data):
    """The share of targets varies over movies like independent draws."""
    frame = table(data, strong(dataclasses.replace(data, test=0.6)))
    held_out = frame[frame.part.isin(TARGETS + INPUTS)]
    groups = held_out.assign(target=held_out.part.isin(TARGETS)).groupby("movie").target.agg(["sum", "count"])
    groups = groups[groups["count"] >= 10]
    share = groups["sum"].sum() / groups["count"].sum()
    z = (groups["sum"] - share * groups["count"]) / np.sqrt(share * (1 - share) * groups["count"])
    assert len(groups) > 300 and np.mean(z**2) == pytest.approx(1, abs=0.2)


def test_strong_roles_do_not_depend_on_order_or_other_users(data):
    whole = strong(data)
    users = np.random.default_rng(1).permutation(2000)
    positions = np.concatenate([np.arange(data.user_ptr[user], data.user_ptr[user + 1]) for user in users])
    moved = dataclasses.replace(
        data,
        user_ptr=np.concatenate([[0], np.cumsum(np.diff(data.user_ptr)[users])]),
        movie=data.movie[positions],
        rating=data.rating[positions],
        timestamp=data.timestamp[positions],
        user_hash=data.user_hash[users],
    )
    assert np.array_equal(strong(moved), whole[positions])
    assert np.array_equal(leave_last(moved), leave_last(data)[positions])


def test_seeds_give_different_splits(data):
    other = dataclasses.replace(data, seed=1)
    assert (strong(data) != strong(other)).mean() > 0.05
    assert 0 < (leave_last(data) != leave_last(other)).mean() < 0.2  # ties only


def test_strong_without_shares_trains_on_all_users(data):
    assert set(strong(dataclasses.replace(data, test=0.0, validation=0.0))) == {TRAIN, UNUSED}


def test_strong_needs_train_users(data):
    with pytest.raises(UserError, match="no train user has 41 ratings of 4 or more: lower --least-relevant"):
        strong(dataclasses.replace(data, least_relevant=41))


@pytest.mark.slow
def test_leave_last_holds_out_the_last_two_relevant_ratings(data):
    frame = table(data, leave_last(data))
    assert (frame.part[frame.rating < 4] == UNUSED).all()
    sizes = set()
    for _, liked in frame[frame.rating >= 4].groupby("user"):
        sizes.add(min(len(liked), 3))
        if len(liked) < 3:
            assert (liked.part == TRAIN).all()
            continue
        assert liked.part.value_counts().to_dict() == {TRAIN: len(liked) - 2, VALIDATION: 1, TEST: 1}
        train, validation, test = (liked.time[liked.part == part] for part in (TRAIN, VALIDATION, TEST))
        assert train.max() <= validation.item() <= test.item()
    assert sizes == {1, 2, 3}


def test_leave_last_needs_timestamps_and_relevant_ratings(data):
    with pytest.raises(UserError, match="--protocol leave-last needs timestamps"):
        leave_last(dataclasses.replace(data, timestamp=None))
    unused = np.bincount(leave_last(dataclasses.replace(data, relevant=5.5)), minlength=len(SPLIT_NAMES))
    with pytest.raises(UserError, match="no rating is 5.5 or more: lower --relevant"):
        check_used(dict(zip(SPLIT_NAMES, unused)), 5.5)


def test_manifest_and_summary_describe_the_protocol(tmp_path, capsys):
    dataset = write_dataset(
        tmp_path / "a", protocol="strong", relevant=3.5, least_relevant=4, held_out=0.3, test=0.3, validation=0.3
    )
    split = dataset.manifest.split
    assert (relevance(dataset.manifest), split["least_relevant"], split["held_out"]) == (3.5, 4, 0.3)
    assert list(split["counts"]) == list(SPLIT_NAMES) and sum(split["counts"].values()) == dataset.num_ratings
    assert all(split["counts"].values())
    assert ", test_input " in capsys.readouterr().out
    dataset = write_dataset(tmp_path / "b", protocol="leave-last")
    assert relevance(dataset.manifest) == 4.0 and "held_out" not in dataset.manifest.split
    dataset = write_dataset(tmp_path / "c")
    assert relevance(dataset.manifest) is None
    assert "unused" not in capsys.readouterr().out.splitlines()[-2]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"relevant": 6.0}, "--relevant 6 is not on the rating scale 0.5 to 5"),
        ({"least_relevant": 0}, "--least-relevant 0: must be at least 1"),
        ({"held_out": 1.0}, "--held-out 1.0: must be between 0 and 1"),
    ],
)
def test_bad_ranking_options_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        write_dataset(tmp_path, protocol="strong", **options)


def test_threshold_off_the_scale_is_refused_by_ranking_protocols_only(tmp_path):
    assert write_dataset(tmp_path, protocol="random", relevant=6.0).num_ratings == 431
