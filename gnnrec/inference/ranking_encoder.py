"""Embeds users with a trained ranking model, from the movies that they like."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from gnnrec.data.prepared import PreparedDataset
from gnnrec.graph.interactions import read_interactions
from gnnrec.graph.partition import Partition
from gnnrec.inference.new_users import NewUsers
from gnnrec.inference.user_encoder import Vectors
from gnnrec.models.ranking_model import RankingModel
from gnnrec.models.ranking_options import RankingOptions
from gnnrec.models.sequential import SequentialTables


class RankingEncoder:
    """Encoder of a ranking model, whose movie vectors are parameters.

    Args:
        model: The model.
        order: Order of likes, whose tables are then those of the scores; None without.
        dataset: The prepared dataset.
        splits: Splits whose ratings users are embedded from.
        options: The options, which tell the lowest rating that counts as liked, and the weights of liked movies.
        chunk: Users processed at a time.
    """

    def __init__(
        self,
        model: RankingModel,
        order: SequentialTables | None,
        dataset: PreparedDataset | NewUsers,
        splits: tuple[int, ...],
        options: RankingOptions,
        chunk: int,
    ):
        self.model, self.order, self.splits, self.options, self.chunk = model, order, splits, options, chunk
        self.dataset = cast(PreparedDataset, dataset)  # new users have its shape
        vectors = (order or model).movie_vectors()
        self.movies, self.offset = Vectors(vectors, vectors.new_zeros(vectors.shape[0])), vectors.new_zeros(())

    @torch.no_grad()
    def users(self, rows: range) -> Vectors:
        """Embeds users by global rows, on any rank; no collective."""
        device, chunks = self.movies.vector.device, []
        for first in range(rows.start, rows.stop, self.chunk):
            part = Partition((first, min(first + self.chunk, rows.stop)), 0, 1)
            liked = read_interactions(
                self.dataset,
                part,
                self.splits,
                self.options.relevant,
                device,
                places=self.order is not None,
                confidence=self.options.count_confidence,
            )
            chunks.append((self.order or self.model).user_vectors(liked))
        vectors = torch.cat(chunks)
        return Vectors(vectors, vectors.new_zeros(vectors.shape[0]))

    def for_new_users(self, users: NewUsers) -> RankingEncoder:
        """Returns an encoder of the same model for the users of a file."""
        return RankingEncoder(self.model, self.order, users, self.splits, self.options, self.chunk)

    def state(self) -> dict[str, Tensor]:
        """Returns an empty state: the checkpoint has everything."""
        return {}
