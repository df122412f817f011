"""Training data of a ranking model: likes, weak likes, weights of users and popularity of movies."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.data.prepared import PreparedDataset, Refit
from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking_split import only_users
from gnnrec.graph.interactions import (
    Interactions,
    merge,
    read_interactions,
    select_edges,
    training_splits,
    weak_splits,
)
from gnnrec.graph.partition import Partition
from gnnrec.models.ease import is_by_users
from gnnrec.models.gram import weighted_gram
from gnnrec.models.item_problem import ItemProblem, ItemsByMovies, ItemsByUsers, gathered_matrix


@dataclasses.dataclass(frozen=True)
class RankingData:
    """Training data of a ranking model.

    Attributes:
        liked: Relevant training ratings of this rank's users.
        user_weight: Weight of each user in the loss, ``(likes / mean likes) ** power``, 0 for users without likes:
            float ``[users]``.
        popularity: Likes of each movie over all ranks, int64 ``[movies]``.
        weak: Ratings below the threshold of users with likes; None on every rank where there are none to take.
        weak_weight: Value of a weak like; that of a like is 1, or its weight.
    """

    liked: Interactions
    user_weight: Tensor
    popularity: Tensor
    weak: Interactions | None = None
    weak_weight: float = 0.0

    @property
    def num_movies(self) -> int:
        """Movies of the dataset."""
        return self.popularity.numel()

    def gram(self, world: World, dtype: torch.dtype | None = None) -> Tensor:
        """Computes ``Z' W Z`` with the values of :meth:`examples` in ``Z``; every rank calls this."""
        return weighted_gram(self.examples(), self.num_movies, self.user_weight, world, dtype)

    def item_problem(self, world: World, dtype: torch.dtype | None = None) -> ItemProblem | None:
        """Returns the problem of the closed form on rank 0, None on others; every rank calls this.

        Args:
            world: The ranks.
            dtype: Type of a matrix over movies; None for that of :func:`gnnrec.models.gram.weighted_gram`.
        """
        users = round(world.all_reduce_scalar(int((self.liked.user_ptr.diff() > 0).sum())))
        if not is_by_users(users, int((self.weighted_popularity(world) > 0).sum())):
            gram = self.gram(world, dtype)
            return ItemsByMovies(gram) if world.is_main else None
        examples = self.examples()
        values = self.user_weight.double().sqrt().repeat_interleave(examples.user_ptr.diff())
        if examples.weight is not None:
            values *= examples.weight
        matrix = gathered_matrix(examples, values, self.num_movies, world)
        return None if matrix is None else ItemsByUsers(matrix)

    def weighted_popularity(self, world: World) -> Tensor:
        """Computes the diagonal of :meth:`gram`, float64 ``[movies]``; every rank calls this."""
        examples = self.examples()
        weight = self.user_weight.double().repeat_interleave(examples.user_ptr.diff())
        if examples.weight is not None:
            weight *= examples.weight.square()
        return world.all_reduce_sum_(torch.bincount(examples.movie, weight, minlength=self.num_movies))

    def examples(self) -> Interactions:
        """Returns likes, and weak likes if they have a weight, with their values as weights; None stands for ones."""
        if self.weak is None or not self.weak_weight:
            return self.liked
        weak = torch.full_like(self.weak.rating, self.weak_weight, dtype=torch.float64)
        return merge(self.liked, dataclasses.replace(self.weak, weight=weak))


def ranking_data(
    liked: Interactions,
    num_movies: int,
    user_power: float,
    world: World,
    weak: Interactions | None = None,
    weak_weight: float = 0.0,
) -> RankingData:
    """Computes user weights and movie popularity from likes; every rank calls this.

    Args:
        liked: Relevant training ratings of this rank's users.
        num_movies: Movies of the dataset.
        user_power: Exponent of the number of likes in a user's weight.
        world: The ranks.
        weak: See :class:`RankingData`.
        weak_weight: See :class:`RankingData`.
    """
    popularity = world.all_reduce_sum_(torch.bincount(liked.movie, minlength=num_movies))
    likes = liked.user_ptr.diff()
    has_some = likes > 0
    mean = float(popularity.sum()) / max(world.all_reduce_scalar(int(has_some.sum())), 1.0)
    weight = torch.where(has_some, (likes.clamp(min=1).double() / max(mean, 1e-12)) ** user_power, 0.0)
    return RankingData(liked, weight.to(torch.get_default_dtype()), popularity, weak, weak_weight)


def read_likes(
    dataset: PreparedDataset, part: Partition, relevant: float, refit: Refit, world: World, confidence: float = 0.0
) -> tuple[Interactions, Interactions | None]:
    """Reads the likes of this rank's users to train on, and their ratings below the threshold.

    Args:
        dataset: The prepared dataset.
        part: The users of this rank.
        relevant: The threshold.
        refit: Whether to train on validation too, or on all ratings.
        world: The ranks; every rank calls this.
        confidence: Strength of the weights of likes by counts (:func:`gnnrec.graph.interactions.count_confidence`).

    Returns:
        Both; None in place of the second where the protocol has none, or no user has one.
    """
    protocol = dataset.manifest.split["protocol"]
    splits = training_splits(protocol, refit)
    liked = read_interactions(dataset, part, splits, relevant, world.device, confidence=confidence)
    splits = weak_splits(protocol, refit)
    if not splits:
        return liked, None
    others = read_interactions(dataset, part, splits, None, world.device)
    weak = select_edges(others, others.rating < torch.tensor(relevant).to(others.rating))
    weak = only_users(weak, liked.user_ptr.diff() > 0)
    return liked, weak if world.all_reduce_scalar(weak.num_edges) else None
