"""Which ratings are held out, decided by counters over raw ids and never by the order of the rows.

A protocol is a function from :class:`SplitInput` to uint8 ``[ratings]``; :data:`PROTOCOLS` names them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from gnnrec import counters
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION
from gnnrec.errors import UserError

_BLOCK = 1 << 20  # ratings handled at a time


@dataclasses.dataclass
class SplitInput:
    """What a protocol may look at.

    Attributes:
        user_ptr: int64 ``[users + 1]``.
        movie: int32 ``[ratings]``, movie rows.
        timestamp: int64 ``[ratings]`` or None.
        user_hash: int64 tensor ``[users]``, hashes of the raw ids by row.
        movie_hash: int64 tensor ``[movies]``.
        test: Share of the ratings that goes to the test part.
        validation: Share of what is left that goes to the validation part.
        seed: Seed.
    """

    user_ptr: np.ndarray
    movie: np.ndarray
    timestamp: np.ndarray | None
    user_hash: torch.Tensor
    movie_hash: torch.Tensor
    test: float
    validation: float
    seed: int

    def key(self, purpose: str) -> int:
        """The random stream for a purpose."""
        return counters.key(self.seed, "split", purpose)

    def user_blocks(self):
        """Ranges of rows ``(first user, end)`` of about a million ratings, at least one user each."""
        first, users = 0, len(self.user_ptr) - 1
        while first < users:
            end = int(np.searchsorted(self.user_ptr, self.user_ptr[first] + _BLOCK, side="right")) - 1
            end = max(first + 1, end)
            yield first, end
            first = end

    def pair_counters(self) -> Callable[[int, int], tuple[torch.Tensor, torch.Tensor]]:
        """A function from a range of users to (edge -> user offset in the range, edge -> counter of its raw ids)."""
        of_user = counters.bits(self.key("user"), self.user_hash)
        of_movie = counters.bits(self.key("movie"), self.movie_hash)

        def block(first: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
            owner = torch.from_numpy(np.repeat(np.arange(end - first), np.diff(self.user_ptr[first : end + 1])))
            movie = torch.from_numpy(self.movie[self.user_ptr[first] : self.user_ptr[end]])
            return owner, of_user[first:end][owner] + of_movie[movie]

        return block


def random(data: SplitInput) -> np.ndarray:
    """Each rating on its own: test with probability ``test``, else validation with probability ``validation``."""
    split = np.empty(len(data.movie), np.uint8)
    pairs = data.pair_counters()
    held_out = data.test + (1 - data.test) * data.validation
    for first, end in data.user_blocks():
        draw = counters.uniform(data.key("rating"), pairs(first, end)[1]).numpy()
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
        owner, pair = pairs(first, end)
        tie = counters.bits(data.key("tie"), pair).numpy()
        owner = owner.numpy()
        by_time = np.lexsort((tie, data.timestamp[start:stop], owner))
        place = np.arange(stop - start) - (data.user_ptr[first:end] - start)[owner]  # in the user's own order of time
        part = np.full(stop - start, TRAIN, np.uint8)
        part[place >= train[first:end][owner]] = VALIDATION
        part[place >= (ratings - test)[first:end][owner]] = TEST
        split[start + by_time] = part
    return split


def _share(share: float, counts: np.ndarray, stream: int, user_hash: torch.Tensor) -> np.ndarray:
    return np.floor(share * counts + counters.uniform(stream, user_hash).numpy()).astype(np.int64)


PROTOCOLS: dict[str, Callable[[SplitInput], np.ndarray]] = {"random": random, "temporal": temporal}
