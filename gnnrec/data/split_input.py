"""Input of split protocols: ratings, hashes of raw ids, and options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from gnnrec.data import draws
from gnnrec.data.blocks import user_blocks

_BLOCK = 1 << 17  # ratings per block


@dataclasses.dataclass
class SplitInput:
    """Input of a split protocol.

    Attributes:
        user_ptr: int64 ``[users + 1]``.
        movie: int32 ``[ratings]``, movie rows.
        rating: float32 ``[ratings]``.
        timestamp: int64 ``[ratings]`` or None.
        user_hash: int64 ``[users]``, hashes of the raw ids by row.
        movie_hash: int64 ``[movies]``.
        test: Share of the ratings (with ``strong``: of the users) held out for test.
        validation: Share of the remaining ones held out for validation.
        seed: Seed.
        relevant: Ranking protocols: lowest relevant rating.
        least_relevant: ``strong``: users with fewer relevant ratings are unused.
        held_out: ``strong``: share of a held-out user's relevant ratings that are targets.
        trained: ``strong``: movies with a relevant rating by any train user, bool ``[movies]``, if the input holds some
            of the users only; None computes them from the input.
        given: ``given``: the split of each rating, uint8 ``[ratings]``.
        cuts: ``global-time``: first times of validation and of test, if the input holds some of the users only.
    """

    user_ptr: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray | None
    user_hash: np.ndarray
    movie_hash: np.ndarray
    test: float
    validation: float
    seed: int
    relevant: float = 4.0
    least_relevant: int = 5
    held_out: float = 0.2
    trained: np.ndarray | None = None
    given: np.ndarray | None = None
    cuts: tuple[int, int] | None = None

    def key(self, purpose: str) -> int:
        """Key of the random stream for a purpose."""
        return draws.key(self.seed, "split", purpose)

    def user_blocks(self) -> Iterator[tuple[int, int]]:
        """Row ranges ``(first user, end)`` with about a hundred thousand ratings and at least one user each."""
        return user_blocks(self.user_ptr, _BLOCK)

    def pair_counters(self) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
        """Returns a function from a range of users to each edge's user offset in the range and counter of raw ids."""
        user_bits = draws.bits(self.key("user"), self.user_hash)
        movie_bits = draws.bits(self.key("movie"), self.movie_hash)

        def block(first: int, end: int) -> tuple[np.ndarray, np.ndarray]:
            owner = np.repeat(np.arange(end - first), np.diff(self.user_ptr[first : end + 1]))
            movie = self.movie[self.user_ptr[first] : self.user_ptr[end]]
            return owner, user_bits[first:end][owner] + movie_bits[movie]

        return block

    def is_relevant(self, first: int, end: int) -> np.ndarray:
        """Flags the relevant ratings of a range of users, bool."""
        return self.rating[self.user_ptr[first] : self.user_ptr[end]] >= np.float32(self.relevant)
