"""Split protocols: hold out ratings by counters over raw ids, independently of the order of the rows.

A protocol maps a :class:`SplitInput` to uint8 ``[ratings]``; :data:`PROTOCOLS` lists all by name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gnnrec.data import draws
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION
from gnnrec.data.split_cold import cold_movies, cold_users
from gnnrec.data.split_given import given
from gnnrec.data.split_input import SplitInput
from gnnrec.data.split_ranking import leave_last, strong
from gnnrec.data.split_time import global_time
from gnnrec.data.threads import in_threads
from gnnrec.errors import UserError


def random(data: SplitInput) -> np.ndarray:
    """Assigns each rating independently: test with probability ``test``, else validation with ``validation``."""
    split = np.empty(len(data.movie), np.uint8)
    pairs = data.pair_counters()
    held_out = data.test + (1 - data.test) * data.validation

    def assign_block(block: tuple[int, int]) -> None:
        first, end = block
        draw = draws.uniform(data.key("rating"), pairs(first, end)[1])
        block_split = np.where(draw < held_out, np.uint8(VALIDATION), np.uint8(TRAIN))
        block_split[draw < data.test] = TEST
        split[data.user_ptr[first] : data.user_ptr[end]] = block_split

    in_threads(assign_block, data.user_blocks())
    return split


def temporal(data: SplitInput) -> np.ndarray:
    """Holds out each user's last ratings as test and the ones before them as validation.

    The shares of a user's ratings are rounded up or down by a random number of the user, so that they hold on average
    for users with few ratings too. The first rating always stays in train. Equal timestamps are ordered by a hash of
    the pair.
    """
    check_times("temporal", data.timestamp is not None)
    assert data.timestamp is not None
    split = np.empty(len(data.movie), np.uint8)
    pairs = data.pair_counters()
    ratings = np.diff(data.user_ptr)
    test = _round_share(data.test, ratings, data.key("test share"), data.user_hash)
    test = np.minimum(test, ratings - 1)
    validation = _round_share(data.validation, ratings - test, data.key("validation share"), data.user_hash)
    train = ratings - test - np.minimum(validation, ratings - test - 1)

    def assign_block(block: tuple[int, int]) -> None:
        first, end = block
        start, stop = data.user_ptr[first], data.user_ptr[end]
        owner, pair = pairs(first, end)
        tie = draws.bits(data.key("tie"), pair)
        by_time = np.lexsort((tie, data.timestamp[start:stop], owner))
        time_rank = np.arange(stop - start) - (data.user_ptr[first:end] - start)[owner]  # within the user
        block_split = np.full(stop - start, TRAIN, np.uint8)
        block_split[time_rank >= train[first:end][owner]] = VALIDATION
        block_split[time_rank >= (ratings - test)[first:end][owner]] = TEST
        split[start + by_time] = block_split

    in_threads(assign_block, data.user_blocks())
    return split


def _round_share(share: float, counts: np.ndarray, stream: int, user_hash: np.ndarray) -> np.ndarray:
    return np.floor(share * counts + draws.uniform(stream, user_hash)).astype(np.int64)


PROTOCOLS: dict[str, Callable[[SplitInput], np.ndarray]] = {
    "random": random,
    "temporal": temporal,
    "global-time": global_time,
    "strong": strong,
    "leave-last": leave_last,
    "cold-movies": cold_movies,
    "cold-users": cold_users,
}
#: Protocols that look at the ratings of all users before they split those of one.
WHOLE = ("strong", "global-time")


def check_times(protocol: str, has_times: bool) -> None:
    """Raises a :class:`UserError` if a protocol needs times and there are none."""
    if protocol in ("temporal", "global-time", "leave-last") and not has_times:
        hint = "name their column with --timestamp-column or use random"
        raise UserError(f"--protocol {protocol} needs timestamps: {hint}")


def assign(protocol: str, data: SplitInput) -> np.ndarray:
    """Splits ratings by a protocol, or as they were given: uint8 ``[ratings]``.

    Args:
        protocol: A name in :data:`PROTOCOLS`, or ``given``.
        data: The ratings.
    """
    return given(data) if protocol == "given" else PROTOCOLS[protocol](data)
