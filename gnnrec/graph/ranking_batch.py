"""Steps of ranking training: the users of a step, the movies that they like, and sampled negatives."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.distributed.world import World
from gnnrec.graph.folds import Step, stratified_slices
from gnnrec.graph.interactions import Interactions
from gnnrec.graph.partition import Partition
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.ragged import offsets


@dataclasses.dataclass
class RankingBatch:
    """Inputs of one step. All movies of a user are targets; those with positive weight are messages too.

    Attributes:
        lists: The movies that each user of the step likes, for the squared loss also those that the user likes weakly.
        message_weight: Float ``[edges]``: 0 for dropped messages, else ``1 / (1 - dropout rate)`` times the value.
        user_weight: Weight of each user in the loss, float ``[users]``.
        negatives: Movies drawn for each edge, int32 ``[edges, n]``; None if the loss is over all movies.
        negative_weight: 1, or 0 if all attempts drew a movie that the user likes, float ``[edges, n]``.
        negative_share: Probability of each negative, float ``[edges, n]``.
        value: Wanted scores of the movies in the squared loss, shares of the user's weight in the others: float
            ``[edges]``; None for ones.
    """

    lists: CSRLists
    message_weight: Tensor
    user_weight: Tensor
    negatives: Tensor | None = None
    negative_weight: Tensor | None = None
    negative_share: Tensor | None = None
    value: Tensor | None = None


class UserSteps:
    """Splits epochs into steps with about equal numbers of users who like a movie, on any number of ranks.

    Args:
        interactions: Liked movies of this rank's users.
        part: The users of this rank.
        world: The ranks; every rank creates one.
        seed: Seed of the run.
        users_a_step: Users per step over all ranks; 0 for all users.
    """

    def __init__(self, interactions: Interactions, part: Partition, world: World, seed: int, users_a_step: int):
        self.interactions, self.part, self.world, self.seed = interactions, part, world, seed
        self.num_users = round(world.all_reduce_scalar(int((interactions.user_ptr.diff() > 0).sum())))
        self.steps_an_epoch = max(1, -(-self.num_users // users_a_step)) if users_a_step else 1
        self._epoch: tuple[int, list[Tensor], list[int]] | None = None  # epoch, users and targets by step

    @property
    def users_a_step(self) -> float:
        """Mean number of users in a step who like a movie, over all ranks."""
        return max(self.num_users, 1) / self.steps_an_epoch

    def step(self, epoch: int, index: int) -> Step:
        """Returns step ``index`` of an epoch, both from 0; the first call of an epoch is a collective."""
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, *self._slices(epoch)
        _, users, targets = self._epoch
        return Step(epoch, index, fold=0, seeds=users[index], num_targets=targets[index])

    def _slices(self, epoch: int) -> tuple[list[Tensor], list[int]]:
        """Returns the users of every step on this rank, and the number of targets of every step on all ranks."""
        stream = rng.key(self.seed, "shuffle", epoch)
        order, pointer = stratified_slices(self.part, self.steps_an_epoch, stream, self.interactions.movie.device)
        degrees = self.interactions.user_ptr.diff()
        targets = self.world.all_reduce_sum_(offsets(degrees[order])[pointer].diff()).tolist()
        return [users[degrees[users] > 0] for users in torch.split(order, pointer.diff().tolist())], targets


def message_weights(stream: int, edge_id: Tensor, rate: float, dtype: torch.dtype) -> Tensor:
    """Draws weights of inverted message dropout: 0 with probability ``rate``, else ``1 / (1 - rate)``.

    Args:
        stream: Key from :func:`gnnrec.rng.key`, a new one for every step.
        edge_id: Global ids of the edges, int32 or int64 ``[edges]``.
        rate: Dropout rate, in ``[0, 1)``.
        dtype: Type of the result, ``[edges]``.
    """
    return (rng.uniform(stream, edge_id) >= rate).to(dtype) / (1 - rate)


class NegativeSampler:
    """Draws movies that a user does not like, with probability proportional to a power of their popularity.

    A draw is a function of (stream, edge, number, attempt), so it does not depend on the number of ranks.

    Args:
        popularity: Training ratings of each movie over all ranks, ``[movies]``.
        power: Exponent; 0 draws uniformly among movies with ratings, 1 in proportion to their ratings.
        count: Negatives per edge.
        attempts: Draws per negative; if all are movies that the user likes, the negative gets weight 0.
    """

    def __init__(self, popularity: Tensor, power: float, count: int, attempts: int = 8):
        self.count, self.attempts = count, attempts
        weight = torch.where(popularity > 0, popularity.double().clamp(min=1) ** power, 0.0)
        self.share = weight / weight.sum().clamp(min=torch.finfo(torch.float64).tiny)
        self._cumulative = self.share.cumsum(0)
        # The last sum may fall short of 1 by rounding.
        self._last = int((popularity > 0).nonzero().max()) if bool((popularity > 0).any()) else 0

    def add_to(self, batch: RankingBatch, stream: int, edge_id: Tensor) -> None:
        """Draws the negatives of a batch.

        Args:
            batch: Receives the negatives; its lists have all liked movies of each user, ascending.
            stream: Key from :func:`gnnrec.rng.key`, a new one for every step.
            edge_id: Global ids of the edges of the batch, int32 or int64 ``[edges]``.
        """
        lists, dtype = batch.lists, batch.user_weight.dtype
        counter = edge_id.to(torch.int64)[:, None] * self.count + torch.arange(self.count, device=edge_id.device)
        owner = lists.owner.long()[:, None] * lists.columns
        liked = owner.squeeze(1) + lists.entry
        movie, new = torch.zeros_like(counter), torch.zeros_like(counter, dtype=torch.bool)
        for attempt in range(self.attempts):
            draw = rng.uniform(rng.key(stream, attempt), counter)
            drawn = torch.searchsorted(self._cumulative, draw, right=True).clamp_(max=self._last)
            movie = torch.where(new, movie, drawn)
            place = torch.searchsorted(liked, owner + movie).clamp_(max=max(liked.numel() - 1, 0))
            new = liked[place] != owner + movie
            if bool(new.all()):
                break
        batch.negatives = movie.to(torch.int32)
        batch.negative_weight = new.to(dtype)
        batch.negative_share = self.share[movie].to(dtype)
