"""Lists of a rating model: movies in the order of interest and predicted rating, and what these lists are worth."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.data.prepared import PreparedDataset, Refit, message_splits
from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.evaluation.ranking_split import RankingSplit, read_list_split
from gnnrec.graph.interactions import Interactions, slice_users
from gnnrec.graph.partition import partition
from gnnrec.kernels.ragged import offsets, owners
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.head import DotHead
from gnnrec.models.interest import Interest
from gnnrec.models.interest_options import InterestOptions
from gnnrec.models.rating_model import RatingModel

#: Users that lists are measured on, about: of a larger dataset that many are drawn.
MEASURED_USERS = 10_000
#: Movies with the highest interest that an MLP head ranks, since it cannot score all movies by a product.
PROPOSALS = 500


@dataclasses.dataclass(frozen=True)
class RatingLists:
    """A rating model whose lists are measured.

    Attributes:
        model: The replicated part, without DDP.
        embeddings: Exact embeddings of this rank's users and of all movies.
        interest: Interest, or None: movies are then in the order of the predicted ratings.
    """

    model: RatingModel
    embeddings: NodeEmbeddings
    interest: Interest | None

    def measure(self, split: RankingSplit) -> RankingMetrics:
        """Metrics of the lists on a split; every rank calls this."""
        return split.rank_users(lambda users: self._scores(users, split))

    def _scores(self, users: Tensor, split: RankingSplit) -> Tensor:
        """Scores all movies for some users, float ``[n, movies]``; minus infinity for movies that are not proposed."""
        if self.interest is None:
            return self.model.score_all(self.embeddings, users)
        shown = slice_users(split.shown, users)
        if isinstance(self.model.head, DotHead):
            return self._products(shown, users)
        return self._scores_of_proposals(self.interest.scores(shown), users, split)

    def _products(self, shown: Interactions, users: Tensor) -> Tensor:
        """Scores of both in one product, but for terms that all movies of a user share."""
        scale, weight = self.embeddings.head_scale, self.interest.rating_weight
        rated = self.embeddings.user[users] * (weight if scale is None else weight * scale)
        interest = self.interest.user_vectors(shown)[0].to(rated)
        return torch.cat([interest, rated, rated.new_ones(len(rated), 1)], 1) @ self._columns.T

    @cached_property
    def _columns(self) -> Tensor:
        """Targets of interest, movie vectors for the dot head, and weighted movie biases, side by side."""
        assert isinstance(self.model.head, DotHead)
        movies = self.embeddings.movie * self.model.head.linear.weight
        bias = self.interest.rating_weight * self.embeddings.movie_bias
        return torch.cat([self.interest.target.to(movies), movies, bias[:, None]], 1)

    def _scores_of_proposals(self, interest: Tensor, users: Tensor, split: RankingSplit) -> Tensor:
        if split.candidates is not None:  # interest is the same for all movies without known ratings
            return interest + self.interest.rating_weight * self.model.score_all(self.embeddings, users)
        seen = slice_users(split.seen, users)
        allowed = interest.clone()
        allowed[owners(seen.user_ptr, torch.int64), seen.movie.long()] = -torch.inf
        movies = allowed.topk(min(PROPOSALS, interest.shape[1]), 1).indices.sort(1).values
        counts = torch.full((len(users),), movies.shape[1], device=movies.device)
        ratings = self.model.score_pairs(self.embeddings, users, offsets(counts), movies.reshape(-1))
        chosen = interest.gather(1, movies) + self.interest.rating_weight * ratings.reshape(movies.shape)
        return torch.full_like(interest, -torch.inf).scatter_(1, movies, chosen.to(interest.dtype))


def list_split(
    dataset: PreparedDataset, world: World, split: int, refit: Refit, options: InterestOptions, seed: int
) -> RankingSplit:
    """Reads the users of one held-out split on whom lists are measured: all of them, or some drawn at random.

    Args:
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        split: VALIDATION or TEST.
        refit: Whether the run trains on more than the training ratings.
        options: Options of interest.
        seed: Seed of the run.
    """
    whole = read_list_split(dataset, world, split, message_splits(refit), liked_from(dataset, options))
    first_row = partition(dataset.manifest.shards, world.rank, world.size).start
    return whole.sampled(MEASURED_USERS, rng.key(seed, "lists"), first_row)


def liked_from(dataset: PreparedDataset, options: InterestOptions) -> float:
    """Lowest rating of a movie that its user likes: the given one, or the one three quarters up the scale."""
    if options.relevant is not None:
        return options.relevant
    lowest, highest = (dataset.manifest.rating[name] for name in ("min", "max"))
    return lowest + 0.75 * (highest - lowest)
