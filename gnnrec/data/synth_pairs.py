"""Pairs of users and movies for :mod:`gnnrec.data.synth`: activity, popularity, distinct movies for every user."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

_ACTIVITY_SIGMA = 1.38  # log-normal part: mean 144 and median 68 per user, as in MovieLens 20M
_ACTIVITY_CAP = 0.35  # MovieLens 20M's most active user has rated 35 % of the movies
_TOP_SHARE = 0.486  # MovieLens 20M's most popular movie was rated by 48.6 % of the users

# Ratings by popularity rank among 26,744 movies: about the curve of MovieLens 20M (top 67,310, median 18).
_RANKS = [1, 10, 100, 300, 500, 1000, 2000, 3159, 5000, 6686, 10524, 13372, 16000, 20058, 22772, 26744]
_COUNTS = [67310, 51500, 24900, 13550, 9500, 5130, 2160, 1015, 395, 204, 49, 17.4, 8.6, 3, 1.3, 0.6]

_BUCKET = 1.5  # users whose activity differs by a smaller factor share inclusion probabilities
_SWEEPS = 30
_SHARING = 2  # users who share one order of the movies
_ORDERS = 64
_MOST_INCLUSION = 1 - 1e-9


def draw_activity(users: int, movies: int, ratings: int, generator: np.random.Generator) -> np.ndarray:
    """Draws the number of ratings of every user: at least 20, log-normal above, ``ratings`` in total.

    With fewer than 20 ratings per user on average, the minimum is half of that average (and at least one).

    Args:
        users: Number of users.
        movies: Number of movies, an upper bound for every user.
        ratings: Total, from ``users`` to ``users * movies``.
        generator: Source of randomness.

    Returns:
        int64 ``[users]``.
    """
    least = least_activity(users, ratings)
    mean = ratings / users
    cap = movies if mean >= movies / 4 else max(int(_ACTIVITY_CAP * movies), int(4 * mean), least)
    above = np.exp(generator.normal(0.0, _ACTIVITY_SIGMA, users))
    low, high = 0.0, 1.0
    while np.minimum(least + high * above, cap).sum() < ratings and high < 1e12:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(least + middle * above, cap).sum() < ratings else (low, middle)
    real = np.minimum(least + high * above, cap)
    counts = np.minimum(np.floor(real + 1e-9), cap).astype(np.int64)
    missing = ratings - int(counts.sum())
    room = counts < cap if missing > 0 else counts > least
    order = np.argsort(np.where(room, (counts - real) * np.sign(missing), np.inf), kind="stable")
    counts[order[: abs(missing)]] += np.sign(missing)
    return counts


def least_activity(users: int, ratings: int) -> int:
    """Minimum number of ratings of a user: 20 as in MovieLens, fewer if the average is below 20."""
    return 20 if ratings >= 20 * users else max(1, ratings // users // 2)


def popularity(users: int, movies: int, ratings: int) -> np.ndarray:
    """Expected ratings by popularity rank: MovieLens 20M's curve, raised to a power that gives the sum ``ratings``.

    Every movie has at least one if there are as many ratings as movies.
    """
    least = 1.0 if ratings >= movies else 0.0
    density = ratings / (users * movies)
    top = min(users * max(_TOP_SHARE, min(1.0, 1.6 * density)), ratings - least * (movies - 1))
    ranks = np.log((np.arange(movies) + 0.5) / movies)
    log_share = np.interp(ranks, np.log((np.array(_RANKS) - 0.5) / _RANKS[-1]), np.log(_COUNTS))
    log_share -= log_share[0]
    low, high = 0.0, 1e6
    for _ in range(200):
        power = (low + high) / 2
        too_many = np.maximum(least, top * np.exp(power * log_share)).sum() > ratings
        low, high = (power, high) if too_many else (low, power)
    return np.maximum(least, top * np.exp(high * log_share))


def draw_pairs(
    activity: np.ndarray,
    target: np.ndarray,
    cluster: np.ndarray,
    attraction: np.ndarray,
    seed: int,
    progress: bool = False,
) -> np.ndarray:
    """Draws distinct movies for every user by popularity and the taste of the user's cluster.

    Users of one cluster and about the same activity form a group g. They include movie m with the probability
    ``p_gm = 1 - exp(-t_g w_m a_gm)`` of at least one hit in a Poisson number of draws, so a popular movie saturates as
    it does in real data. ``t_g`` makes the probabilities sum to the group's activity and ``w_m`` makes the expected
    ratings of each movie match ``target``; both are fitted by sweeps over all groups. Given the probabilities,
    *systematic sampling* picks exactly n movies: lay them end to end in a random order and take those under n
    equidistant points with a random start. No movie is longer than the distance, so none comes twice, and a movie's
    probability is exactly proportional to ``p_gm``.

    Args:
        activity: Ratings of every user.
        target: Expected ratings of every movie, with the same sum as ``activity``.
        cluster: Taste cluster of every user.
        attraction: Multipliers ``[clusters, movies]``.
        seed: Seed; a group's draws are a function of it and of the group.
        progress: Whether to show a progress bar.

    Returns:
        Movies of user 0, of user 1, ..., ascending for each user, int32. Every movie occurs if the ratings suffice.
    """
    movies = target.size
    start = np.concatenate([[0], np.cumsum(activity)])
    least = activity.min()
    bucket = np.ceil(np.log(activity / least) / np.log(_BUCKET) - 1e-9).astype(np.int64)
    groups, group_of = np.unique(cluster * 1000 + bucket, return_inverse=True)
    size = np.minimum(np.floor(least * _BUCKET ** (groups % 1000) + 1e-6), movies)
    np.maximum.at(size, group_of, activity)  # at least the largest activity in the group, despite rounding
    share = np.bincount(group_of, weights=activity) / size  # in users of the group's size
    pull = attraction[groups // 1000].astype(np.float32)
    weight, rate = _fit(size, share, pull, target, len(activity))

    by_group = np.argsort(group_of, kind="stable")
    ends = np.cumsum(np.bincount(group_of, minlength=groups.size))
    shuffler = np.random.default_rng([seed, 101])
    orders = np.stack([shuffler.permutation(movies) for _ in range(_ORDERS)])
    movie = np.empty(int(start[-1]), np.int32)
    for g in tqdm(range(groups.size), desc="synth: pairs", disable=not progress, leave=False):
        generator = np.random.default_rng([seed, 102, int(groups[g])])
        probability = _exact(-np.expm1(-rate[g] * weight * pull[g]), size[g])
        members = by_group[ends[g - 1] if g else 0 : ends[g]]
        for first in range(0, members.size, _SHARING):
            outer, inner = generator.integers(0, _ORDERS, 2)
            order = orders[outer][orders[inner]]
            reach = np.cumsum(probability[order])
            for user in members[first : first + _SHARING]:
                count = activity[user]
                if count == movies:
                    chosen = np.arange(movies)
                else:
                    points = (np.arange(count) + generator.random()) * (reach[-1] / count)
                    chosen = np.sort(order[np.minimum(reach.searchsorted(points, side="right"), movies - 1)])
                movie[start[user] : start[user + 1]] = chosen
    if movie.size >= movies:
        _add_unrated_movies(movie, start, movies, np.random.default_rng([seed, 103]))
    return movie


def _fit(
    size: np.ndarray, share: np.ndarray, pull: np.ndarray, target: np.ndarray, users: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fits the popularity weights ``w_m`` and the rates ``t_g`` of :func:`draw_pairs`."""
    weight = -np.log1p(-np.minimum(target / (users + 1), 0.999)).astype(np.float32)
    weight = np.maximum(weight, 1e-12)
    rate = size / target.sum() * users
    for _ in range(_SWEEPS):
        expected = np.zeros(target.size)
        for g in range(size.size):
            exponent = (rate[g].astype(np.float32) * weight) * pull[g]
            missed = np.exp(-exponent)
            probability = 1 - missed
            expected += share[g] * probability
            total, slope = probability.sum(dtype=np.float64), np.dot(exponent, missed)
            newton = (size[g] - total) / max(slope, 1e-9 * size[g])  # for the logarithm of the rate
            rate[g] *= np.exp(np.clip(newton, -1, 1))
        factor = np.where(target > 0, target / np.maximum(expected, 1e-12), 1)
        weight *= np.clip(factor, 0.25, 4).astype(np.float32)
        weight = np.clip(weight, 1e-12, 1e12)
    return weight, rate


def _exact(probability: np.ndarray, total: float) -> np.ndarray:
    """Corrects inclusion probabilities, fitted approximately, to sum to ``total`` exactly and stay below one."""
    probability = np.minimum(probability.astype(np.float64), _MOST_INCLUSION)
    total = min(total, _MOST_INCLUSION * probability.size)
    missing = total - probability.sum()
    if missing <= 0:
        return probability * (total / probability.sum())
    room = _MOST_INCLUSION - probability
    return probability + room * (missing / max(room.sum(), missing))


def _add_unrated_movies(movie: np.ndarray, start: np.ndarray, movies: int, generator: np.random.Generator) -> None:
    """Gives every unrated movie one rating, taken in place from a movie that keeps another one."""
    unrated = np.flatnonzero(np.bincount(movie, minlength=movies) == 0)
    if unrated.size == 0:
        return
    keeper = np.zeros(movies, np.int64)
    keeper[movie] = np.arange(movie.size)  # the last rating of each movie stays
    replaceable = np.ones(movie.size, bool)
    replaceable[keeper[np.bincount(movie, minlength=movies) > 0]] = False
    replaced = generator.choice(np.flatnonzero(replaceable), unrated.size, replace=False, shuffle=False)
    movie[replaced] = unrated
    for user in np.unique(np.searchsorted(start, replaced, side="right") - 1):
        movie[start[user] : start[user + 1]].sort()
