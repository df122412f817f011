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
    """

    world: World
    shown: Interactions
    seen: Interactions
    targets: Interactions
    candidates: Tensor | None
    num_movies: int
    lengths: tuple[int, ...] = ()

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
        return evaluate_ranking(
            score,
            self.seen,
            self.targets,
            self.world,
            self.num_movies,
            self.candidates,
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
        candidates=candidate_movies(dataset, world),
        num_movies=dataset.num_movies,
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
        candidates=None,
        num_movies=dataset.num_movies,
    )
