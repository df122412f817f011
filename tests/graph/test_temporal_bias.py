"""Temporal biases against plain loops over pairs of ratings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gnnrec.data.prepared import TEST, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.rating import held_out
from gnnrec.graph.dataset_edges import read_edges
from gnnrec.graph.rank_graph import build_rank_graph
from gnnrec.graph.statistics import message_statistics
from gnnrec.graph.temporal_bias import TemporalBiasTables
from gnnrec.graph.time_bins import DAY, SESSION, YEAR
from gnnrec.kernels.ragged import owners
from gnnrec.models.layerwise import embed_all
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.graph.passes import SUPERVISED, supervising

GRIDS = 2


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("temporal_bias"), users=41, movies=23, ratings=500)


def oracle(rows, times, residual, weight, at_rows, at_times, leave_out, window, begin):
    """Computes shrunken means over ratings of the same row, weighted by the number of shared bins."""
    seconds, shrinkage = window
    biases = []
    for number, (row, time) in enumerate(zip(at_rows, at_times)):
        total = count = 0.0
        for grid in range(GRIDS):
            first = begin - seconds * grid // GRIDS
            near = (rows == row) & ((times - first) // seconds == (time - first) // seconds)
            if leave_out:
                near[number] = False
            total += (residual * weight)[near].sum()
            count += weight[near].sum()
        biases.append(total / (count + GRIDS * shrinkage))
    return np.array(biases)


SIDES = [(YEAR, "movie"), (DAY, "user"), (SESSION, "user")]


def test_temporal_biases_of_targets_equal_plain_loops_and_messages_keep_theirs(dataset):
    graph = build_rank_graph(dataset, World(), dtype=torch.float64, time=True)
    supervised = np.random.default_rng(0).random(graph.num_edges) < 0.2
    actual = message_statistics(graph, supervising(graph, torch.from_numpy(supervised)), SUPERVISED)
    rows = {"user": owners(graph.user_ptr).numpy(), "movie": graph.movie.numpy()}
    time = np.array(dataset.timestamp)[graph.edge_id.numpy()]
    bias = actual.user_bias[rows["user"]] + actual.movie_bias[rows["movie"]]
    message = residual = (graph.rating - actual.mean - bias).numpy()
    for column, (window, side) in enumerate(SIDES):
        row = rows[side]
        expected = oracle(row, time, residual, 1.0 - supervised, row, time, True, window, time.min())
        np.testing.assert_allclose(actual.target_temporal_bias[:, column], expected[supervised], rtol=1e-10, atol=1e-12)
        assert np.count_nonzero(expected[supervised]) > supervised.sum() // 3
        residual = residual - expected
    np.testing.assert_allclose(actual.edges.residual, message[~supervised], rtol=1e-10, atol=1e-12)


def test_temporal_biases_of_other_ratings_equal_plain_loops(dataset):
    graph = build_rank_graph(dataset, World(), dtype=torch.float64, time=True)
    actual = message_statistics(graph, tables=True)
    rows = {"user": owners(graph.user_ptr).numpy(), "movie": graph.movie.numpy()}
    time, weight = np.array(dataset.timestamp)[graph.edge_id.numpy()], np.ones(graph.num_edges)
    bias = actual.user_bias[rows["user"]] + actual.movie_bias[rows["movie"]]
    residual = (graph.rating - actual.mean - bias).numpy()

    test = read_edges(dataset, graph.part, (TEST,))
    test_rows, test_time = {"user": owners(test.user_ptr).numpy(), "movie": test.movie().numpy()}, test.time().numpy()
    elsewhere = actual.temporal_bias.bias_at(test.user_ptr, test.movie(), test.time())
    # Movies use the nearest bin for times outside all years, so only times inside are compared.
    inside = (test_time >= time.min()) & (test_time <= time.max())
    shared = 0
    for column, (window, side) in enumerate(SIDES):
        row = rows[side]
        asked = oracle(row, time, residual, weight, test_rows[side], test_time, False, window, time.min())
        np.testing.assert_allclose(elsewhere[inside, column], asked[inside], rtol=1e-10, atol=1e-12)
        shared += np.count_nonzero(asked[inside])
        residual = residual - oracle(row, time, residual, weight, row, time, True, window, time.min())
    assert shared > inside.sum() > 20 and elsewhere.shape == (len(test_time), 3)


def test_excluded_ratings_change_no_bit_of_any_temporal_bias(dataset):
    graph = build_rank_graph(dataset, World(), time=True)
    excluded = torch.from_numpy(np.random.default_rng(1).random(graph.num_edges) < 0.3)

    def biases(graph, excluded):
        actual = message_statistics(graph, supervising(graph, excluded), SUPERVISED)
        return actual.target_temporal_bias, actual.edges.residual

    changed = dataclasses.replace(graph, rating=torch.where(excluded, 5.5 - graph.rating, graph.rating))
    before, after = biases(graph, excluded), biases(changed, excluded)
    assert all(torch.equal(a, b) for a, b in zip(before, after))
    assert before[0].abs().max() > 0.01
    # If other ratings are excluded, the change has an influence.
    assert not any(torch.equal(a, b) for a, b in zip(biases(graph, ~excluded), biases(changed, ~excluded)))


def test_tables_with_a_supervised_fold_are_an_error(dataset):
    graph = build_rank_graph(dataset, World(), time=True)
    with pytest.raises(ValueError, match="without a supervised fold"):
        message_statistics(graph, supervising(graph, graph.movie == 2), SUPERVISED, tables=True)


def tables_and_users(dataset, asked: list[int]) -> tuple[TemporalBiasTables, torch.Tensor]:
    """Returns the tables of all training ratings, and the pointer of queries of the first users."""
    graph = build_rank_graph(dataset, World(), time=True)
    counts = torch.tensor(asked + [0] * (graph.num_users - len(asked)))
    pointer = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    return message_statistics(graph, tables=True).temporal_bias, pointer


@pytest.mark.parametrize("when", [2_000_000_000, 0, 2**40, -(2**40)])
def test_users_have_no_temporal_bias_far_from_their_ratings(dataset, when):
    tables, pointer = tables_and_users(dataset, [1, 1, 1])
    movie, time = torch.tensor([3, 4, 5], dtype=torch.int32), torch.full((3,), when)
    bias = tables.bias_at(pointer, movie, time)
    assert (bias[:, 1:] == 0).all()  # days and sessions
    last = tables.clock.windows.num_movie_half_bins - 1 if when > tables.clock.first else 0
    total, count = tables.years[movie, last].unbind(1)
    torch.testing.assert_close(bias[:, 0], total / (count + GRIDS * YEAR[1]))
    every = torch.arange(dataset.num_movies, dtype=torch.int32)
    pointer = pointer.clamp(max=1) * len(every)
    # Some movie has ratings in its first or last year.
    assert (tables.bias_at(pointer, every, torch.full((len(every),), when))[:, 0] != 0).any()


def test_the_order_of_queries_does_not_matter(dataset):
    tables, pointer = tables_and_users(dataset, [4, 0, 2])
    first = tables.clock.first
    movie = torch.tensor([3, 1, 4, 1, 5, 9], dtype=torch.int32)
    time = first + tables.time[torch.tensor([0, 3, 1, 2])].long() + torch.tensor([5, 9_000, -7, 100])
    time = torch.cat([time, first + tables.time[tables.pointer[2:4]].long() + 50])
    actual = tables.bias_at(pointer, movie, time)
    turned = torch.tensor([3, 2, 1, 0, 5, 4])
    assert torch.equal(tables.bias_at(pointer, movie[turned], time[turned]), actual[turned])
    assert (actual[:, 2] != 0).any()


def temporal_biases_on_rank(world, directory):
    dataset = PreparedDataset(directory)
    graph = build_rank_graph(dataset, world, dtype=torch.float64, time=True)
    actual = message_statistics(graph, supervising(graph, graph.edge_id % 3 == 0), SUPERVISED)
    temporal_bias = message_statistics(graph, tables=True).temporal_bias
    test = held_out(dataset, graph.part, TEST, world, torch.float64, temporal_bias)
    return world.all_gather_objects((actual.target_temporal_bias, actual.edges.residual, test.temporal_bias))


@pytest.mark.slow
def test_temporal_biases_do_not_depend_on_the_number_of_ranks(dataset):
    alone = temporal_biases_on_rank(World(), dataset.directory)
    for parts in run_on_ranks(3, temporal_biases_on_rank, dataset.directory):
        for column in range(3):
            together = torch.cat([part[column] for part in parts])
            torch.testing.assert_close(together, alone[0][column], rtol=1e-10, atol=1e-12)


def test_the_option_time_switches_temporal_biases_off(dataset, tmp_path):
    for time in (True, False):
        trainer = RatingTrainer(make_config(model={"time": time}), dataset, World())
        embeddings = embed_all(trainer.replicated, trainer.users, trainer.graph)
        assert (embeddings.temporal_bias is not None) == time
        assert hasattr(trainer.replicated, "temporal_bias_scale") == time
