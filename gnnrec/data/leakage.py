"""Audit of a split: what training ratings tell about held-out ones beyond what a model would know when it is used."""

from __future__ import annotations

import dataclasses

import numpy as np

from gnnrec.data.blocks import user_blocks
from gnnrec.data.prepared import TEST, TEST_INPUT, TRAIN, VALIDATION, VALIDATION_INPUT, PreparedDataset

#: Seconds between ratings of one session.
SESSION = 1800
_BLOCK = 1 << 20  # ratings
_KNOWN = (TRAIN, VALIDATION_INPUT, TEST_INPUT)


@dataclasses.dataclass
class SplitAudit:
    """Held-out ratings (validation and test) by their relation to known ratings, those that a model sees.

    Attributes:
        held_out: Number of held-out ratings.
        same_session: Number of those with a known rating of the same user within 30 minutes; None without times.
        later: With a later known rating of the same user; None without times.
        equal_time: With a known rating of the same user at the same time; None without times.
        cold_users: Number of users with held-out ratings and no known one.
        cold_user_ratings: Number of their held-out ratings.
        cold_movies: Number of movies with held-out ratings and no train rating.
        cold_movie_ratings: Number of their held-out ratings.
    """

    held_out: int = 0
    same_session: int | None = None
    later: int | None = None
    equal_time: int | None = None
    cold_users: int = 0
    cold_user_ratings: int = 0
    cold_movies: int = 0
    cold_movie_ratings: int = 0

    def lines(self) -> list[str]:
        """The audit in words, with shares of the held-out ratings."""
        lines = []
        if self.later is not None:
            lines.append(
                f"of {self.held_out:,} held-out ratings, {self._share(self.same_session)} have a training rating of "
                f"the same user within {SESSION // 60} minutes, {self._share(self.later)} a later one, "
                f"{self._share(self.equal_time)} one at the same time"
            )
        lines.append(
            f"{self.cold_users:,} users without training ratings have {self._share(self.cold_user_ratings)} of the "
            f"{self.held_out:,} held-out ratings, {self.cold_movies:,} movies {self._share(self.cold_movie_ratings)}"
        )
        return lines

    def _share(self, count: int) -> str:
        return f"{100 * count / max(self.held_out, 1):.1f} %"


def audit_split(dataset: PreparedDataset) -> SplitAudit:
    """Audits the split of a dataset, a block of users at a time.

    Args:
        dataset: The dataset.
    """
    has_times = dataset.timestamp is not None
    audit = SplitAudit(same_session=0, later=0, equal_time=0) if has_times else SplitAudit()
    dataset.check()
    user_ptr = np.asarray(dataset.user_ptr)
    trained = np.zeros(dataset.num_movies, bool)
    held_out_of_movie = np.zeros(dataset.num_movies, np.int64)
    for first, end in user_blocks(user_ptr, _BLOCK):
        edges = slice(user_ptr[first], user_ptr[end])
        split, movie = np.asarray(dataset.split[edges]), np.asarray(dataset.movie[edges])
        user = np.repeat(np.arange(end - first), np.diff(user_ptr[first : end + 1]))
        held_out, known = (split == VALIDATION) | (split == TEST), np.isin(split, _KNOWN)
        trained[movie[split == TRAIN]] = True
        held_out_of_movie += np.bincount(movie[held_out], minlength=dataset.num_movies)
        of_user = np.bincount(user[held_out], minlength=end - first)
        is_cold = (of_user > 0) & (np.bincount(user[known], minlength=end - first) == 0)
        audit.held_out += int(held_out.sum())
        audit.cold_users += int(is_cold.sum())
        audit.cold_user_ratings += int(of_user[is_cold].sum())
        if has_times:
            _count_times(audit, user, np.asarray(dataset.timestamp[edges]), held_out, known)
    is_cold = (held_out_of_movie > 0) & ~trained
    audit.cold_movies, audit.cold_movie_ratings = int(is_cold.sum()), int(held_out_of_movie[is_cold].sum())
    return audit


def _count_times(
    audit: SplitAudit, user: np.ndarray, timestamp: np.ndarray, held_out: np.ndarray, known: np.ndarray
) -> None:
    """Finds the known ratings of the same user before and after each held-out one; ratings are sorted by user."""
    order = np.lexsort((timestamp, user))
    time, is_held_out, is_known = timestamp[order], held_out[order], known[order]
    position = np.arange(len(order))
    starts = np.searchsorted(user, user)
    ends = np.searchsorted(user, user, side="right")
    before = np.maximum.accumulate(np.where(is_known, position, -1))
    after = np.minimum.accumulate(np.where(is_known, position, len(order))[::-1])[::-1]
    has_before, has_after = before >= starts, after < ends
    since = np.where(has_before, time - time[np.maximum(before, 0)], SESSION + 1)
    until = np.where(has_after, time[np.minimum(after, len(order) - 1)] - time, SESSION + 1)
    last = np.maximum.accumulate(np.where(is_known, position, -1))[ends - 1]
    is_later = (last >= starts) & (time[np.maximum(last, 0)] > time)
    audit.same_session += int((is_held_out & ((since <= SESSION) | (until <= SESSION))).sum())
    audit.equal_time += int((is_held_out & ((since == 0) | (until == 0))).sum())
    audit.later += int((is_held_out & is_later).sum())
