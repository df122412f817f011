"""Statistics from sweeps over chunks of users equal those of all edges in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gnnrec.data.prepared import TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph import user_chunks
from gnnrec.graph.movie_statistics import MovieStatistics
from gnnrec.graph.rank_graph import build_rank_graph
from gnnrec.graph.statistics import MessageStatistics, message_statistics
from gnnrec.graph.user_chunks import UserChunks
from tests.datasets import changed_copy, write_dataset
from tests.distributed.ranks import run_on_ranks

USERS = 37


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("movie-statistics"), USERS, shards=7)


def in_memory(dataset: PreparedDataset, splits: tuple[int, ...]) -> MessageStatistics:
    return message_statistics(build_rank_graph(dataset, World(), splits, torch.float64))


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-12)


def assert_equal(
    actual: MovieStatistics, chunk_statistics: list[MessageStatistics], expected: MessageStatistics
) -> None:
    close(actual.mean, expected.mean)
    close(actual.degree, expected.movie_degree)
    close(actual.bias, expected.movie_bias)
    for name in ("user_bias", "user_degree"):
        close(torch.cat([getattr(chunk, name) for chunk in chunk_statistics]), getattr(expected, name))
    for name in ("movie", "level", "residual"):
        close(torch.cat([getattr(chunk.edges, name) for chunk in chunk_statistics]), getattr(expected.edges, name))
    for chunk in chunk_statistics:
        close(chunk.movie_degree, expected.movie_degree)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("splits", [(TRAIN,), (TRAIN, VALIDATION)])
@pytest.mark.parametrize("chunk", [1, 5, 36, 1000])
def test_statistics_of_chunks_equal_those_of_all_edges(dataset, monkeypatch, chunk, splits, kept):
    if not kept:
        monkeypatch.setattr(user_chunks, "KEPT_RATINGS", 0)
    chunks = UserChunks(dataset, World(), splits, torch.float64, chunk)
    actual = MovieStatistics.compute(chunks)
    chunk_statistics = [actual.for_chunk(chunks.graph(users)) for users in chunks.ranges(0, USERS)]
    assert len(chunk_statistics) == -(-USERS // chunk)
    assert_equal(actual, chunk_statistics, in_memory(dataset, splits))


def sweep_on_rank(world: World, directory: str) -> tuple[MovieStatistics, list[MessageStatistics]]:
    chunks = UserChunks(PreparedDataset(Path(directory)), world, (TRAIN,), torch.float64, 4)
    actual = MovieStatistics.compute(chunks)
    return actual, [actual.for_chunk(chunks.graph(users)) for users in chunks.ranges(0, USERS)]


@pytest.mark.slow
def test_three_ranks_equal_one(dataset):
    expected = in_memory(dataset, (TRAIN,))
    for actual, chunk_statistics in run_on_ranks(3, sweep_on_rank, str(dataset.directory)):
        assert_equal(actual, chunk_statistics, expected)


def test_held_out_ratings_are_not_used(dataset, tmp_path):
    rating = dataset.rating.copy()
    rating[dataset.split != TRAIN] = 0.5
    other = changed_copy(dataset, tmp_path / "other", rating=rating)
    actual = [
        MovieStatistics.compute(UserChunks(data, World(), (TRAIN,), torch.float64, 5)) for data in (dataset, other)
    ]
    for name in ("mean", "degree", "bias"):
        assert torch.equal(getattr(actual[0], name), getattr(actual[1], name))
