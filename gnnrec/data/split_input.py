"""What a split protocol may look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch

from gnnrec import rng

_BLOCK = 1 << 17  # ratings handled at a time


@dataclasses.dataclass
class SplitInput:
    """What a protocol may look at.

    Attributes:
        user_ptr: int64 ``[users + 1]``.
        movie: int32 ``[ratings]``, movie rows.
        rating: float32 ``[ratings]``.
        timestamp: int64 ``[ratings]`` or None.
        user_hash: int64 tensor ``[users]``, hashes of the raw ids by row.
        movie_hash: int64 tensor ``[movies]``.
        test: Share of the ratings (of the users in ``strong``) that goes to the test part.
        validation: Share of what is left that goes to the validation part.
        seed: Seed.
        relevant: Ranking protocols: lowest rating of a movie that the user likes.
        least_relevant: ``strong``: relevant ratings that a user needs to be used at all.
        held_out: ``strong``: share of a held-out user's relevant ratings that is to be found.
        trained: ``strong``: movies that train users find relevant, bool ``[movies]``, where these are not all users;
            None finds them among the ratings that are here.
    """

    user_ptr: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray | None
    user_hash: torch.Tensor
    movie_hash: torch.Tensor
    test: float
    validation: float
    seed: int
    relevant: float = 4.0
    least_relevant: int = 5
    held_out: float = 0.2
    trained: np.ndarray | None = None

    def key(self, purpose: str) -> int:
        """The random stream for a purpose."""
        return rng.key(self.seed, "split", purpose)

    def user_blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of rows ``(first user, end)`` of about a hundred thousand ratings, at least one user each."""
        first, users = 0, len(self.user_ptr) - 1
        while first < users:
            end = int(np.searchsorted(self.user_ptr, self.user_ptr[first] + _BLOCK, side="right")) - 1
            end = max(first + 1, end)
            yield first, end
            first = end

    def pair_counters(self) -> Callable[[int, int], tuple[torch.Tensor, torch.Tensor]]:
        """A function from a range of users to (edge -> user offset in the range, edge -> counter of its raw ids)."""
        of_user = rng.bits(self.key("user"), self.user_hash)
        of_movie = rng.bits(self.key("movie"), self.movie_hash)

        def block(first: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
            owner = torch.from_numpy(np.repeat(np.arange(end - first), np.diff(self.user_ptr[first : end + 1])))
            movie = torch.from_numpy(self.movie[self.user_ptr[first] : self.user_ptr[end]])
            return owner, of_user[first:end][owner] + of_movie[movie]

        return block

    def is_relevant(self, first: int, end: int) -> np.ndarray:
        """Whether each rating of a range of users is relevant, bool."""
        return self.rating[self.user_ptr[first] : self.user_ptr[end]] >= np.float32(self.relevant)
