"""Messages left out at random: how many, which, and what stays as it was."""

from __future__ import annotations

import pytest
import torch

from gnnrec.distributed import World
from gnnrec.graph.message_dropout import MessageDropout
from gnnrec.graph.rank_graph import build_rank_graph
from gnnrec.graph.statistics import message_statistics
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dropout"), users=200, movies=60, ratings=4000)


def applied(graph, rate=0.3, epoch=0, fold=0):
    statistics = message_statistics(graph)
    return statistics, MessageDropout(graph, 5, epoch, rate).apply(statistics, fold)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.6])
def test_the_share_is_left_out_and_the_rest_scaled_up(dataset, rate):
    graph = build_rank_graph(dataset, World())
    weights = torch.stack([applied(graph, rate, epoch, fold)[1].weight for epoch in range(3) for fold in range(5)])
    kept = weights > 0
    assert 1 - kept.float().mean().item() == pytest.approx(rate, abs=0.02)
    torch.testing.assert_close(weights[kept], torch.full_like(weights[kept], 1 / (1 - rate)), rtol=5e-3, atol=0)
    # Each edge is left out about as often as any other, and passes differ.
    assert kept.float().mean(0).std() < 2 * (rate * (1 - rate) / len(weights)) ** 0.5
    assert not any(torch.equal(kept[0], other) for other in kept[1:])


def test_both_orders_leave_out_the_same_messages_and_statistics_stay(dataset):
    graph = build_rank_graph(dataset, World(), time=True)
    before, after = applied(graph)
    assert torch.equal(after.weight[graph.order], after.weight_by_movie)
    assert torch.equal(after.residual, before.residual * after.weight)
    for name in ("user_degree", "movie_degree", "mean", "user_bias", "movie_bias", "drift"):
        assert getattr(after, name) is getattr(before, name)


def test_excluded_edges_stay_excluded(dataset):
    graph = build_rank_graph(dataset, World())
    excluded = torch.arange(graph.num_edges) % 3 == 0
    statistics = message_statistics(graph, (excluded, excluded[graph.order]))
    after = MessageDropout(graph, 0, 0, 0.2).apply(statistics, 1)
    assert (after.weight[excluded] == 0).all() and (after.weight[~excluded] > 0).any()


def weights_of(world, dataset):
    graph = build_rank_graph(dataset, world)
    return applied(graph)[1].weight


def test_what_is_left_out_does_not_depend_on_the_number_of_ranks(dataset):
    assert torch.equal(torch.cat(run_on_ranks(3, weights_of, dataset)), weights_of(World(), dataset))
