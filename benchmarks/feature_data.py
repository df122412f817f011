"""Synthetic ratings whose factors depend on known features of movies or users, for ``benchmarks.features``.

A rating is ``3.5 + b_u + b_m + p_u . q_m + noise``, cut to half stars from 0.5 to 5. On the side with features, bias
and factors are a linear map of standardized numbers and of the indicators of one category. On the other side they are
drawn. Pairs are drawn evenly, so no choice of what to rate tells anything.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

FACTORS, NUMBERS, CATEGORIES = 4, 6, 8
#: Standard deviations of biases, of the effect of factors, and of the noise, in stars.
BIAS, TASTE, NOISE = 0.4, 0.5, 0.7


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Size of a set: ratings of each node without features, and numbers of nodes with and without them."""

    with_features: int
    without: int
    each: int


#: By the side that has features.
SIZES = {"movie": Sizes(1500, 1500, 100), "user": Sizes(3000, 600, 500)}


def write(directory: Path, side: str, seed: int) -> pd.DataFrame:
    """Writes ``ratings.csv`` and ``features.csv``; returns the ratings with the true scores in ``score``.

    Args:
        directory: An existing directory.
        side: ``movie`` or ``user``, which has features.
        seed: Of all draws.
    """
    rng, size = np.random.default_rng([seed, side == "user"]), SIZES[side]
    numbers, category = rng.normal(size=(size.with_features, NUMBERS)), rng.integers(0, CATEGORIES, size.with_features)
    x = np.concatenate([numbers, np.eye(CATEGORIES)[category] * CATEGORIES**0.5], axis=1)
    bias = x @ rng.normal(size=x.shape[1]) * BIAS / (NUMBERS + CATEGORIES) ** 0.5
    factors = x @ rng.normal(size=(x.shape[1], FACTORS)) / (NUMBERS + CATEGORIES) ** 0.5
    other_bias = rng.normal(size=size.without) * BIAS
    other_factors = rng.normal(size=(size.without, FACTORS)) * TASTE / FACTORS**0.5

    other = np.repeat(np.arange(size.without), size.each)
    known = np.concatenate([rng.permutation(size.with_features)[: size.each] for _ in range(size.without)])
    score = 3.5 + bias[known] + other_bias[other] + (factors[known] * other_factors[other]).sum(1)
    stars = np.clip(np.round((score + rng.normal(size=score.size) * NOISE) * 2) / 2, 0.5, 5)
    ids = {side: known, "user" if side == "movie" else "movie": other}
    ratings = pd.DataFrame({"userId": ids["user"], "movieId": ids["movie"], "rating": stars})
    ratings.to_csv(directory / "ratings.csv", index=False)
    table = pd.DataFrame(numbers, columns=[f"number{column}" for column in range(NUMBERS)])
    table["group"] = np.array(list("ABCDEFGH"))[category]
    table.insert(0, f"{side}Id", np.arange(size.with_features))
    table.to_csv(directory / "features.csv", index=False)
    return ratings.assign(score=score)
