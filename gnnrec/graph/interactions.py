"""What users like: relevant ratings of one rank's users, and which of them a ranking is shown and asked for."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.data.prepared import TEST, TEST_INPUT, TRAIN, VALIDATION, VALIDATION_INPUT, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.partition import Partition, partition
from gnnrec.graph.rank_graph import read_edges
from gnnrec.kernels.ragged import offsets, ranges


@dataclasses.dataclass
class Interactions:
    """Ratings of one rank's users, sorted by user, then movie.

    Attributes:
        user_ptr: int64 ``[users + 1]``.
        movie: int32 ``[edges]``.
        rating: float32 ``[edges]``.
        edge_id: int64 ``[edges]``, positions in the prepared arrays, the same on any number of ranks.
    """

    user_ptr: Tensor
    movie: Tensor
    rating: Tensor
    edge_id: Tensor

    @property
    def num_users(self) -> int:
        """Users of this rank."""
        return self.user_ptr.numel() - 1

    @property
    def num_edges(self) -> int:
        """Ratings of this rank."""
        return self.movie.numel()


def read_interactions(
    dataset: PreparedDataset,
    part: Partition,
    splits: tuple[int, ...],
    relevant: float | None,
    device: torch.device,
) -> Interactions:
    """The ratings of some splits that belong to the users of ``part``.

    Args:
        dataset: The prepared dataset; only the owned range is read.
        part: What this rank owns.
        splits: The splits.
        relevant: Lowest rating to take; None takes all.
        device: Where the result goes.
    """
    edges = read_edges(dataset, part, splits)
    user_ptr: Tensor = edges.user_ptr
    chosen: Tensor | slice = slice(None)
    if relevant is not None:
        chosen = edges.rating >= torch.tensor(relevant, dtype=torch.float32)
        user_ptr = offsets(chosen)[user_ptr]
    return Interactions(
        user_ptr=user_ptr.to(device),
        movie=edges.movie[chosen].to(device),
        rating=edges.rating[chosen].to(device),
        edge_id=edges.edge_id[chosen].to(device),
    )


def slice_users(interactions: Interactions, users: Tensor) -> Interactions:
    """The interactions of some users, in their order.

    Args:
        interactions: This rank's.
        users: Local rows, int64 ``[n]``.
    """
    counts = interactions.user_ptr.diff()[users]
    chosen = ranges(interactions.user_ptr[users], counts)
    return Interactions(
        user_ptr=offsets(counts),
        movie=interactions.movie[chosen],
        rating=interactions.rating[chosen],
        edge_id=interactions.edge_id[chosen],
    )


def ranking_splits(protocol: str, split: int) -> tuple[tuple[int, ...], int]:
    """What a ranking is shown of a user, and what it is to find.

    Args:
        protocol: Protocol of the prepared dataset (``manifest.split["protocol"]``).
        split: VALIDATION or TEST.

    Returns:
        The splits whose ratings are shown (and whose movies are not recommended again), and the split with what is to
        be found. Validation never reads test ratings; at test time a user's validation ratings are known.
    """
    if split not in (VALIDATION, TEST):
        raise ValueError(f"split {split} holds nothing out")
    if protocol == "strong":
        return ((VALIDATION_INPUT,) if split == VALIDATION else (TEST_INPUT,)), split
    return ((TRAIN,) if split == VALIDATION else (TRAIN, VALIDATION)), split


def training_splits(protocol: str, refit: bool) -> tuple[int, ...]:
    """The splits that a ranking is trained on.

    Args:
        protocol: Protocol of the prepared dataset.
        refit: Train on validation too, once choices are made.
    """
    if not refit:
        return (TRAIN,)
    return (TRAIN, VALIDATION, VALIDATION_INPUT) if protocol == "strong" else (TRAIN, VALIDATION)


def catalogue(dataset: PreparedDataset, world: World) -> Tensor | None:
    """The movies that are ranked: bool ``[movies]``, or None for all of them.

    In the ``strong`` protocol they are those that a train user finds relevant, whatever the model was trained on.

    Args:
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
    """
    if dataset.manifest.split["protocol"] != "strong":
        return None
    part = partition(dataset.manifest.shards, world.rank, world.size)
    train = read_edges(dataset, part, (TRAIN,))
    raters = torch.bincount(train.movie, minlength=dataset.num_movies).to(world.device)
    return world.all_reduce_sum_(raters) > 0
