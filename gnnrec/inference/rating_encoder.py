"""Embeds users with a trained rating model: from its rows in the checkpoint and their ratings in the dataset."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Batch, whole_graph
from gnnrec.graph.movie_statistics import MovieStatistics
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import MessageStatistics
from gnnrec.graph.user_chunks import UserChunks
from gnnrec.inference.new_users import NewUsers
from gnnrec.inference.user_encoder import Vectors
from gnnrec.inference.user_rows import NewUserRows, UserRows
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.layerwise import UserChunk, movie_states, user_state
from gnnrec.models.rating_model import RatingModel


class RatingEncoder:
    """A rating model that has seen all movies.

    Args:
        model: The replicated part, without DDP.
        rows: Rows of users.
        chunks: Users in chunks.
        state: What :meth:`state` of another one returned; None looks at all users of all ranks, and every rank calls
            this.
    """

    def __init__(self, model: RatingModel, rows: UserRows, chunks: UserChunks, state: dict[str, Tensor] | None = None):
        self.model, self.chunks = model, chunks
        self.rows: UserRows | NewUserRows = rows
        if state is None:
            self.statistics = MovieStatistics.compute(chunks)
            self.states = movie_states(model, self._chunks, chunks.world)
            chunks.release()
        else:
            if chunks.time:
                chunks.times = state["times"]
            on = {name: value.to(chunks.world.device) for name, value in state.items()}
            self.statistics = MovieStatistics(on["mean"], on["degree"], on["bias"], on.get("years"))
            self.states = [on[f"state{number}"] for number in range(len(model.encoder.layers) + 1)]
        movies = self._with_biases(self.statistics.bias[:0], self.states[-1][:0], self.statistics.bias[:0])
        self.movies, self.offset = Vectors(movies.movie, movies.movie_bias), movies.offset

    @torch.no_grad()
    def users(self, rows: range) -> Vectors:
        """Vectors of some users, by global rows, whoever owns them; no collective."""
        found = [self._users(self.chunks.graph(each)) for each in self.chunks.ranges(rows.start, rows.stop)]
        return Vectors(torch.cat([each.vector for each in found]), torch.cat([each.bias for each in found]))

    def of_new_users(self, users: NewUsers) -> RatingEncoder:
        """The same model for the users of a file. Without times in it, effects of time are left out."""
        known, chunks = copy.copy(self), self.chunks
        dataset = cast(PreparedDataset, users)  # they have its shape
        known.chunks = UserChunks(
            dataset, World(device=chunks.world.device), (TRAIN,), chunks.dtype, chunks.time, chunks.chunk
        )
        if known.chunks.time:
            known.chunks.times = chunks.times
        known.rows = NewUserRows(cast(UserRows, self.rows), users.known_row)
        return known

    def state(self) -> dict[str, Tensor]:
        """What makes the same encoder again, bit for bit, without a look at any user."""
        known = {field.name: getattr(self.statistics, field.name) for field in dataclasses.fields(self.statistics)}
        state = known | {f"state{number}": state for number, state in enumerate(self.states)}
        state["times"] = self.chunks.times if self.chunks.time else None
        return {name: value.cpu() for name, value in state.items() if value is not None}

    def _users(self, graph: RankGraph) -> Vectors:
        rows, statistics = self.rows.read(range(graph.part.start, graph.part.stop)), self.statistics.for_chunk(graph)
        return self.encode(rows, graph, statistics)

    def encode(self, rows: dict[str, Tensor], graph: RankGraph, statistics: MessageStatistics) -> Vectors:
        """Vectors of users with these table rows and messages."""
        chunk = UserChunk(rows, whole_graph(graph, statistics).to_users)
        state = user_state(self.model, chunk, self.states)
        found = self._with_biases(statistics.user_bias, state, rows["bias"])
        return Vectors(found.user, found.user_bias)

    @torch.no_grad()
    def _with_biases(self, closed_form: Tensor, state: Tensor, learned: Tensor) -> NodeEmbeddings:
        known = self.statistics
        batch = Batch(None, None, None, None, known.mean, closed_form, known.bias)
        return self.model.with_biases(batch, state, self.states[-1], learned, self.model.movie_rows()["bias"])

    def _chunks(self) -> Iterator[UserChunk]:
        for graph in self.chunks.graphs():
            rows = self.rows.read(range(graph.part.start, graph.part.stop))
            yield UserChunk(rows, whole_graph(graph, self.statistics.for_chunk(graph)).to_users)
