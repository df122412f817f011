"""Split protocols for ranking, where a movie is relevant to a user or not.

``strong`` is the protocol of Liang, Krishnan, Hoffman and Jebara, "Variational autoencoders for collaborative
filtering" (WWW 2018, section 4.1): whole users are held out, and the model sees a part of their relevant ratings
("strong generalization"). ``leave-last`` holds out the last relevant movies of each user.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gnnrec.data import draws
from gnnrec.data.prepared import SPLIT_NAMES, TEST, TEST_INPUT, TRAIN, UNUSED, VALIDATION, VALIDATION_INPUT, Manifest
from gnnrec.data.split_input import SplitInput
from gnnrec.errors import UserError

#: Options of ``gnnrec prepare`` that each ranking protocol uses; they are stored in the manifest.
RANKING_OPTIONS: dict[str, tuple[str, ...]] = {
    "strong": ("relevant", "least_relevant", "held_out"),
    "leave-last": ("relevant",),
}
#: Minimum number of relevant ratings of a user for ``leave-last`` to hold out two of them.
_LEAST_FOR_LEAVE_LAST = 3


def has_no_ratings(manifest: Manifest) -> bool:
    """Returns whether a dataset was prepared for ranking alone, so that a model cannot predict its ratings."""
    return manifest.split["protocol"] in RANKING_OPTIONS or bool(manifest.source.get("implicit"))


def relevance(manifest: Manifest) -> float | None:
    """Lowest relevant rating of a dataset prepared for ranking; None for other protocols."""
    return manifest.split.get("relevant")


def check_relevant(protocol: str, relevant: float, scale: tuple[float, float]) -> None:
    """Raises a :class:`UserError` if a ranking protocol's threshold is off the rating scale."""
    if protocol in RANKING_OPTIONS and relevant > -math.inf and not scale[0] <= relevant <= scale[1]:
        raise UserError(
            f"--relevant {relevant:g} is not on the rating scale {scale[0]:g} to {scale[1]:g}: "
            "pass the lowest rating of a movie that its user likes"
        )


def check_used(counts: dict[str, int], relevant: float) -> None:
    """Raises a :class:`UserError` if a split (ratings by split name) leaves out all ratings."""
    if counts[SPLIT_NAMES[UNUSED]] == sum(counts.values()):
        raise UserError(f"no rating is {relevant:g} or more: lower --relevant")


def strong(data: SplitInput) -> np.ndarray:
    """Assigns whole users to train, validation or test.

    The share ``held_out`` of a held-out user's relevant ratings, at least one, are targets; the others are model
    inputs. Unused are ratings below ``relevant``, users with fewer than ``least_relevant`` relevant ratings, held-out
    ratings of movies without a relevant rating by a train user, and held-out users with fewer than two ratings left.

    Raises:
        UserError: There are no train users.
    """
    split = np.full(len(data.movie), UNUSED, np.uint8)
    role = _roles(data)
    trained = np.zeros(len(data.movie_hash), bool) if data.trained is None else data.trained
    for edges, train in _train_edges(data, role):
        split[edges][train] = TRAIN
        trained[data.movie[edges][train]] = True
    if not trained.any():
        raise UserError(
            f"no train user has {data.least_relevant} ratings of {data.relevant:g} or more: "
            "lower --least-relevant, --relevant, --test or --validation"
        )
    pairs = data.pair_counters()
    for first, end in data.user_blocks():
        edges = slice(data.user_ptr[first], data.user_ptr[end])
        owner, pair = pairs(first, end)
        edge_role = role[first:end][owner]
        usable = data.is_relevant(first, end) & trained[data.movie[edges]]
        usable &= (edge_role == VALIDATION_INPUT) | (edge_role == TEST_INPUT)
        count = np.bincount(owner[usable], minlength=end - first)
        chosen = np.flatnonzero(usable & (count >= 2)[owner])
        num_targets = np.floor(data.held_out * count + 0.5).astype(np.int64).clip(1, np.maximum(count - 1, 1))
        draw = draws.bits(data.key("held out"), pair[chosen])
        by_draw = chosen[np.lexsort((draw, owner[chosen]))]
        role_by_draw = edge_role[by_draw]
        is_target = _rank_within_owner(owner[by_draw]) < num_targets[owner[by_draw]]
        target_split = np.where(role_by_draw == TEST_INPUT, TEST, VALIDATION)
        split[edges][by_draw] = np.where(is_target, target_split, role_by_draw)
    return split


def trained_movies(data: SplitInput) -> np.ndarray:
    """Movies with a relevant rating by a train user of ``strong``, bool ``[movies]``."""
    trained = np.zeros(len(data.movie_hash), bool)
    for edges, train in _train_edges(data, _roles(data)):
        trained[data.movie[edges][train]] = True
    return trained


def _train_edges(data: SplitInput, role: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields blocks of ratings and a mask of the train ratings among them."""
    for first, end in data.user_blocks():
        owner = np.repeat(role[first:end], np.diff(data.user_ptr[first : end + 1]))
        yield slice(data.user_ptr[first], data.user_ptr[end]), data.is_relevant(first, end) & (owner == TRAIN)


def leave_last(data: SplitInput) -> np.ndarray:
    """Holds out each user's last relevant rating as test and the one before it as validation.

    Users with fewer than three relevant ratings are all train; ratings below ``relevant`` are unused. Equal timestamps
    are ordered by a hash of the pair.

    Raises:
        UserError: There are no timestamps.
    """
    if data.timestamp is None:
        raise UserError("--protocol leave-last needs timestamps: name their column with --timestamp-column")
    split = np.full(len(data.movie), UNUSED, np.uint8)
    pairs = data.pair_counters()
    for first, end in data.user_blocks():
        edges = slice(data.user_ptr[first], data.user_ptr[end])
        user_offset, pair = pairs(first, end)
        chosen = np.flatnonzero(data.is_relevant(first, end))
        owner = user_offset[chosen]
        tie = draws.bits(data.key("tie"), pair[chosen])
        by_time = np.lexsort((tie, data.timestamp[edges][chosen], owner))
        count = np.bincount(owner, minlength=end - first)[owner]
        from_last = count - 1 - _rank_within_owner(owner)  # owner is sorted, so by_time does not change it
        chosen_split = np.full(len(chosen), TRAIN, np.uint8)
        enough = count >= _LEAST_FOR_LEAVE_LAST
        chosen_split[enough & (from_last == 1)] = VALIDATION
        chosen_split[enough & (from_last == 0)] = TEST
        split[edges][chosen[by_time]] = chosen_split
    return split


def _roles(data: SplitInput) -> np.ndarray:
    """Role of each user, uint8 ``[users]``: TRAIN, VALIDATION_INPUT, TEST_INPUT or UNUSED."""
    relevant = np.zeros(len(data.user_ptr) - 1, np.int64)
    for first, end in data.user_blocks():
        before = np.concatenate([[0], np.cumsum(data.is_relevant(first, end))])
        relevant[first:end] = np.diff(before[data.user_ptr[first : end + 1] - data.user_ptr[first]])
    draw = draws.uniform(data.key("held-out user"), data.user_hash)
    held_out = data.test + (1 - data.test) * data.validation
    role = np.where(draw < held_out, np.uint8(VALIDATION_INPUT), np.uint8(TRAIN))
    role[draw < data.test] = TEST_INPUT
    role[relevant < data.least_relevant] = UNUSED
    return role


def _rank_within_owner(owner: np.ndarray) -> np.ndarray:
    """Position of each entry among its owner's entries in a sorted list, from 0."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    return np.arange(len(owner)) - np.repeat(starts, np.diff(np.append(starts, len(owner))))
