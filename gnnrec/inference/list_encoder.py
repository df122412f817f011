"""Embeds users and movies for lists: columns for the predicted rating, then columns for interest."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor

from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.graph.interactions import read_interactions
from gnnrec.graph.partition import Partition
from gnnrec.inference.new_users import NewUsers
from gnnrec.inference.rating_encoder import RatingEncoder
from gnnrec.inference.user_encoder import Vectors
from gnnrec.models.interest import Interest


class ListEncoder:
    """Encoder of a rating model with interest.

    A score is the predicted rating plus the product of the interest columns. In ``rating_weight`` standard deviations
    of ratings this is interest plus ``rating_weight`` times the rating, so the order is the same, and the rating keeps
    its columns, biases and offset.

    Args:
        rating: Encoder of the rating model.
        interest: Interest.
        dataset: The prepared dataset.
        splits: Splits whose ratings users are embedded from.
        chunk: Users processed at a time.
    """

    def __init__(
        self, rating: RatingEncoder, interest: Interest, dataset: PreparedDataset, splits: tuple[int, ...], chunk: int
    ):
        self.rating, self.interest, self.dataset, self.splits, self.chunk = rating, interest, dataset, splits, chunk
        self.offset = rating.offset
        target = interest.target.to(rating.movies.vector)
        self.movies = Vectors(torch.cat([rating.movies.vector, target], 1), rating.movies.bias)

    @property
    def interest_scale(self) -> float:
        """Factor of interest in a score, in the unit of the ratings."""
        return self.rating.unit.std / self.interest.rating_weight

    @property
    def unknown_target(self) -> Tensor:
        """Target of interest for a movie without ratings: the mean of those with the fewest ratings, float ``[dim]``.

        EASE scores a movie without ratings with zero, and one with few ratings with little else.
        """
        degree = self.rating.statistics.degree
        return self.movies.vector[degree == degree.min(), self.rating.movies.vector.shape[1] :].mean(0)

    @torch.no_grad()
    def users(self, rows: range) -> Vectors:
        """Embeds users by global rows, on any rank; no collective."""
        rating, device = self.rating.users(rows), self.movies.vector.device
        parts = []
        for first in range(rows.start, rows.stop, self.chunk):
            part = Partition((first, min(first + self.chunk, rows.stop)), 0, 1)
            parts.append(self.interest.user_vectors(read_interactions(self.dataset, part, self.splits, None, device)))
        vector, norm = (torch.cat(blocks) for blocks in zip(*parts))
        columns = [rating.vector, (vector * self.interest_scale).to(rating.vector)]
        return Vectors(torch.cat(columns, 1), rating.bias, norm)

    def for_new_users(self, users: NewUsers) -> ListEncoder:
        """Returns an encoder of the same model for the users of a file."""
        encoder = copy.copy(self)
        encoder.rating = self.rating.for_new_users(users)
        encoder.dataset, encoder.splits = cast(PreparedDataset, users), (TRAIN,)  # new users have its shape
        return encoder

    def state(self) -> dict[str, Tensor]:
        """Returns the state of the rating encoder: the checkpoint has interest."""
        return self.rating.state()
