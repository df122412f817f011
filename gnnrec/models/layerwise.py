"""Exact embeddings of all users and movies, layer by layer, over chunks of users.

Every node uses all its neighbours. A layer is finished for all movies before the next begins. Movie sums are collected
over the chunks of a rank, then over ranks. What a chunk of users holds after some layers follows from its own messages
and the states of movies before these layers, so it is computed again for each layer and never kept: memory does not
grow with users.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph.batch import Batch, Messages, whole_graph
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import MessageStatistics, message_statistics
from gnnrec.kernels.lists import CSRLists
from gnnrec.models.conv import BipartiteConv
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.encoder import layer_inputs, layer_receiver, start_state
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.tables import NodeTables


@dataclasses.dataclass(frozen=True)
class UserChunk:
    """Some users and all that reaches them.

    Attributes:
        rows: Their table rows.
        to_users: Their messages.
    """

    rows: dict[str, Tensor]
    to_users: Messages


#: Gives all chunks of this rank, at least one, as often as it is called.
Chunks = Callable[[], Iterable[UserChunk]]


@torch.no_grad()
def embed_all(
    model: RatingModel, users: NodeTables, graph: RankGraph, chunk: int = 65536, temporal_bias: bool = True
) -> NodeEmbeddings:
    """NodeEmbeddings of this rank's users and of all movies.

    Args:
        model: The replicated part, without DDP.
        users: This rank's user rows.
        graph: The rank's graph; all its edges carry messages. Every rank calls this.
        chunk: Users whose messages are worked on at a time.
        temporal_bias: Keep what gives effects of time, for ratings whose time is known.
    """
    statistics = message_statistics(graph, tables=temporal_bias)

    def chunks() -> Iterator[UserChunk]:
        return _chunks(users, graph, statistics, chunk)

    states = movie_states(model, chunks, graph.world)
    parts = [(user_state(model, each, states), each.rows["bias"]) for each in chunks()]
    user, user_bias = (torch.cat(each) for each in zip(*parts))
    biases = statistics.mean, statistics.user_bias, statistics.movie_bias
    batch = Batch(None, graph.user_rows, None, None, *biases, statistics.temporal_bias)
    return model.with_biases(batch, user, states[-1], user_bias, model.movie_rows()["bias"])


@torch.no_grad()
def movie_states(model: RatingModel, chunks: Chunks, world: World) -> list[Tensor]:
    """States of all movies before the first layer and after each, float ``[movies, dim]``, the same on every rank.

    Args:
        model: The replicated part, without DDP.
        chunks: The users of this rank.
        world: The ranks. Every rank calls this.
    """
    rows = model.movie_rows()
    states = [start_state(rows)]
    for number, layer in enumerate(model.encoder.layers):
        world.check_stop()
        receiver = layer_receiver(layer.to_movies, rows, states[-1])
        received = _sum_over_users(model, number, receiver, chunks, states, world)
        states.append(states[-1] + layer.movie_out(torch.tanh(received)))
    return states


@torch.no_grad()
def user_state(model: RatingModel, chunk: UserChunk, states: list[Tensor]) -> Tensor:
    """States of the users of a chunk after as many layers as movies have states before, float ``[users, dim]``.

    Args:
        model: The replicated part, without DDP.
        chunk: The users.
        states: What :func:`movie_states` returns, or its beginning.
    """
    rows, movie_rows = chunk.rows, model.movie_rows()
    state = start_state(rows)
    for layer, movie_state in zip(model.encoder.layers, states[:-1]):
        sources = layer_inputs(layer, movie_rows, movie_state)
        receiver = layer_receiver(layer.to_users, rows, state)
        state = state + layer.user_out(torch.tanh(layer.to_users(sources, receiver, chunk.to_users, None)))
    return state


def _sum_over_users(
    model: RatingModel, number: int, receiver: Tensor, chunks: Chunks, states: list[Tensor], world: World
) -> Tensor:
    """What movies receive in a layer."""
    layer = model.encoder.layers[number]
    conv: BipartiteConv = layer.to_movies

    def parts() -> Iterator[tuple]:
        for chunk in chunks():
            sources = layer_inputs(layer, chunk.rows, user_state(model, chunk, states))
            yield conv.transform(sources), chunk.to_users.turned()

    shift = None
    if conv.heads:
        largest = receiver.new_full((receiver.shape[0], conv.heads), -torch.inf)
        for sources, messages in parts():
            largest = torch.maximum(largest, conv.largest_logit(sources, receiver, messages))
        shift = world.all_reduce_max_(largest)
    total = None
    for sources, messages in parts():
        part = conv.partial(sources, receiver, messages, None, shift)
        total = part if total is None else total + part
    # Finishing a movie needs its degrees alone, which every chunk knows.
    return conv.finish(total.reduced(world.reduce), receiver, messages)


def _chunks(users: NodeTables, graph: RankGraph, statistics: MessageStatistics, chunk: int) -> Iterator[UserChunk]:
    """The users of a graph that is in memory."""
    whole, edges = whole_graph(graph, statistics).to_users, statistics.edges
    for first in range(0, max(graph.num_users, 1), chunk):
        last = min(first + chunk, graph.num_users)
        pointer = edges.pointer[first : last + 1]
        chosen, degree = slice(int(pointer[0]), int(pointer[-1])), statistics.user_degree[first:last]
        lists = CSRLists(pointer - pointer[0], edges.movie[chosen], graph.num_movies, edges.residual[chosen])
        to_users = dataclasses.replace(whole, lists=lists, level=edges.level[chosen], degree=degree, total=degree)
        yield UserChunk(users.rows(slice(first, last)), to_users)
