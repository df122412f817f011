"""Devices select the messages of a pass from all edges by movie: the result is that of a sort."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gnnrec.distributed.world import World
from gnnrec.graph.batch import whole_graph
from gnnrec.graph.folds import Epoch, Step
from gnnrec.graph.message_dropout import MessageDropout
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.statistics import message_statistics
from gnnrec.graph.step_targets import step_targets
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.ragged import owners
from tests.datasets import write_dataset


@pytest.fixture(scope="module", params=[False, True], ids=["without time", "with time"])
def graph(request, tmp_path_factory) -> RankGraph:
    return build_rank_graph(write_dataset(tmp_path_factory.mktemp("by_movie")), World(), time=request.param)


@pytest.mark.parametrize("fold", [-1, 0, 2])
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_selected_messages_are_those_of_a_sort(graph, fold, rate, monkeypatch):
    dropout = MessageDropout(graph, 3, 1, rate) if rate else None
    statistics = message_statistics(graph, Epoch(graph, 3, 1, 3), fold, dropout, slots=True)
    on_host = whole_graph(graph, statistics)
    assert on_host.to_users.lists.select is None
    expected, messages = on_host.to_users.lists.by_column, statistics.edges.movie.numel()
    assert messages == graph.num_edges if fold < 0 and not rate else 0 < messages < graph.num_edges

    monkeypatch.setattr(RankGraph, "device", torch.device("meta"))
    monkeypatch.setattr(CSRLists, "_sorted", lambda self: pytest.fail("sorted"))
    batch = whole_graph(graph, statistics)
    pointer, user, order = batch.to_users.lists.by_column
    movie = owners(pointer, entries=messages)
    sort = torch.argsort(movie.long() * graph.num_users + user)  # users are in the order of time in models with time
    assert graph.clock is not None or torch.equal(sort, torch.arange(messages))
    assert order.dtype == torch.int32
    for ours, theirs in zip((pointer, user[sort], order[sort].long()), expected, strict=True):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    assert batch.to_movies.lists.by_column is batch.to_users.lists.by_column


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_selected_targets_are_those_of_a_sort(graph, rate, monkeypatch):
    dropout, step = MessageDropout(graph, 3, 1, rate) if rate else None, Step(1, 0, 2, None, 100)
    statistics = message_statistics(graph, Epoch(graph, 3, 1, 3), 2, dropout, slots=True)
    on_host = step_targets(graph, statistics, step, graph.num_users).lists(graph.num_movies)
    assert on_host.select is None and on_host.entry.numel() > 50
    expected, every_edge = on_host.by_column, message_statistics(graph, slots=True).edges

    monkeypatch.setattr(RankGraph, "device", torch.device("meta"))
    monkeypatch.setattr(CSRLists, "_sorted", lambda self: pytest.fail("sorted"))
    pointer, user, order = step_targets(graph, statistics, step, graph.num_users).lists(graph.num_movies).by_column
    sort = torch.argsort(owners(pointer, entries=user.numel()).long() * graph.num_users + user)
    assert order.dtype == torch.int32
    for ours, theirs in zip((pointer, user[sort], order[sort].long()), expected, strict=True):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    leaking = dataclasses.replace(every_edge, target_movie=statistics.edges.target_movie)
    leaking = dataclasses.replace(statistics, edges=leaking)
    assert step_targets(graph, leaking, step, graph.num_users).select is None, "targets are among the messages"


def test_messages_without_slots_are_sorted(graph, monkeypatch):
    statistics = message_statistics(graph, Epoch(graph, 3, 1, 3), 1)
    monkeypatch.setattr(RankGraph, "device", torch.device("meta"))
    assert whole_graph(graph, statistics).to_users.lists.select is None
