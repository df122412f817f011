"""Computes a bound on the error of any model of `gnnrec synth` that learns its users from their ratings.

    python -m benchmarks.synthetic_bound --users 13849 --movies 8000 --ratings 2000000

The floor is computed with every user and every movie known. Here the movies and the distribution of users are known
too, but the bias and the tastes of a user are estimated from the user's own training ratings: their posterior mean and
variance, with the rating taken as linear in the score, then the expected rating under it. No model that learns from the
same ratings has more information, so its error is not lower, except for chance and for the approximation as linear.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks import record
from gnnrec.data.synth_model import Synthetic, SynthOptions, blocks, generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=138_493)
    parser.add_argument("--movies", type=int, default=26_744)
    parser.add_argument("--ratings", type=int, default=20_000_263)
    parser.add_argument("--train", type=float, default=0.855, help="share of the ratings that users are estimated from")
    options = parser.parse_args()
    data = generate(SynthOptions(users=options.users, movies=options.movies, ratings=options.ratings))
    train = np.random.default_rng(0).random(data.stars.size) < options.train
    squares = errors(data, train)[~train]
    row = {
        "users": options.users,
        "movies": options.movies,
        "ratings": options.ratings,
        "floor": round(data.floor()["rmse"], 4),
        "bound_with_movies_known": round(float(np.sqrt(squares.mean())), 4),
    }
    print(row)
    print(record.write(f"synthetic_bound_{options.ratings}", "benchmarks.synthetic_bound", row))


def errors(data: Synthetic, train: np.ndarray) -> np.ndarray:
    """Squared errors of all ratings, float64 ``[ratings]``; those of ``train`` were seen."""
    stars = data.stars / 2
    slope, intercept = np.polyfit(data.score, stars, 1)
    noise = np.var(stars - slope * data.score - intercept) / slope**2
    seen = (stars - intercept) / slope - data.movie_score
    mean, variance = np.empty(stars.size), np.empty(stars.size)
    pointer = np.searchsorted(data.user, np.arange(data.user[-1] + 2))
    prior = np.diag(data.user_std**-2.0)
    for user in range(pointer.size - 1):
        rows = slice(pointer[user], pointer[user + 1])
        inputs = np.concatenate(
            [np.ones((rows.stop - rows.start, 1)), data.movie_factors[data.movie[rows]]], 1, dtype=np.float64
        )
        known = inputs[train[rows]]
        covariance = np.linalg.inv(known.T @ known / noise + prior)
        mean[rows] = inputs @ (covariance @ (known.T @ seen[rows][train[rows]])) / noise + data.movie_score[rows]
        variance[rows] = np.einsum("nf,fg,ng->n", inputs, covariance, inputs)
    predicted = np.empty(stars.size)
    for rows in blocks(stars.size):
        distance = (mean[rows, None] - data.thresholds) / np.sqrt(data.noise**2 + variance[rows, None])
        predicted[rows] = 0.5 + 0.5 * torch.special.ndtr(torch.from_numpy(distance)).numpy().sum(1)
    return (stars - predicted) ** 2


if __name__ == "__main__":
    main()
