"""The clock of ratings: seconds from the first of all ranks, and bins that fit whatever time the data spans."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.rank_graph import build_rank_graph
from gnnrec.graph.statistics import message_statistics
from gnnrec.graph.time_bins import DAY, SESSION, YEAR, Clock
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks


def test_bins_are_years_days_and_sessions():
    clock = Clock.over(torch.tensor([1_000_000_500, 1_000_000_000, 1_100_000_000]), World())
    windows = clock.windows
    assert clock.first == 1_000_000_000
    assert (2 * windows.movie_half, windows.movie_shrinkage) == (YEAR[0], 2 * YEAR[1])
    assert [2 * half for half in windows.user_halves] == [DAY[0], SESSION[0]]
    assert windows.user_shrinkages == (2 * DAY[1], 2 * SESSION[1])
    assert clock.read(torch.tensor([999_999_000, 1_000_000_007])).tolist() == [-1000, 7]
    assert clock.read(torch.tensor([7])).dtype == torch.int32
    assert (windows.movie_halves - 1) * windows.movie_half <= 10**8 < windows.movie_halves * windows.movie_half


def test_times_that_do_not_fit_are_moved_to_the_ends():
    clock = Clock.over(torch.tensor([0, 10]), World())
    late, early = clock.read(torch.tensor([2**40, -(2**40)])).tolist()
    assert late == -early == 2**31 - 2


@pytest.mark.parametrize("span", [0, 1, 10**9, 2 * 10**9, 5 * 10**9, 10**12, 10**15])
def test_every_span_has_bins_for_all_its_times(span):
    time = torch.tensor([0, span // 3, span // 2, span])
    clock = Clock.over(time, World())
    half = clock.read(time) // clock.windows.movie_half
    assert half.min() >= 0 and half.max() < clock.windows.movie_halves <= 128


@pytest.mark.parametrize("moved", [1, 10**6, 4 * 10**9, 10**12])
def test_one_rating_far_away_takes_part_like_all_others(tmp_path, moved):
    write_dataset(tmp_path / "a")
    table = pd.read_csv(tmp_path / "a" / "ratings.csv")
    table.loc[0, "timestamp"] = moved
    table.to_csv(tmp_path / "ratings.csv", index=False)
    prepare(tmp_path / "b", PrepareOptions(ratings=tmp_path / "ratings.csv", test=0.0, validation=0.0))
    graph = build_rank_graph(PreparedDataset(tmp_path / "b"), World(), (TRAIN,), time=True)
    years = message_statistics(graph, tables=True).temporal_bias.years
    halves = graph.clock.windows.movie_halves
    assert graph.time_bins.year.max() < halves and years.shape == (graph.num_movies, halves, 2)
    # A rating is counted twice in its own half bin and once in each neighbour that there is.
    neighbours = (graph.time_bins.year > 0).long() + (graph.time_bins.year < halves - 1)
    assert years[..., 1].sum() == (2 + neighbours).sum()


def clock_of(world: World) -> Clock:
    times = [torch.tensor([50, 70]), torch.zeros(0, dtype=torch.int64), torch.tensor([10**8, 20])][world.rank]
    return Clock.over(times, world)


@pytest.mark.slow
def test_all_ranks_have_one_clock_also_without_edges():
    expected = Clock.over(torch.tensor([20, 10**8]), World())
    assert run_on_ranks(3, clock_of) == [expected] * 3
