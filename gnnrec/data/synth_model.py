"""The true model behind `gnnrec synth`, its ratings, and the lowest errors that any model can reach.

**The true model.** User u scores movie m at time t with::

    s = b_u + b_m + d_m * time + p_u . q_m          y = s + noise          rating = half stars of y

``b`` are biases (popular movies are liked a little more), ``d_m`` lets a movie's bias drift over the twenty years,
``p_u`` are tastes over a dozen factors, and ``q_m`` is half a mixture of the factors of the movie's genres, half the
movie's own. Nine thresholds turn ``y`` into 0.5 ... 5 stars; they are quantiles of ``y``, so the shares of the ten
ratings are those of MovieLens 20M.

**Selection.** A user's choice of movies depends on popularity and, mildly, on the user's strongest taste, but not on
the noise. So the noise of observed ratings has the distribution of all noise, and the floor below holds for observed
ratings.

**The floor.** Given ``s``, the rating exceeds threshold ``c_k`` with probability ``Phi((s - c_k) / noise)``. Hence the
best prediction under squared error is ``E[rating | s] = 0.5 + 0.5 * sum_k Phi((s - c_k) / noise)``, which lies within
0.5 ... 5 by itself, and the best under absolute error is the median, the half stars of ``s``. ``floor.json`` holds the
RMSE and MAE of these predictions on the ratings in ``ratings.csv``, and their expectation over the noise (for RMSE the
root of the mean of ``Var[rating | s]``). No model predicts unseen ratings better except by chance; one that has to
learn the parameters from ratings does worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gnnrec.data.blocks import blocks
from gnnrec.data.synth_movies import SyntheticMovies, draw_movies
from gnnrec.data.synth_pairs import draw_activity, draw_pairs, popularity
from gnnrec.utils.bounds import bounded

# MovieLens 20M's shares of 0.5, 1, ..., 5 stars
HISTOGRAM = [0.0120, 0.0340, 0.0140, 0.0715, 0.0442, 0.2146, 0.1100, 0.2781, 0.0767, 0.1449]
FACTORS = 12
_FIRST_TIME, _LAST_TIME = 789_652_009, 1_427_784_002  # 1995-01-09 to 2015-03-31


@dataclass
class SynthOptions:
    """Options of ``gnnrec synth``; the defaults give the size and the statistics of MovieLens 20M.

    The five effects are standard deviations over the ratings, in stars, before ratings are rounded to half stars.

    Args:
        users: Users of the dataset.
        movies: Movies of the dataset; each is rated if there are as many ratings.
        ratings: Ratings of the dataset, exactly. Every user has at least 20 if that is possible.
        seed: Seed of all draws; the same options give the same files.
        user_bias: Standard deviation of user biases, in stars.
        movie_bias: Standard deviation of movie biases, in stars.
        taste: Standard deviation of the effect of twelve latent factors tied to genres, in stars.
        drift: Standard deviation of the drift of movie biases over twenty years, in stars.
        noise: Standard deviation of the noise that no model can explain, in stars; it sets the floor.
        affinity: Strength of a user's strongest taste in the choice of movies to rate.
        overwrite: Replace the output directory if it exists.
    """

    users: int = bounded(138_493, least=1)
    movies: int = bounded(26_744, least=20)
    ratings: int = bounded(20_000_263, least=1)
    seed: int = bounded(0, least=0)
    user_bias: float = bounded(0.41, least=0)
    movie_bias: float = bounded(0.44, least=0)
    taste: float = bounded(0.42, least=0)
    drift: float = bounded(0.10, least=0)
    noise: float = bounded(0.68, above=0)
    affinity: float = bounded(0.4, least=0, meaning="not at all")
    overwrite: bool = False


@dataclass
class Synthetic:
    """Generated ratings with their true model, sorted by user and movie.

    Args:
        catalog: The movies.
        user: int32 user rows, from 0.
        movie: int32 movie rows.
        time: int64 seconds since 1970.
        stars: int8 rating in half stars, 1 to 10.
        score: float32 score of the true model, without noise.
        thresholds: The nine values of the noisy score between the ratings.
        noise: Standard deviation of the noise.
        movie_score: float32 part of the score that does not depend on the user: movie bias and drift.
        movie_factors: float32 ``[movies, FACTORS]``.
        user_std: Standard deviations of a user's bias and tastes, ``[1 + FACTORS]``.
    """

    catalog: SyntheticMovies
    user: np.ndarray
    movie: np.ndarray
    time: np.ndarray
    stars: np.ndarray
    score: np.ndarray
    thresholds: np.ndarray
    noise: float
    movie_score: np.ndarray
    movie_factors: np.ndarray
    user_std: np.ndarray

    def expectation(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Closed forms for ratings of given scores: mean, variance, and mean absolute deviation from the median."""
        # P(rating > (k + 1) / 2) for k = 0 ... 8
        distance = (np.asarray(score, np.float64)[:, None] - self.thresholds) / self.noise
        above = torch.special.ndtr(torch.from_numpy(distance)).numpy()
        mean = 0.5 + 0.5 * above.sum(1)
        squares = np.arange(1, 11) ** 2 / 4
        variance = squares[0] + above @ np.diff(squares) - mean**2
        return mean, variance, 0.5 * np.minimum(above, 1 - above).sum(1)

    def floor(self) -> dict:
        """Errors of the true model on its own ratings; see the module docstring."""
        # All three are smooth functions of the score: linear interpolation is exact to 1e-6.
        grid = np.linspace(float(self.score.min()), float(self.score.max()), 10_001)
        tables = self.expectation(grid)
        sums = np.zeros(5)
        for rows in blocks(self.stars.size):
            score, stars = self.score[rows], self.stars[rows] / 2
            mean, variance, distance = (np.interp(score, grid, table) for table in tables)
            median = (np.searchsorted(self.thresholds, score) + 1) / 2
            error = stars - mean
            parts = (error**2, variance, np.abs(error), np.abs(stars - median), distance)
            sums += [part.sum() for part in parts]
        squared, variance, absolute, median, distance = (sums / self.stars.size).tolist()
        return {
            "rmse": squared**0.5,
            "rmse_expected": variance**0.5,
            "mae": median,
            "mae_expected": distance,
            "mae_of_rmse_predictions": absolute,
        }


def generate(options: SynthOptions, progress: bool = False) -> Synthetic:
    """Draws the true model and the ratings.

    Every purpose has its own generator, keyed by the seed, so unrelated options do not change its draws.

    Args:
        options: Size and parameters of the true model.
        progress: Whether to show a progress bar.
    """
    users, movies, ratings, seed = options.users, options.movies, options.ratings, options.seed
    catalog = draw_movies(movies, np.random.default_rng([seed, 1]))
    activity = draw_activity(users, movies, ratings, np.random.default_rng([seed, 2]))
    generator = np.random.default_rng([seed, 3])
    target = generator.permutation(popularity(users, movies, ratings))

    # Movies: genres explain half of the factors' variance. Weighted by ratings, every effect has mean zero.
    generator = np.random.default_rng([seed, 4])
    mixture = _scaled(catalog.genres @ generator.normal(size=(len(catalog.genres.T), FACTORS)), target)
    factors = _scaled(mixture + generator.normal(size=(movies, FACTORS)), target)
    log_popularity = _scaled(np.log(target + 0.1), np.ones(movies))
    movie_bias = _scaled(0.35 * log_popularity + generator.normal(size=movies), target) * options.movie_bias
    movie_drift = _scaled(generator.normal(size=movies), target) * options.drift * 3**0.5  # time is even in [-1, 1]

    # Users: a few strong tastes and a tail of weak ones; the largest taste before scaling defines the cluster.
    generator = np.random.default_rng([seed, 5])
    taste_std = 0.78 ** np.arange(FACTORS)
    taste_std *= options.taste / np.sqrt((taste_std**2).sum())
    tastes = generator.normal(size=(users, FACTORS))
    user_bias = _scaled(generator.normal(size=users), activity) * options.user_bias
    strongest = np.abs(tastes).argmax(1)
    likes = tastes[np.arange(users), strongest] > 0
    attraction = np.exp(options.affinity * np.clip(np.concatenate([factors.T, -factors.T]), -3, 3))
    movie = draw_pairs(activity, target, strongest + FACTORS * ~likes, attraction, seed, progress)

    user = np.repeat(np.arange(users, dtype=np.int32), activity)
    time = _draw_times(user, activity, np.random.default_rng([seed, 6]))
    score, movie_score = np.empty(ratings, np.float32), np.empty(ratings, np.float32)
    tastes, factors = (tastes * taste_std).astype(np.float32), factors.astype(np.float32)
    for rows in blocks(ratings):
        u, m = user[rows], movie[rows]
        phase = 2 * (time[rows] - _FIRST_TIME) / (_LAST_TIME - _FIRST_TIME) - 1
        match = np.einsum("nf,nf->n", tastes[u], factors[m])
        movie_score[rows] = movie_bias[m] + movie_drift[m] * phase
        score[rows] = user_bias[u] + movie_score[rows] + match

    # Thresholds use other noise than the ratings, and enough samples to be accurate.
    generator = np.random.default_rng([seed, 7])
    sample = np.resize(score[:: max(1, ratings // 2_000_000)], max(2_000_000, min(ratings, 4_000_000)))
    noisy = sample + options.noise * generator.standard_normal(sample.size, np.float32)
    thresholds = np.quantile(noisy, np.cumsum(HISTOGRAM)[:-1])
    generator = np.random.default_rng([seed, 8])
    stars = np.empty(ratings, np.int8)
    for rows in blocks(ratings):
        noisy = score[rows] + options.noise * generator.standard_normal(score[rows].size, np.float32)
        stars[rows] = np.searchsorted(thresholds, noisy) + 1
    user_std = np.concatenate([[options.user_bias], taste_std])
    return Synthetic(
        catalog, user, movie, time, stars, score, thresholds, options.noise, movie_score, factors, user_std
    )


def _scaled(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Standardizes columns to weighted mean zero and weighted variance one."""
    values = values - np.average(values, axis=0, weights=weights)
    return values / np.maximum(np.sqrt(np.average(values**2, axis=0, weights=weights)), 1e-12)


def _draw_times(user: np.ndarray, activity: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draws timestamps: most users rate in one sitting, the others return for days to years."""
    users = activity.size
    start = _FIRST_TIME + generator.random(users) * (_LAST_TIME - _FIRST_TIME)
    days = np.exp(generator.uniform(0, np.log(3650), users))
    span = np.where(generator.random(users) < 0.6, 20.0 * activity, 86_400 * days)
    span = np.minimum(span, _LAST_TIME - start)
    time = np.empty(user.size, np.int64)
    for rows in blocks(user.size):
        u = user[rows]
        time[rows] = start[u] + span[u] * generator.random(u.size) ** 2
    return time
