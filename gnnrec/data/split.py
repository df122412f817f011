"""Which ratings are held out, decided by counters over raw ids and never by the order of the rows.

A protocol is a function from :class:`SplitInput` to uint8 ``[ratings]``; :data:`PROTOCOLS` names them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from gnnrec import rng
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION
from gnnrec.data.split_input import SplitInput
from gnnrec.data.split_ranking import leave_last, strong
from gnnrec.errors import UserError


def random(data: SplitInput) -> np.ndarray:
    """Each rating on its own: test with probability ``test``, else validation with probability ``validation``."""
    split = np.empty(len(data.movie), np.uint8)
    pairs = data.pair_counters()
    held_out = data.test + (1 - data.test) * data.validation
    for first, end in data.user_blocks():
        draw = rng.uniform(data.key("rating"), pairs(first, end)[1]).numpy()
        part = np.where(draw < held_out, np.uint8(VALIDATION), np.uint8(TRAIN))
        part[draw < data.test] = TEST
        split[data.user_ptr[first] : data.user_ptr[end]] = part
    return split


def temporal(data: SplitInput) -> np.ndarray:
    """Each user's last ratings are the test part, the ones before them the validation part, the earliest train.

    How many is the share of the user's ratings, rounded up or down by the user's own random number, so that the share
    holds on average also among users with few ratings. The first rating always stays in train. Equal times are ordered
    by a hash of the pair.
    """
    if data.timestamp is None:
        raise UserError("--protocol temporal needs timestamps: name their column with --timestamp_column or use random")
    split = np.empty(len(data.movie), np.uint8)
    pairs = data.pair_counters()
    ratings = np.diff(data.user_ptr)
    test = _share(data.test, ratings, data.key("test share"), data.user_hash)
    test = np.minimum(test, ratings - 1)
    validation = _share(data.validation, ratings - test, data.key("validation share"), data.user_hash)
    train = ratings - test - np.minimum(validation, ratings - test - 1)
    for first, end in data.user_blocks():
        start, stop = data.user_ptr[first], data.user_ptr[end]
        of_edge, pair = pairs(first, end)
        tie = rng.bits(data.key("tie"), pair).numpy()
        owner = of_edge.numpy()
        by_time = np.lexsort((tie, data.timestamp[start:stop], owner))
        place = np.arange(stop - start) - (data.user_ptr[first:end] - start)[owner]  # in the user's own order of time
        part = np.full(stop - start, TRAIN, np.uint8)
        part[place >= train[first:end][owner]] = VALIDATION
        part[place >= (ratings - test)[first:end][owner]] = TEST
        split[start + by_time] = part
    return split


def _share(share: float, counts: np.ndarray, stream: int, user_hash: torch.Tensor) -> np.ndarray:
    return np.floor(share * counts + rng.uniform(stream, user_hash).numpy()).astype(np.int64)


PROTOCOLS: dict[str, Callable[[SplitInput], np.ndarray]] = {
    "random": random,
    "temporal": temporal,
    "strong": strong,
    "leave-last": leave_last,
}
