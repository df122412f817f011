"""Users of one held-out split, and the metrics of ranking models on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.data.prepared import (
    TEST_INPUT,
    TRAIN,
    VALIDATION,
    VALIDATION_INPUT,
    PreparedDataset,
    Refit,
    message_splits,
)
from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking import OnUsers, RankingMetrics, evaluate_ranking
from gnnrec.graph.interactions import (
    Interactions,
    candidate_movies,
    ranking_splits,
    read_interactions,
    reorder_movies,
    select_edges,
    slice_users,
)
from gnnrec.graph.partition import partition
from gnnrec.kernels.ragged import owners

#: Splits that are known after training that leaves out the test ratings.
_KNOWN_SPLITS = (TRAIN, VALIDATION, VALIDATION_INPUT, TEST_INPUT)


@dataclasses.dataclass(frozen=True)
class RankingSplit:
    """Shown ratings of this rank's users, from which movies are ranked, and held-out ones.

    Attributes:
        world: The ranks.
        shown: Relevant ratings that scores are computed from.
        seen: Ratings whose movies are not recommended again.
        targets: Relevant held-out ratings.
        candidates: The catalog, bool ``[movies]``, or None for all movies.
        num_movies: Movies of the dataset.
        lengths: Lengths of lists at which further metrics are computed.
        tie_order: Movie rows in the order in which equal scores rank them, int64 ``[movies]``; None for that of rows.
            Rows have the most rated movies first, held-out ratings included.
    """

    world: World
    shown: Interactions
    seen: Interactions
    targets: Interactions
    candidates: Tensor | None
    num_movies: int
    lengths: tuple[int, ...] = ()
    tie_order: Tensor | None = None

    @property
    def cold(self) -> bool:
        """Whether the catalog has movies without known ratings alone."""
        return self.tie_order is not None

    def evaluate(self, source: Tensor, movies: Tensor, on_users: OnUsers | None = None) -> RankingMetrics:
        """Metrics of the scores ``sum of shown source rows . movie vector``; every rank calls this.

        Args:
            source: Contribution of a shown movie to a user's vector, float ``[movies, dim]``.
            movies: Movie vectors, float ``[movies, dim]``.
            on_users: Called with each chunk of users.
        """
        return self.rank(lambda shown: shown.sums(source) @ movies.T, on_users)

    def rank(self, score: Callable[[Interactions], Tensor], on_users: OnUsers | None = None) -> RankingMetrics:
        """Metrics of any scores; every rank calls this.

        Args:
            score: Maps shown ratings of some users to their scores of all movies, float ``[users, movies]``.
            on_users: Called with each chunk of users.
        """
        return self.rank_users(lambda users: score(slice_users(self.shown, users)), on_users)

    def rank_users(self, score: Callable[[Tensor], Tensor], on_users: OnUsers | None = None) -> RankingMetrics:
        """Metrics of any scores; every rank calls this.

        Args:
            score: Maps local rows of users, int64 ``[n]``, to their scores of all movies, float ``[n, movies]``.
            on_users: Called with each chunk of users.
        """
        seen, targets, candidates, order = self.seen, self.targets, self.candidates, self.tie_order
        if order is not None:
            place = order.argsort()
            seen, targets = reorder_movies(seen, place), reorder_movies(targets, place)
            candidates = None if candidates is None else candidates[order]
        return evaluate_ranking(
            lambda users: score(users) if order is None else score(users)[:, order],
            seen,
            targets,
            self.world,
            self.num_movies,
            candidates,
            on_users=on_users,
            lengths=self.lengths,
        )

    def sampled(self, most: int, key: int, first_row: int) -> RankingSplit:
        """Restricts the targets to about ``most`` users, drawn at random, the same on any number of ranks.

        Args:
            most: Number of users over all ranks.
            key: Key of the draw.
            first_row: Global row of this rank's first user.
        """
        with_targets = self.targets.user_ptr.diff() > 0
        share = most / max(self.world.all_reduce_scalar(int(with_targets.sum())), 1)
        if share >= 1:
            return self
        rows = torch.arange(first_row, first_row + self.targets.num_users, device=with_targets.device)
        return dataclasses.replace(self, targets=only_users(self.targets, rng.uniform(key, rows) < share))


def only_users(ratings: Interactions, chosen: Tensor) -> Interactions:
    """Removes the interactions of all users but the chosen ones, bool ``[users]``; rows of users stay."""
    return select_edges(ratings, chosen[owners(ratings.user_ptr, torch.int64)])


def known_splits(refit: Refit) -> tuple[int, ...]:
    """Splits that users are embedded from after training: all but the test ratings, which ``all`` includes."""
    return message_splits(refit) if refit == "all" else _KNOWN_SPLITS


def read_ranking_split(
    dataset: PreparedDataset,
    world: World,
    split: int,
    relevant: float,
    places: bool = False,
    confidence: float = 0.0,
) -> RankingSplit:
    """Reads one held-out split.

    Args:
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        split: VALIDATION or TEST.
        relevant: Lowest relevant rating.
        places: Whether to number the shown ratings of a user by time.
        confidence: Strength of the weights of shown ratings (:func:`gnnrec.graph.interactions.count_confidence`).
    """
    part = partition(dataset.manifest.shards, world.rank, world.size)
    shown, to_find = ranking_splits(dataset.manifest.split["protocol"], split)
    return RankingSplit(
        world=world,
        shown=read_interactions(dataset, part, shown, relevant, world.device, places, confidence),
        seen=read_interactions(dataset, part, shown, None, world.device),
        targets=read_interactions(dataset, part, (to_find,), relevant, world.device),
        candidates=candidate_movies(dataset, world, split),
        num_movies=dataset.num_movies,
        tie_order=_tie_order(dataset, world),
    )


def read_list_split(
    dataset: PreparedDataset, world: World, split: int, splits: tuple[int, ...], relevant: float
) -> RankingSplit:
    """Reads one held-out split to rank movies from all ratings of some splits, low ones too.

    Args:
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        split: VALIDATION or TEST. Rankings for TEST leave out the movies of validation ratings too.
        splits: Splits that scores are computed from.
        relevant: Lowest relevant rating.
    """
    part = partition(dataset.manifest.shards, world.rank, world.size)
    known, _ = ranking_splits(dataset.manifest.split["protocol"], split)
    return RankingSplit(
        world=world,
        shown=read_interactions(dataset, part, splits, None, world.device),
        seen=read_interactions(dataset, part, known, None, world.device),
        targets=read_interactions(dataset, part, (split,), relevant, world.device),
        candidates=candidate_movies(dataset, world, split),
        num_movies=dataset.num_movies,
        tie_order=_tie_order(dataset, world),
    )


def _tie_order(dataset: PreparedDataset, world: World) -> Tensor | None:
    """A random order of cold movies, of which rows would tell the number of held-out ratings; None where there is a
    catalog of movies with known ratings."""
    if dataset.manifest.split["protocol"] != "cold-movies":
        return None
    return rng.permutation(rng.key(0, "cold movies"), torch.arange(dataset.num_movies, device=world.device))
