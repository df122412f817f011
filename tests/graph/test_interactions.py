"""Interactions and splits for ranking, against pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gnnrec.data.prepared import TEST, TEST_INPUT, TRAIN, UNUSED, VALIDATION, VALIDATION_INPUT, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.interactions import candidate_movies, ranking_splits, read_interactions, slice_users, training_splits
from gnnrec.graph.partition import partition
from tests.datasets import changed_copy, write_dataset
from tests.distributed.ranks import run_on_ranks

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("strong"), protocol="strong", test=0.3, validation=0.3)


def frame(dataset: PreparedDataset) -> pd.DataFrame:
    columns = {name: np.asarray(getattr(dataset, name)) for name in ("movie", "rating", "split")}
    return pd.DataFrame(columns | {"user": np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))})


@pytest.mark.parametrize("relevant", [None, 3.5, 5.0, 5.5])
@pytest.mark.parametrize("splits", [(TRAIN,), (TRAIN, UNUSED), (TEST, TEST_INPUT)])
def test_read_interactions_equals_pandas(dataset, splits, relevant):
    whole = frame(dataset)
    for rank in range(3):
        part = partition(dataset.manifest.shards, rank, 3)
        actual = read_interactions(dataset, part, splits, relevant, CPU)
        expected = whole[whole.user.between(part.start, part.stop - 1) & whole.split.isin(splits)]
        expected = expected[expected.rating >= (relevant or 0)]
        assert actual.edge_id.tolist() == expected.index.tolist()
        assert actual.movie.tolist() == expected.movie.tolist()
        assert actual.rating.tolist() == expected.rating.tolist()
        assert actual.num_users == part.num_users and actual.num_edges == len(expected)
        sizes = expected.groupby("user").size().reindex(range(part.start, part.stop), fill_value=0)
        assert actual.user_ptr.diff().tolist() == sizes.tolist()
        types = [getattr(actual, name).dtype for name in ("user_ptr", "movie", "rating", "edge_id")]
        assert types == [torch.int64, torch.int32, torch.float32, torch.int32]


def test_a_rating_equal_to_the_threshold_is_kept_after_float32_rounding(dataset, tmp_path):
    part = partition(dataset.manifest.shards, 0, 1)
    # float32(0.7) is below float64(0.7).
    dataset = changed_copy(dataset, tmp_path / "changed", rating=np.full(dataset.num_ratings, 0.7))
    assert read_interactions(dataset, part, (TRAIN,), 0.7, CPU).num_edges == (dataset.split == TRAIN).sum() > 0


def test_splits_for_training_input_and_held_out_movies():
    for protocol in ("random", "temporal", "leave-last"):
        assert ranking_splits(protocol, VALIDATION) == ((TRAIN,), VALIDATION)
        assert ranking_splits(protocol, TEST) == ((TRAIN, VALIDATION), TEST)
        assert training_splits(protocol, False) == (TRAIN,)
        assert training_splits(protocol, True) == (TRAIN, VALIDATION)
    assert ranking_splits("strong", VALIDATION) == ((VALIDATION_INPUT,), VALIDATION)
    assert ranking_splits("strong", TEST) == ((TEST_INPUT,), TEST)
    assert training_splits("strong", False) == (TRAIN,)
    assert training_splits("strong", True) == (TRAIN, VALIDATION, VALIDATION_INPUT)
    with pytest.raises(ValueError, match="not held out"):
        ranking_splits("strong", TRAIN)


def candidates_on_ranks(world: World, directory: str) -> torch.Tensor:
    return candidate_movies(PreparedDataset(directory), world, TEST)


@pytest.mark.parametrize("ranks", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_candidates_of_the_strong_protocol_are_movies_that_training_users_like(dataset, ranks):
    whole = frame(dataset)
    expected = np.isin(np.arange(dataset.num_movies), whole.movie[whole.split == TRAIN])
    assert 0 < expected.sum() < dataset.num_movies
    held_out = whole.movie[whole.split.isin((VALIDATION, TEST, VALIDATION_INPUT, TEST_INPUT))]
    assert expected[held_out].all()
    for actual in run_on_ranks(ranks, candidates_on_ranks, str(dataset.directory)):
        assert np.array_equal(actual, expected)


def test_all_movies_are_candidates_in_other_protocols(tmp_path):
    assert candidate_movies(write_dataset(tmp_path, protocol="leave-last"), World(), TEST) is None


def test_slice_users_keeps_the_given_order(dataset):
    whole = read_interactions(dataset, partition(dataset.manifest.shards, 0, 1), (TRAIN, UNUSED), None, CPU)
    users = torch.tensor([5, 0, 17, 5])
    actual = slice_users(whole, users)
    for place, user in enumerate(users.tolist()):
        old = slice(whole.user_ptr[user], whole.user_ptr[user + 1])
        new = slice(actual.user_ptr[place], actual.user_ptr[place + 1])
        for name in ("movie", "rating", "edge_id"):
            assert getattr(actual, name)[new].tolist() == getattr(whole, name)[old].tolist()
    assert actual.num_users == 4 and actual.num_edges == actual.user_ptr[-1] > 0
