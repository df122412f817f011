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


@dataclasses.dataclass(frozen=True)
class _EpochUsers:
    """The users of every step of an epoch. The host knows all sizes, so that no step waits for a device.

    Attributes:
        epoch: Number of the epoch.
        users: Local rows of the users of each step, int64.
        targets: Targets of each step on all ranks.
        pointers: Start of the examples of each user of a step, int64 ``[users + 1]``, counted from the first step.
        first: Examples of this rank before each step, and in all.
    """

    epoch: int
    users: tuple[Tensor, ...]
    targets: list[int]
    pointers: list[Tensor]
    first: list[int]


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
        examples: What a step reads of its users, liked movies included; None for the liked movies.
    """

    def __init__(
        self,
        interactions: Interactions,
        part: Partition,
        world: World,
        seed: int,
        users_a_step: int,
        examples: Interactions | None = None,
    ):
        self.interactions, self.part, self.world, self.seed = interactions, part, world, seed
        self._examples = (examples or interactions).user_ptr.diff().cpu()
        self._degrees = interactions.user_ptr.diff().cpu()
        self.num_users = round(world.all_reduce_scalar(int((self._degrees > 0).sum())))
        self.steps_an_epoch = max(1, -(-self.num_users // users_a_step)) if users_a_step else 1
        self._epoch: _EpochUsers | None = None

    @property
    def users_a_step(self) -> float:
        """Mean number of users in a step who like a movie, over all ranks."""
        return max(self.num_users, 1) / self.steps_an_epoch

    def step(self, epoch: int, index: int) -> Step:
        """Returns step ``index`` of an epoch, both from 0; the first call of an epoch is a collective."""
        found = self._of_epoch(epoch)
        examples = found.first[index + 1] - found.first[index]
        return Step(epoch, index, 0, found.users[index], found.targets[index], examples)

    def pointer(self, step: Step) -> Tensor:
        """Returns the start of the examples of each user of a step, int64 ``[users + 1]``."""
        found = self._of_epoch(step.epoch)
        return found.pointers[step.index] - found.first[step.index]

    def _of_epoch(self, epoch: int) -> _EpochUsers:
        if self._epoch is None or self._epoch.epoch != epoch:
            self._epoch = self._slices(epoch)
        return self._epoch

    def _slices(self, epoch: int) -> _EpochUsers:
        stream, device = rng.key(self.seed, "shuffle", epoch), self.interactions.movie.device
        order, pointer = stratified_slices(self.part, self.steps_an_epoch, stream, torch.device("cpu"))
        degrees = self._degrees[order]
        targets = self.world.all_reduce_sum_(offsets(degrees)[pointer].diff().to(device)).tolist()
        order, pointer = order[degrees > 0], offsets(degrees > 0)[pointer]
        starts = offsets(self._examples[order])
        bounds, on_device = pointer.tolist(), starts.to(device)
        return _EpochUsers(
            epoch,
            torch.split(order.to(device), pointer.diff().tolist()),
            targets,
            [on_device[begin : end + 1] for begin, end in zip(bounds, bounds[1:])],
            starts[pointer].tolist(),
        )


class NegativeSampler:
    """Draws movies that a user does not like, with probability proportional to a power of their popularity.

    A draw is a function of (stream, edge, number, attempt), so it does not depend on the number of ranks.

    Args:
        popularity: Training ratings of each movie over all ranks, ``[movies]``.
        power: Exponent; 0 draws uniformly among movies with ratings, 1 in proportion to their ratings.
        count: Negatives per edge.
        attempts: Draws per negative; if all are movies that the user likes, the negative gets weight 0. A device makes
            all of them, so that the host need not wait.
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
            # More rounds change no negative; where the host would wait for a device to know, it takes all of them.
            if new.device.type == "cpu" and bool(new.all()):
                break
        batch.negatives = movie.to(torch.int32)
        batch.negative_weight = new.to(dtype)
        batch.negative_share = self.share[movie].to(dtype)
