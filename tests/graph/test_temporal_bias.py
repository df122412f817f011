"""Effects of time against plain loops over pairs of ratings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gnnrec.data.prepared import TEST, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.rating import held_out
from gnnrec.graph.rank_graph import build_rank_graph, read_edges
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

CUTS = 2


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("temporal_bias"), users=41, movies=23, ratings=500)


def oracle(rows, times, residual, weight, at_rows, at_times, leave_out, window, begin):
    """Shrunken mean over ratings of the same row, weighted by how many of the cuts they share a bin in."""
    seconds, shrinkage = window
    effects = []
    for number, (row, time) in enumerate(zip(at_rows, at_times)):
        total = count = 0.0
        for cut in range(CUTS):
            first = begin - seconds * cut // CUTS
            near = (rows == row) & ((times - first) // seconds == (time - first) // seconds)
            if leave_out:
                near[number] = False
            total += (residual * weight)[near].sum()
            count += weight[near].sum()
        effects.append(total / (count + CUTS * shrinkage))
    return np.array(effects)


SIDES = [(YEAR, "movie"), (DAY, "user"), (SESSION, "user")]


def test_effects_on_messages_and_targets_are_those_of_plain_loops(dataset):
    graph = build_rank_graph(dataset, World(), dtype=torch.float64, time=True)
    supervised = np.random.default_rng(0).random(graph.num_edges) < 0.2
    found = message_statistics(graph, supervising(graph, torch.from_numpy(supervised)), SUPERVISED)
    rows = {"user": owners(graph.user_ptr).numpy(), "movie": graph.movie.numpy()}
    time = np.array(dataset.timestamp)[graph.edge_id.numpy()]
    bias = found.user_bias[rows["user"]] + found.movie_bias[rows["movie"]]
    residual = (graph.rating - found.mean - bias).numpy()
    for column, (window, side) in enumerate(SIDES):
        row = rows[side]
        expected = oracle(row, time, residual, 1.0 - supervised, row, time, True, window, time.min())
        np.testing.assert_allclose(found.edges.target_effect[:, column], expected[supervised], rtol=1e-10, atol=1e-12)
        assert np.count_nonzero(expected[supervised]) > supervised.sum() // 3
        residual = residual - expected
    np.testing.assert_allclose(found.edges.residual, residual[~supervised], rtol=1e-10, atol=1e-12)


def test_effects_on_other_ratings_are_those_of_plain_loops(dataset):
    graph = build_rank_graph(dataset, World(), dtype=torch.float64, time=True)
    found = message_statistics(graph, tables=True)
    rows = {"user": owners(graph.user_ptr).numpy(), "movie": graph.movie.numpy()}
    time, weight = np.array(dataset.timestamp)[graph.edge_id.numpy()], np.ones(graph.num_edges)
    bias = found.user_bias[rows["user"]] + found.movie_bias[rows["movie"]]
    residual = (graph.rating - found.mean - bias).numpy()

    test = read_edges(dataset, graph.part, (TEST,))
    test_rows, test_time = {"user": owners(test.user_ptr).numpy(), "movie": test.movie.numpy()}, test.time.numpy()
    elsewhere = found.temporal_bias.at(test.user_ptr, test.movie, test.time)
    # A movie outside of the years seen keeps its nearest bin, so only times inside are compared.
    inside = (test_time >= time.min()) & (test_time <= time.max())
    shared = 0
    for column, (window, side) in enumerate(SIDES):
        row = rows[side]
        asked = oracle(row, time, residual, weight, test_rows[side], test_time, False, window, time.min())
        np.testing.assert_allclose(elsewhere[inside, column], asked[inside], rtol=1e-10, atol=1e-12)
        shared += np.count_nonzero(asked[inside])
        residual = residual - oracle(row, time, residual, weight, row, time, True, window, time.min())
    assert shared > inside.sum() > 20 and elsewhere.shape == (len(test_time), 3)


def test_excluded_ratings_change_no_bit_of_any_effect(dataset):
    graph = build_rank_graph(dataset, World(), time=True)
    excluded = torch.from_numpy(np.random.default_rng(1).random(graph.num_edges) < 0.3)

    def effects(graph, excluded):
        found = message_statistics(graph, supervising(graph, excluded), SUPERVISED)
        return found.edges.target_effect, found.edges.residual

    changed = dataclasses.replace(graph, rating=torch.where(excluded, 5.5 - graph.rating, graph.rating))
    before, after = effects(graph, excluded), effects(changed, excluded)
    assert all(torch.equal(a, b) for a, b in zip(before, after))
    assert before[0].abs().max() > 0.01
    # Where others are excluded, the change is seen.
    assert not any(torch.equal(a, b) for a, b in zip(effects(graph, ~excluded), effects(changed, ~excluded)))


def test_effects_on_other_ratings_are_not_made_from_targets(dataset):
    graph = build_rank_graph(dataset, World(), time=True)
    with pytest.raises(ValueError, match="supervised fold"):
        message_statistics(graph, supervising(graph, graph.movie == 2), SUPERVISED, tables=True)


def tables_and_users(dataset, asked: list[int]) -> tuple[TemporalBiasTables, torch.Tensor]:
    """Tables of all training ratings, and the pointer of queries of the first users."""
    graph = build_rank_graph(dataset, World(), time=True)
    counts = torch.tensor(asked + [0] * (graph.num_users - len(asked)))
    pointer = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    return message_statistics(graph, tables=True).temporal_bias, pointer


@pytest.mark.parametrize("when", [2_000_000_000, 0, 2**40, -(2**40)])
def test_someone_never_seen_has_no_effect(dataset, when):
    tables, pointer = tables_and_users(dataset, [1, 1, 1])
    movie, time = torch.tensor([3, 4, 5], dtype=torch.int32), torch.full((3,), when)
    effect = tables.at(pointer, movie, time)
    assert (effect[:, 1:] == 0).all()  # no session, no day
    last = tables.clock.windows.movie_halves - 1 if when > tables.clock.first else 0
    total, count = tables.years[movie, last].unbind(1)
    torch.testing.assert_close(effect[:, 0], total / (count + CUTS * YEAR[1]))
    every = torch.arange(dataset.num_movies, dtype=torch.int32)
    pointer = pointer.clamp(max=1) * len(every)
    # The first or the last years of some movie still hold.
    assert (tables.at(pointer, every, torch.full((len(every),), when))[:, 0] != 0).any()


def test_the_order_of_questions_does_not_matter(dataset):
    tables, pointer = tables_and_users(dataset, [4, 0, 2])
    first = tables.clock.first
    movie = torch.tensor([3, 1, 4, 1, 5, 9], dtype=torch.int32)
    time = first + tables.time[torch.tensor([0, 3, 1, 2])].long() + torch.tensor([5, 9_000, -7, 100])
    time = torch.cat([time, first + tables.time[tables.pointer[2:4]].long() + 50])
    found = tables.at(pointer, movie, time)
    turned = torch.tensor([3, 2, 1, 0, 5, 4])
    assert torch.equal(tables.at(pointer, movie[turned], time[turned]), found[turned])
    assert (found[:, 2] != 0).any()


def effects_of(world, directory):
    dataset = PreparedDataset(directory)
    graph = build_rank_graph(dataset, world, dtype=torch.float64, time=True)
    found = message_statistics(graph, supervising(graph, graph.edge_id % 3 == 0), SUPERVISED)
    temporal_bias = message_statistics(graph, tables=True).temporal_bias
    test = held_out(dataset, graph.part, TEST, world, torch.float64, temporal_bias)
    return world.all_gather_objects((found.edges.target_effect, found.edges.residual, test.temporal_bias))


@pytest.mark.slow
def test_effects_do_not_depend_on_the_number_of_ranks(dataset):
    alone = effects_of(World(), dataset.directory)
    for parts in run_on_ranks(3, effects_of, dataset.directory):
        for column in range(3):
            together = torch.cat([part[column] for part in parts])
            torch.testing.assert_close(together, alone[0][column], rtol=1e-10, atol=1e-12)


def test_time_is_an_option(dataset, tmp_path):
    for time in (True, False):
        trainer = RatingTrainer(make_config(model={"time": time}), dataset, World())
        embeddings = embed_all(trainer.replicated, trainer.users, trainer.graph)
        assert (embeddings.temporal_bias is not None) == time
        assert hasattr(trainer.replicated, "temporal_bias_scale") == time
