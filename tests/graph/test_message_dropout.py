"""Message dropout drops the right share of messages and changes no statistics."""

from __future__ import annotations

import pytest
import torch

from gnnrec.distributed.world import World
from gnnrec.graph.message_dropout import MessageDropout
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.statistics import MessageStatistics, message_statistics
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.graph.passes import SUPERVISED, supervising


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dropout"), users=200, movies=60, ratings=4000)


def some_edges(graph: RankGraph) -> torch.Tensor:
    return graph.edge_id % 5 == 2


def passes(graph: RankGraph, rate: float = 0.3) -> tuple[MessageStatistics, MessageStatistics]:
    """Computes the statistics of one pass, without and with message dropout."""
    epoch = supervising(graph, some_edges(graph))
    return tuple(
        message_statistics(graph, epoch, SUPERVISED, dropout, slots=True)
        for dropout in (None, MessageDropout(graph, 5, 0, rate))
    )


def weights(statistics: MessageStatistics) -> torch.Tensor:
    """Returns the factor of each edge's message, float ``[edges]``."""
    return statistics.weight * (statistics.edges.slot >= 0)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.6])
def test_the_rate_is_dropped_and_the_rest_scaled_up(dataset, rate):
    graph = build_rank_graph(dataset, World())
    dropouts = [MessageDropout(graph, 5, epoch, rate) for epoch in range(3)]
    epochs = [message_statistics(graph, None, -1, dropout, slots=True) for dropout in dropouts]
    drawn = [(dropout.group, *dropout.kept(fold)) for dropout in dropouts for fold in range(5)]
    kept = torch.stack([kept[group.long()] for group, kept, _ in drawn])
    assert 1 - kept.float().mean().item() == pytest.approx(rate, abs=0.02)
    for weight in [weight for _, _, weight in drawn] + [statistics.weight for statistics in epochs]:
        assert weight == pytest.approx(1 / (1 - rate), rel=5e-3)
    # All edges are dropped about equally often, and passes differ.
    assert kept.float().mean(0).std() < 2 * (rate * (1 - rate) / len(kept)) ** 0.5
    assert not any(torch.equal(kept[0], other) for other in kept[1:])
    for dropout, statistics in zip(dropouts, epochs):
        assert torch.equal(statistics.edges.slot >= 0, dropout.kept(-1)[0][dropout.group.long()])


def test_lists_have_the_kept_messages_and_statistics_do_not_change(dataset):
    graph = build_rank_graph(dataset, World(), time=True)
    before, after = passes(graph)
    kept = (after.edges.slot >= 0)[before.edges.slot >= 0]
    assert 0 < kept.sum() < kept.numel()
    assert torch.equal(after.edges.residual, before.edges.residual[kept] * after.weight)
    assert torch.equal(after.edges.movie, before.edges.movie[kept])
    assert torch.equal(after.edges.level, before.edges.level[kept])
    pointer = torch.cat([torch.zeros(1, dtype=torch.int64), kept.cumsum(0)])[before.edges.pointer]
    assert torch.equal(after.edges.pointer, pointer)
    for name in ("user_degree", "movie_degree", "mean", "user_bias", "movie_bias", "target_temporal_bias"):
        assert torch.equal(getattr(after, name), getattr(before, name)), name
    for name in ("target_pointer", "target_movie", "target_rating"):
        assert torch.equal(getattr(after.edges, name), getattr(before.edges, name)), name


def test_excluded_edges_stay_excluded(dataset):
    graph = build_rank_graph(dataset, World())
    _, after = passes(graph, 0.2)
    excluded = some_edges(graph)
    assert (weights(after)[excluded] == 0).all() and (weights(after)[~excluded] > 0).any()


def weights_of(world, dataset):
    return weights(passes(build_rank_graph(dataset, world))[1])


@pytest.mark.slow
def test_dropped_messages_do_not_depend_on_the_number_of_ranks(dataset):
    assert torch.equal(torch.cat(run_on_ranks(3, weights_of, dataset)), weights_of(World(), dataset))
