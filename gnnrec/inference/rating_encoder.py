"""Embeds users with a trained rating model, from their rows in the checkpoint and ratings in the dataset."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.data.rating_unit import RatingUnit
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
    """Encoder of a rating model, with the states of all movies. Biases and offset are in the unit of the dataset.

    Args:
        model: The replicated parameters, without DDP.
        rows: Table rows of users.
        chunks: Ratings of users in chunks.
        state: Result of :meth:`state` of another encoder; None computes it from all users, and every rank calls this.
    """

    def __init__(self, model: RatingModel, rows: UserRows, chunks: UserChunks, state: dict[str, Tensor] | None = None):
        self.model, self.chunks, self.unit = model, chunks, RatingUnit.of(chunks.dataset.manifest)
        self.rows: UserRows | NewUserRows = rows
        if state is None:
            self.statistics = MovieStatistics.compute(chunks)
            self.states = movie_states(model, self._chunks, chunks.world)
            chunks.release()
        else:
            on = {name: value.to(chunks.world.device) for name, value in state.items()}
            self.statistics = MovieStatistics(on["mean"], on["degree"], on["bias"])
            self.states = [on[f"state{number}"] for number in range(len(model.encoder.layers) + 1)]
        movies = self._with_biases(self.statistics.bias[:0], self.states[-1][:0], self.statistics.bias[:0])
        self.movies = Vectors(movies.movie, movies.movie_bias * self.unit.std)
        self.offset = self.unit.restore(movies.offset.double())

    @torch.no_grad()
    def users(self, rows: range) -> Vectors:
        """Embeds users by global rows, on any rank; no collective."""
        blocks = [self._users(self.chunks.graph(chunk)) for chunk in self.chunks.ranges(rows.start, rows.stop)]
        return Vectors(torch.cat([block.vector for block in blocks]), torch.cat([block.bias for block in blocks]))

    def for_new_users(self, users: NewUsers) -> RatingEncoder:
        """Returns an encoder of the same model for the users of a file."""
        encoder, chunks = copy.copy(self), self.chunks
        dataset = cast(PreparedDataset, users)  # new users have its shape
        encoder.chunks = UserChunks(dataset, World(device=chunks.world.device), (TRAIN,), chunks.dtype, chunks.chunk)
        encoder.rows = NewUserRows(cast(UserRows, self.rows), users.known_row, users.x)
        return encoder

    def state(self) -> dict[str, Tensor]:
        """Returns tensors that restore this encoder bit for bit without reading any user."""
        statistics = {field.name: getattr(self.statistics, field.name) for field in dataclasses.fields(self.statistics)}
        state = statistics | {f"state{number}": state for number, state in enumerate(self.states)}
        return {name: value.cpu() for name, value in state.items()}

    def _users(self, graph: RankGraph) -> Vectors:
        rows, statistics = self.rows.read(range(graph.part.start, graph.part.stop)), self.statistics.for_chunk(graph)
        return self.encode(rows, graph, statistics)

    def encode(self, rows: dict[str, Tensor], graph: RankGraph, statistics: MessageStatistics) -> Vectors:
        """Embeds users with the given table rows, features apart, and messages."""
        rows = self.model.user_rows(rows)
        chunk = UserChunk(rows, whole_graph(graph, statistics).to_users)
        state = user_state(self.model, chunk, self.states)
        embeddings = self._with_biases(statistics.user_bias, state, rows["bias"])
        return Vectors(embeddings.user, embeddings.user_bias * self.unit.std)

    @torch.no_grad()
    def _with_biases(self, closed_form: Tensor, state: Tensor, learned: Tensor) -> NodeEmbeddings:
        statistics = self.statistics
        batch = Batch(None, None, None, None, statistics.mean, closed_form, statistics.bias)
        movie_bias = self.model.movie_rows()["bias"]
        return self.model.finished(self.model.with_biases(batch, state, self.states[-1], learned, movie_bias), batch)

    def _chunks(self) -> Iterator[UserChunk]:
        for graph in self.chunks.graphs():
            rows = self.model.user_rows(self.rows.read(range(graph.part.start, graph.part.stop)))
            yield UserChunk(rows, whole_graph(graph, self.statistics.for_chunk(graph)).to_users)
