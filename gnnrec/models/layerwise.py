"""Exact embeddings of all users and movies, layer by layer, over chunks of users.

Every node uses all its neighbors. A layer is finished for all movies before the next begins. Movie sums are added up
over the chunks of a rank, then over ranks. The states of a chunk of users follow from its own messages and the states
of movies in earlier layers, so they are recomputed for each layer and never kept: memory does not grow with users.
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
    """A chunk of users and their messages.

    Attributes:
        rows: Table rows of the users, features included (:meth:`gnnrec.models.rating_model.RatingModel.user_rows`).
        to_users: Messages to the users.
    """

    rows: dict[str, Tensor]
    to_users: Messages


#: Returns all chunks of this rank, at least one; can be called repeatedly.
Chunks = Callable[[], Iterable[UserChunk]]
#: Receives embeddings and their closed-form biases.
Fit = Callable[[NodeEmbeddings, Batch], None]


@dataclasses.dataclass(frozen=True)
class WholeGraph:
    """All messages of a graph and their statistics, which training does not change. Every rank makes one.

    Attributes:
        graph: The rank's graph; all its edges carry messages.
        statistics: Statistics of all edges.
        to_users: The messages to all users, in one chunk.
    """

    graph: RankGraph
    statistics: MessageStatistics
    to_users: Messages

    @staticmethod
    def of(graph: RankGraph, temporal_bias: bool = True) -> WholeGraph:
        """Computes the statistics; with the tables of temporal biases, for ratings whose time is known."""
        statistics = message_statistics(graph, tables=temporal_bias)
        return WholeGraph(graph, statistics, whole_graph(graph, statistics).to_users)


@torch.no_grad()
def embed_all(
    model: RatingModel,
    users: NodeTables,
    graph: RankGraph,
    chunk: int = 65536,
    temporal_bias: bool = True,
    fit: Fit | None = None,
) -> NodeEmbeddings:
    """Computes embeddings for this rank's users and for all movies. Every rank calls this.

    Args:
        model: The replicated part, without DDP.
        users: This rank's user rows.
        graph: The rank's graph; all its edges carry messages.
        chunk: Users per chunk.
        temporal_bias: Keep the tables of temporal biases, for ratings whose time is known.
        fit: Called with the embeddings before they are finished, to fit what finishes them.
    """
    whole = WholeGraph.of(graph, temporal_bias)
    return _embed(model, whole, lambda: _chunks(model, users, whole, chunk), fit)


@torch.no_grad()
def embed_whole(model: RatingModel, users: NodeTables, whole: WholeGraph, fit: Fit | None = None) -> NodeEmbeddings:
    """Computes embeddings like :func:`embed_all` in one chunk. Every rank calls this.

    Args:
        model: The replicated part, without DDP.
        users: This rank's user rows.
        whole: The messages, which later calls can take again.
        fit: Called with the embeddings before they are finished, to fit what finishes them.
    """
    rows = model.user_rows(users.rows(slice(0, whole.graph.num_users)))
    return _embed(model, whole, lambda: [UserChunk(rows, whole.to_users)], fit)


def _embed(model: RatingModel, whole: WholeGraph, chunks: Chunks, fit: Fit | None) -> NodeEmbeddings:
    graph, statistics, movie_rows = whole.graph, whole.statistics, model.movie_rows()
    states = movie_states(model, chunks, graph.world, movie_rows)
    results = [(user_state(model, chunk, states, movie_rows), chunk.rows["bias"]) for chunk in chunks()]
    user, user_bias = results[0] if len(results) == 1 else (torch.cat(parts) for parts in zip(*results))
    biases = statistics.mean, statistics.user_bias, statistics.movie_bias
    batch = Batch(None, graph.user_rows, None, None, *biases, statistics.temporal_bias)
    embeddings = model.with_biases(batch, user, states[-1], user_bias, movie_rows["bias"])
    if fit is not None:
        fit(embeddings, batch)
    return model.finished(embeddings, batch)


@torch.no_grad()
def movie_states(
    model: RatingModel, chunks: Chunks, world: World, movie_rows: dict[str, Tensor] | None = None
) -> list[Tensor]:
    """Computes the states of all movies before the first layer and after each layer. Every rank calls this.

    Args:
        model: The replicated part, without DDP.
        chunks: The users of this rank.
        world: The ranks.
        movie_rows: Table rows of all movies; None to compute them.

    Returns:
        Float ``[movies, dim]`` each, the same on every rank.
    """
    rows = model.movie_rows() if movie_rows is None else movie_rows
    states = [start_state(rows)]
    for number, layer in enumerate(model.encoder.layers):
        world.check_stop()
        receiver = layer_receiver(layer.to_movies, rows, states[-1])
        received = _sum_over_users(model, number, receiver, chunks, states, world, rows)
        states.append(states[-1] + layer.movie_out(torch.tanh(received)))
    return states


@torch.no_grad()
def user_state(
    model: RatingModel, chunk: UserChunk, states: list[Tensor], movie_rows: dict[str, Tensor] | None = None
) -> Tensor:
    """Computes the states of a chunk of users after ``len(states) - 1`` layers, float ``[users, dim]``.

    Args:
        model: The replicated part, without DDP.
        chunk: The users.
        states: The result of :func:`movie_states`, or its first elements.
        movie_rows: Table rows of all movies; None to compute them.
    """
    rows, movie_rows = chunk.rows, model.movie_rows() if movie_rows is None else movie_rows
    state = start_state(rows)
    for layer, movie_state in zip(model.encoder.layers, states[:-1]):
        inputs = layer_inputs(layer, movie_rows, movie_state)
        receiver = layer_receiver(layer.to_users, rows, state)
        state = state + layer.user_out(torch.tanh(layer.to_users(inputs, receiver, chunk.to_users, None)))
    return state


def _sum_over_users(
    model: RatingModel,
    number: int,
    receiver: Tensor,
    chunks: Chunks,
    states: list[Tensor],
    world: World,
    movie_rows: dict[str, Tensor],
) -> Tensor:
    """Computes the output for movies of layer ``number``."""
    layer = model.encoder.layers[number]
    conv: BipartiteConv = layer.to_movies

    def messages_of_chunks() -> Iterator[tuple]:
        for chunk in chunks():
            inputs = layer_inputs(layer, chunk.rows, user_state(model, chunk, states, movie_rows))
            yield conv.transform(inputs), chunk.to_users.reversed()

    shift = None
    if conv.heads:
        largest = receiver.new_full((receiver.shape[0], conv.heads), -torch.inf)
        for inputs, messages in messages_of_chunks():
            largest = torch.maximum(largest, conv.largest_logit(inputs, receiver, messages))
        shift = world.all_reduce_max_(largest)
    total = None
    for inputs, messages in messages_of_chunks():
        partial = conv.partial(inputs, receiver, messages, None, shift)
        total = partial if total is None else total + partial
    # finish() only reads degrees from the messages, and all chunks have the same.
    return conv.finish(total.reduced(world.all_reduce_sum_), receiver, messages)


def _chunks(model: RatingModel, users: NodeTables, every: WholeGraph, chunk: int) -> Iterator[UserChunk]:
    """Cuts the users of a graph in memory into chunks."""
    graph, statistics, whole, edges = every.graph, every.statistics, every.to_users, every.statistics.edges
    for first in range(0, max(graph.num_users, 1), chunk):
        last = min(first + chunk, graph.num_users)
        pointer = edges.pointer[first : last + 1]
        span, degree = slice(int(pointer[0]), int(pointer[-1])), statistics.user_degree[first:last]
        lists = CSRLists(pointer - pointer[0], edges.movie[span], graph.num_movies, edges.residual[span])
        to_users = dataclasses.replace(whole, lists=lists, level=edges.level[span], degree=degree, total=degree)
        yield UserChunk(model.user_rows(users.rows(slice(first, last))), to_users)
