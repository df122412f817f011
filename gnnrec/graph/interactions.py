"""Interactions for ranking: relevant ratings of one rank's users, and the splits for training and evaluation."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.data.prepared import (
    TEST,
    TEST_INPUT,
    TRAIN,
    UNUSED,
    VALIDATION,
    VALIDATION_INPUT,
    PreparedDataset,
    Refit,
    message_splits,
)
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.dataset_edges import read_edges
from gnnrec.graph.partition import Partition, partition
from gnnrec.graph.places import places_from_newest
from gnnrec.kernels.ragged import offsets, owners, ranges
from gnnrec.kernels.sums import bag


@dataclasses.dataclass
class Interactions:
    """Ratings of one rank's users, sorted by user, then movie.

    Attributes:
        user_ptr: int64 ``[users + 1]``.
        movie: int32 ``[edges]``.
        rating: float32 ``[edges]``.
        edge_id: int32 or int64 ``[edges]``, positions in the prepared arrays, independent of the number of ranks.
        place: Number of each rating from the newest one of its user, which is 1: int32 ``[edges]``; None if it was not
            asked for, or without times.
        weight: Weight of each rating in sums over movies, float64 ``[edges]``; None for ones.
    """

    user_ptr: Tensor
    movie: Tensor
    rating: Tensor
    edge_id: Tensor
    place: Tensor | None = None
    weight: Tensor | None = None

    @property
    def num_users(self) -> int:
        """Users of this rank."""
        return self.user_ptr.numel() - 1

    @property
    def num_edges(self) -> int:
        """Ratings of this rank."""
        return self.movie.numel()

    def sums(self, table: Tensor) -> Tensor:
        """Sums the rows of a table, float ``[movies, width]``, over the movies of each user: ``[users, width]``."""
        return bag(table, self.movie, self.user_ptr, None if self.weight is None else self.weight.to(table))


def count_confidence(count: Tensor, alpha: float) -> Tensor | None:
    """Computes ``1 + alpha log(1 + count)``, float64; None if ``alpha`` is 0, which makes all weights equal.

    Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets" (ICDM 2008).

    Args:
        count: Events of each pair of user and movie, float ``[edges]``, 0 or more.
        alpha: Strength.
    """
    return 1 + alpha * count.double().log1p() if alpha else None


def require_counts(dataset: PreparedDataset, alpha: float) -> None:
    """Raises a :class:`UserError` if ratings that are to be counts can be negative."""
    lowest = dataset.manifest.rating["min"]
    if alpha and lowest < 0:
        raise UserError(
            f"--ranking.count-confidence {alpha:g} takes ratings for counts, and {dataset.directory} has ratings down "
            f"to {lowest:g}: leave the option out"
        )


def read_interactions(
    dataset: PreparedDataset,
    part: Partition,
    splits: tuple[int, ...],
    relevant: float | None,
    device: torch.device,
    places: bool = False,
    confidence: float = 0.0,
) -> Interactions:
    """Reads the ratings of the users of ``part`` in some splits.

    Args:
        dataset: The prepared dataset; only the owned range is read.
        part: The users of this rank.
        splits: The splits.
        relevant: Lowest rating to keep; None keeps all.
        device: Device of the result.
        places: Whether to number the ratings of a user by time, if the dataset has times.
        confidence: Strength with which ratings, as counts, are weights (:func:`count_confidence`); 0 for equal weights.
    """
    edges = read_edges(dataset, part, splits, relevant)
    movie = edges.movie()
    in_time = places and dataset.timestamp is not None
    place = places_from_newest(edges.user_ptr, edges.time(), movie).to(device) if in_time else None
    rating = edges.rating().to(device)
    return Interactions(
        user_ptr=edges.user_ptr.to(device),
        movie=movie.to(device),
        rating=rating,
        edge_id=edges.edge_id.to(device),
        place=place,
        weight=count_confidence(rating, confidence),
    )


def slice_users(interactions: Interactions, users: Tensor) -> Interactions:
    """Selects the interactions of some users, in the given order.

    Args:
        interactions: Interactions of this rank's users.
        users: Local rows, int64 ``[n]``.
    """
    counts = interactions.user_ptr.diff()[users]
    index = ranges(interactions.user_ptr[users], counts)
    return Interactions(
        user_ptr=offsets(counts),
        movie=interactions.movie[index],
        rating=interactions.rating[index],
        edge_id=interactions.edge_id[index],
        place=None if interactions.place is None else interactions.place[index],
        weight=None if interactions.weight is None else interactions.weight[index],
    )


def select_edges(interactions: Interactions, kept: Tensor) -> Interactions:
    """Keeps some interactions; the rows of users stay, and places are left out.

    Args:
        interactions: Interactions of some users.
        kept: Bool ``[edges]``.
    """
    counts = torch.bincount(owners(interactions.user_ptr, torch.int64)[kept], minlength=interactions.num_users)
    return Interactions(
        user_ptr=offsets(counts),
        movie=interactions.movie[kept],
        rating=interactions.rating[kept],
        edge_id=interactions.edge_id[kept],
        weight=None if interactions.weight is None else interactions.weight[kept],
    )


def merge(first: Interactions, second: Interactions) -> Interactions:
    """Joins different interactions of the same users, sorted by user, then movie; places are left out."""
    edge_id = torch.cat([first.edge_id, second.edge_id])
    order = edge_id.argsort()  # edges of a dataset are sorted by user, then movie
    weight = None
    if first.weight is not None or second.weight is not None:
        parts = (
            torch.ones_like(part.rating, dtype=torch.float64) if part.weight is None else part.weight
            for part in (first, second)
        )
        weight = torch.cat(list(parts))[order]
    return Interactions(
        user_ptr=first.user_ptr + second.user_ptr,
        movie=torch.cat([first.movie, second.movie])[order],
        rating=torch.cat([first.rating, second.rating])[order],
        edge_id=edge_id[order],
        weight=weight,
    )


def ranking_splits(protocol: str, split: int) -> tuple[tuple[int, ...], int]:
    """Returns the splits of model input and of held-out movies in ranking evaluation.

    Args:
        protocol: Protocol of the prepared dataset (``manifest.split["protocol"]``).
        split: VALIDATION or TEST.

    Returns:
        The splits whose ratings are the model's input (and whose movies are not recommended again), and the held-out
        split. Validation never reads test ratings; in testing, a user's validation ratings are input.
    """
    if split not in (VALIDATION, TEST):
        raise ValueError(f"split {split} is not held out")
    if protocol == "strong":
        return ((VALIDATION_INPUT,) if split == VALIDATION else (TEST_INPUT,)), split
    return ((TRAIN,) if split == VALIDATION else (TRAIN, VALIDATION)), split


def training_splits(protocol: str, refit: Refit) -> tuple[int, ...]:
    """Returns the splits to train a ranking model on.

    Args:
        protocol: Protocol of the prepared dataset.
        refit: Train on validation too, or on all ratings, once hyperparameters are chosen.
    """
    splits = message_splits(refit)
    return (*splits, VALIDATION_INPUT) if refit is True and protocol == "strong" else splits


def weak_splits(protocol: str, refit: Refit) -> tuple[int, ...]:
    """Returns the splits with ratings below the like threshold that a ranking model may be trained on.

    ``strong`` leaves such ratings of all users unused: only those of users to train on may be taken. In ``leave-last``
    unused ratings may be later than the held-out ones, so there are none.

    Args:
        protocol: Protocol of the prepared dataset.
        refit: As in :func:`training_splits`.
    """
    if protocol == "leave-last":
        return ()
    return (UNUSED,) if protocol == "strong" else training_splits(protocol, refit)


def candidate_movies(dataset: PreparedDataset, world: World, split: int) -> Tensor | None:
    """Returns the movies to rank in evaluation: bool ``[movies]``, or None for all. Every rank calls this.

    In the ``strong`` protocol these are the movies that at least one training user likes, whatever the model was
    trained on. With ``cold-movies`` they are those without known ratings (:func:`ranking_splits`).

    Args:
        dataset: The prepared dataset.
        world: The ranks.
        split: VALIDATION or TEST.
    """
    protocol = dataset.manifest.split["protocol"]
    if protocol not in ("strong", "cold-movies"):
        return None
    splits = (TRAIN,) if protocol == "strong" else ranking_splits(protocol, split)[0]
    part = partition(dataset.manifest.shards, world.rank, world.size)
    known = read_edges(dataset, part, splits)
    raters = world.all_reduce_sum_(torch.bincount(known.movie(), minlength=dataset.num_movies).to(world.device))
    return raters > 0 if protocol == "strong" else raters == 0


def reorder_movies(interactions: Interactions, place: Tensor) -> Interactions:
    """Numbers movies anew; ratings of a user stay sorted by movie, and places are left out.

    Args:
        interactions: Interactions of some users.
        place: New number of each movie, int64 ``[movies]``, a permutation.
    """
    movie = place[interactions.movie.long()]
    order = (owners(interactions.user_ptr, torch.int64) * place.numel() + movie).argsort()
    return Interactions(
        user_ptr=interactions.user_ptr,
        movie=movie[order].to(interactions.movie.dtype),
        rating=interactions.rating[order],
        edge_id=interactions.edge_id[order],
        weight=None if interactions.weight is None else interactions.weight[order],
    )
