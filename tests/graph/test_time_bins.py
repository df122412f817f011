"""The clock counts seconds from the first rating of all ranks, and its bins cover any time span."""

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
    clock = Clock.from_times(torch.tensor([1_000_000_500, 1_000_000_000, 1_100_000_000]), World())
    windows = clock.windows
    assert clock.first == 1_000_000_000
    assert (2 * windows.movie_half_width, windows.movie_shrinkage) == (YEAR[0], 2 * YEAR[1])
    assert [2 * half for half in windows.user_half_widths] == [DAY[0], SESSION[0]]
    assert windows.user_shrinkages == (2 * DAY[1], 2 * SESSION[1])
    assert clock.seconds(torch.tensor([999_999_000, 1_000_000_007])).tolist() == [-1000, 7]
    assert clock.seconds(torch.tensor([7])).dtype == torch.int32
    assert (
        (windows.num_movie_half_bins - 1) * windows.movie_half_width
        <= 10**8
        < windows.num_movie_half_bins * windows.movie_half_width
    )


def test_times_outside_the_range_of_int32_are_clamped():
    clock = Clock.from_times(torch.tensor([0, 10]), World())
    late, early = clock.seconds(torch.tensor([2**40, -(2**40)])).tolist()
    assert late == -early == 2**31 - 2


@pytest.mark.parametrize("span", [0, 1, 10**9, 2 * 10**9, 5 * 10**9, 10**12, 10**15])
def test_every_span_has_bins_for_all_its_times(span):
    time = torch.tensor([0, span // 3, span // 2, span])
    clock = Clock.from_times(time, World())
    half = clock.seconds(time) // clock.windows.movie_half_width
    assert half.min() >= 0 and half.max() < clock.windows.num_movie_half_bins <= 128


@pytest.mark.parametrize("moved", [1, 10**6, 4 * 10**9, 10**12])
def test_an_outlier_in_time_is_counted_like_other_ratings(tmp_path, moved):
    write_dataset(tmp_path / "a")
    table = pd.read_csv(tmp_path / "a" / "ratings.csv")
    table.loc[0, "timestamp"] = moved
    table.to_csv(tmp_path / "ratings.csv", index=False)
    prepare(tmp_path / "b", PrepareOptions(ratings=tmp_path / "ratings.csv", test=0.0, validation=0.0))
    graph = build_rank_graph(PreparedDataset(tmp_path / "b"), World(), (TRAIN,), time=True)
    years = message_statistics(graph, tables=True).temporal_bias.years
    halves = graph.clock.windows.num_movie_half_bins
    year = graph.rated_years[graph.time_bins.cell.long()] % halves
    assert torch.equal(graph.rated_years[graph.time_bins.cell.long()] // halves, graph.movie.long())
    assert torch.equal(year, graph.time.long() // graph.clock.windows.movie_half_width)
    assert years.shape == (graph.num_movies, halves, 2)
    # A rating counts twice in its own half-width bin and once in each adjacent one.
    adjacent = (year > 0).long() + (year < halves - 1)
    assert years[..., 1].sum() == (2 + adjacent).sum()


def clock_of(world: World) -> Clock:
    times = [torch.tensor([50, 70]), torch.zeros(0, dtype=torch.int64), torch.tensor([10**8, 20])][world.rank]
    return Clock.from_times(times, world)


@pytest.mark.slow
def test_all_ranks_have_the_same_clock_even_without_edges():
    expected = Clock.from_times(torch.tensor([20, 10**8]), World())
    assert run_on_ranks(3, clock_of) == [expected] * 3
