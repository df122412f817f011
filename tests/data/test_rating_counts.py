"""Mean, standard deviation and levels from counts, against NumPy on the ratings themselves."""

from __future__ import annotations

import numpy as np
import pytest

from gnnrec.data.rating_counts import RatingCounts
from gnnrec.data.rating_scale import levels

RNG = np.random.default_rng(0)
RATINGS = {
    "stars": RNG.choice(np.arange(0.5, 5.5, 0.5), 3000),
    "two": RNG.choice([0.0, 1.0], 500),
    "percent": RNG.choice(np.arange(1, 101), 3000),
    "a thousand": RNG.choice(np.arange(1, 1001), 20_000),
    "plays": np.ceil(RNG.lognormal(3, 2.5, 20_000)),
    "far from zero": 1000 + RNG.normal(0, 1, 5000),
    "all equal": np.full(50, 3.5),
}


@pytest.mark.parametrize("name", RATINGS)
def test_moments_equal_those_of_the_ratings(name):
    rating = RATINGS[name].astype(np.float32)
    mean, std = RatingCounts.of(rating, float(rating.min())).moments()
    expected = rating.astype(np.float64)
    assert mean == pytest.approx(expected.mean(), abs=1e-3 * (expected.std() or 1))
    assert std == pytest.approx(expected.std() or 1.0, rel=1e-3)


@pytest.mark.parametrize("name", RATINGS)
def test_parts_of_the_ratings_in_any_order_give_the_same_bits(name):
    rating = RATINGS[name].astype(np.float32)
    low = float(rating.min())
    whole = RatingCounts.of(rating, low)
    shuffled = RNG.permutation(rating)
    parts = [RatingCounts.of(part, low) for part in np.split(shuffled, [0, 3, len(rating) // 2])]
    merged = RatingCounts.merge([parts[2], *parts[:2], parts[3]], low)
    np.testing.assert_array_equal(merged.rating, whole.rating)
    np.testing.assert_array_equal(merged.count, whole.count)
    assert merged.moments() == whole.moments() and len(whole.rating) < 40_000


LEVELS = {"stars": 10, "two": 2, "percent": 20, "a thousand": 20, "far from zero": 20, "all equal": 1}


@pytest.mark.parametrize("name", LEVELS)
def test_levels_are_the_ratings_up_to_64_and_groups_of_equal_size_above(name):
    rating = RATINGS[name].astype(np.float32)
    centers = np.array(levels(RatingCounts.of(rating, float(rating.min())), (rating.min(), rating.max())))
    assert len(centers) == LEVELS[name]
    if len(np.unique(rating)) <= 64:
        np.testing.assert_array_equal(centers, np.unique(rating))
        return
    nearest = np.abs(rating[:, None] - centers).argmin(1)
    share = np.bincount(nearest, minlength=len(centers)) / len(rating)
    assert 0.01 < share.min() and share.max() < 0.12, share


def test_levels_of_heavy_tailed_counts_spread_over_the_small_ones():
    rating = RATINGS["plays"].astype(np.float32)
    centers = levels(RatingCounts.of(rating, 1.0), (1.0, float(rating.max())))
    assert 15 <= len(centers) <= 20 and centers[len(centers) // 2] < 100 < rating.max() / 100


def test_without_ratings_the_unit_is_one_and_the_levels_are_the_scale():
    nothing = RatingCounts.of(np.zeros(0, np.float32), 1.0)
    assert nothing.moments() == (0.0, 1.0) and levels(nothing, (1.0, 5.0)) == [1.0, 5.0]
