"""Split protocols of ranking, where a movie is relevant to a user or not.

``strong`` is the protocol of Liang, Krishnan, Hoffman and Jebara, "Variational autoencoders for collaborative
filtering" (WWW 2018, section 4.1): whole users are held out, known by a part of what they like ("strong
generalisation"). ``leave-last`` holds out the last movies that each user liked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gnnrec import rng
from gnnrec.data.prepared import SPLIT_NAMES, TEST, TEST_INPUT, TRAIN, UNUSED, VALIDATION, VALIDATION_INPUT, Manifest
from gnnrec.data.split_input import SplitInput
from gnnrec.errors import UserError

#: Options of ``gnnrec prepare`` that each ranking protocol uses, and that its manifest keeps.
RANKING_OPTIONS: dict[str, tuple[str, ...]] = {
    "strong": ("relevant", "least_relevant", "held_out"),
    "leave-last": ("relevant",),
}
#: Relevant ratings that a user needs for ``leave-last`` to hold two of them out.
_LEAST_FOR_LEAVE_LAST = 3


def relevance(manifest: Manifest) -> float | None:
    """Lowest relevant rating of a dataset prepared for ranking; None where another protocol split it."""
    return manifest.split.get("relevant")


def check_relevant(protocol: str, relevant: float, scale: tuple[float, float]) -> None:
    """Refuses a threshold that is not on the rating scale, where the protocol has one."""
    if protocol in RANKING_OPTIONS and not scale[0] <= relevant <= scale[1]:
        raise UserError(
            f"--relevant {relevant:g} is not on the rating scale {scale[0]:g} to {scale[1]:g}: "
            "name the lowest rating of a movie that its user likes"
        )


def check_used(counts: dict[str, int], relevant: float) -> None:
    """Refuses a split (ratings by split name) that leaves all ratings out."""
    if counts[SPLIT_NAMES[UNUSED]] == sum(counts.values()):
        raise UserError(f"no rating is {relevant:g} or more: lower --relevant")


def strong(data: SplitInput) -> np.ndarray:
    """Users are train, validation or test users as a whole.

    Of a held-out user the share ``held_out`` of the relevant ratings, at least one, is to be found; the others are
    shown. Not used are ratings below ``relevant``, users with fewer than ``least_relevant`` relevant ratings, and
    held-out ratings of movies that no train user finds relevant. So is a held-out user without two ratings left.

    Raises:
        UserError: No user is left to train on.
    """
    split = np.full(len(data.movie), UNUSED, np.uint8)
    role = _roles(data)
    trained = np.zeros(len(data.movie_hash), bool) if data.trained is None else data.trained
    for edges, train in _train_edges(data, role):
        split[edges][train] = TRAIN
        trained[data.movie[edges][train]] = True
    if not trained.any():
        raise UserError(
            f"no user to train on has {data.least_relevant} ratings of {data.relevant:g} or more: "
            "lower --least_relevant, --relevant, --test or --validation"
        )
    pairs = data.pair_counters()
    for first, end in data.user_blocks():
        edges = slice(data.user_ptr[first], data.user_ptr[end])
        of_edge, pair = pairs(first, end)
        owner = of_edge.numpy()
        own_role = role[first:end][owner]
        fine = data.is_relevant(first, end) & trained[data.movie[edges]]
        fine &= (own_role == VALIDATION_INPUT) | (own_role == TEST_INPUT)
        left = np.bincount(owner[fine], minlength=end - first)
        chosen = np.flatnonzero(fine & (left >= 2)[owner])
        to_find = np.floor(data.held_out * left + 0.5).astype(np.int64).clip(1, np.maximum(left - 1, 1))
        draw = rng.bits(data.key("held out"), pair[chosen]).numpy()
        by_draw = chosen[np.lexsort((draw, owner[chosen]))]
        place = _places(owner[by_draw])
        part = own_role[by_draw]
        found = place < to_find[owner[by_draw]]
        split[edges][by_draw] = np.where(found, np.where(part == TEST_INPUT, TEST, VALIDATION), part)
    return split


def trained_movies(data: SplitInput) -> np.ndarray:
    """Movies that a train user of ``strong`` finds relevant, bool ``[movies]``."""
    trained = np.zeros(len(data.movie_hash), bool)
    for edges, train in _train_edges(data, _roles(data)):
        trained[data.movie[edges][train]] = True
    return trained


def _train_edges(data: SplitInput, role: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of ratings, and which of them are train."""
    for first, end in data.user_blocks():
        owner = np.repeat(role[first:end], np.diff(data.user_ptr[first : end + 1]))
        yield slice(data.user_ptr[first], data.user_ptr[end]), data.is_relevant(first, end) & (owner == TRAIN)


def leave_last(data: SplitInput) -> np.ndarray:
    """Each user's last relevant rating is the test part, the one before it the validation part, the others train.

    Users with fewer than three relevant ratings are all train; ratings below ``relevant`` are not used. Equal times
    are ordered by a hash of the pair.

    Raises:
        UserError: There are no times.
    """
    if data.timestamp is None:
        raise UserError("--protocol leave-last needs timestamps: name their column with --timestamp_column")
    split = np.full(len(data.movie), UNUSED, np.uint8)
    pairs = data.pair_counters()
    for first, end in data.user_blocks():
        edges = slice(data.user_ptr[first], data.user_ptr[end])
        of_edge, pair = pairs(first, end)
        chosen = np.flatnonzero(data.is_relevant(first, end))
        owner = of_edge.numpy()[chosen]
        tie = rng.bits(data.key("tie"), pair[chosen]).numpy()
        by_time = np.lexsort((tie, data.timestamp[edges][chosen], owner))
        count = np.bincount(owner, minlength=end - first)[owner]
        from_last = count - 1 - _places(owner)  # owner is sorted: place and user are those of by_time too
        part = np.full(len(chosen), TRAIN, np.uint8)
        enough = count >= _LEAST_FOR_LEAVE_LAST
        part[enough & (from_last == 1)] = VALIDATION
        part[enough & (from_last == 0)] = TEST
        split[edges][chosen[by_time]] = part
    return split


def _roles(data: SplitInput) -> np.ndarray:
    """What each user is, uint8 ``[users]``: TRAIN, VALIDATION_INPUT, TEST_INPUT or UNUSED."""
    relevant = np.zeros(len(data.user_ptr) - 1, np.int64)
    for first, end in data.user_blocks():
        before = np.concatenate([[0], np.cumsum(data.is_relevant(first, end))])
        relevant[first:end] = np.diff(before[data.user_ptr[first : end + 1] - data.user_ptr[first]])
    draw = rng.uniform(data.key("held-out user"), data.user_hash).numpy()
    held_out = data.test + (1 - data.test) * data.validation
    role = np.where(draw < held_out, np.uint8(VALIDATION_INPUT), np.uint8(TRAIN))
    role[draw < data.test] = TEST_INPUT
    role[relevant < data.least_relevant] = UNUSED
    return role


def _places(owner: np.ndarray) -> np.ndarray:
    """Number of each entry within its owner's stretch of a sorted list, from 0."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    return np.arange(len(owner)) - np.repeat(starts, np.diff(np.append(starts, len(owner))))
