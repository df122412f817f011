"""Lists that bounds of scores find, next to lists of all scores."""

from __future__ import annotations

import numpy as np
import pytest

from gnnrec.inference.list_order import list_order
from gnnrec.inference.movie_ranker import MovieRanker
from gnnrec.inference.score_bounds import ScoreBounds, highest
from gnnrec.inference.scoring import Scoring
from gnnrec.inference.vector_source import UserBlock


def _made(movies: int, dim: int, decay: float, seed: int = 0, interest: int = 0) -> tuple[Scoring, np.ndarray]:
    """Movies whose columns fall in size, some of them equal or zero, and users."""
    rng = np.random.default_rng(seed)
    sizes = ((np.arange(dim) + 1.0) ** -decay).astype(np.float32)
    table = rng.standard_normal((movies, dim)).astype(np.float32) * sizes
    table[::7], table[1::11] = table[0], 0
    scale = None if interest else (0.5, 5.0)
    scoring = Scoring(table, rng.normal(0, 0.3, movies).astype(np.float32), 3.5, scale, {}, interest)
    return scoring, rng.standard_normal((20, dim)).astype(np.float32)


@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("columns", [1, 4, 15])
def test_no_score_is_above_its_bound(decay: float, columns: int) -> None:
    scoring, users = _made(500, 16, decay)
    bounds = _with_columns(scoring, columns)
    for user in users:
        exact = scoring.movies.astype(np.float64) @ user + scoring.bias
        upper, error = bounds.upper(user)
        assert (exact - upper).max() <= error < 1e-3 * np.abs(exact).max()


def _with_columns(scoring: Scoring, columns: int) -> ScoreBounds:
    """Bounds with a number of columns, in any basis."""
    dim = scoring.movies.shape[1]
    turn = np.eye(dim) + np.random.default_rng(3).normal(0, 0.1, (dim, dim))
    turned = scoring.movies @ np.linalg.inv(turn).T
    rest = np.linalg.norm(turned[:, columns:], axis=1)
    return ScoreBounds(turn, np.vstack([turned[:, :columns].T, rest, scoring.bias]).astype(np.float32))


def test_fitted_bounds_hold_too() -> None:
    scoring, users = _made(5000, 48, 1.5)
    many = np.random.default_rng(2).standard_normal((500, 48)).astype(np.float32)
    many[:, 24:] = 0  # no user has these columns
    bounds = ScoreBounds.fitted(scoring.movies, scoring.bias, many, many[:20], 20)
    assert bounds is not None
    for user in [*many[:20], *users]:
        exact = scoring.movies.astype(np.float64) @ user + scoring.bias
        upper, error = bounds.upper(user)
        assert (exact - upper).max() <= error < 1e-2 * np.abs(exact).max()


@pytest.mark.parametrize("movies, dim, decay", [(3000, 16, 1.0), (3000, 16, 0.0), (90, 8, 1.0), (5, 4, 1.0)])
@pytest.mark.parametrize("top", [1, 20, 200])
def test_lists_are_those_of_all_scores_bit_for_bit(movies: int, dim: int, decay: float, top: int) -> None:
    scoring, users = _made(movies, dim, decay)
    order, rng = list_order(scoring, None), np.random.default_rng(1)
    plain, bounded = MovieRanker(order), MovieRanker(order, _with_columns(scoring, max(1, dim // 4)))
    some = [np.ones(movies, bool), rng.random(movies) < 0.5, rng.random(movies) < 0.02, np.zeros(movies, bool)]
    left_out = [np.empty(0, np.int64), np.sort(rng.choice(movies, movies // 2, replace=False)), np.arange(movies)]
    for user in users:
        block = UserBlock(None, user[None], np.float32([0.25]))
        for candidates in some + left_out:
            expected, found = plain.lists(block, candidates, top), bounded.lists(block, candidates, top)
            assert [values.tobytes() for values in expected[:2]] == [values.tobytes() for values in found[:2]]
            assert found[2] is None


def test_equal_scores_go_by_row() -> None:
    scoring = Scoring(np.ones((1000, 4), np.float32), np.zeros(1000, np.float32), 0.0, None, {})
    ranker = MovieRanker(list_order(scoring, None), _with_columns(scoring, 1))
    _, rows, _ = ranker.lists(UserBlock(None, np.ones((1, 4), np.float32), np.zeros(1, np.float32)), np.arange(3), 5)
    assert rows.tolist() == [[3, 4, 5, 6, 7]]


def test_bounds_are_chosen_where_a_few_columns_have_most_of_the_length() -> None:
    scoring, users = _made(20_000, 64, 1.5)
    bounds = ScoreBounds.fitted(scoring.movies, scoring.bias, users, users, 20)
    assert bounds is not None and len(bounds.table) <= 16
    near = [(bounds.upper(user)[0] >= np.sort(scoring.movies @ user + scoring.bias)[-20]).sum() for user in users]
    assert max(near) < 20_000 / 4


def test_no_bounds_are_chosen_where_all_columns_matter() -> None:
    rng = np.random.default_rng(0)
    movies = rng.standard_normal((5000, 32)).astype(np.float32)
    users = rng.standard_normal((20, 32)).astype(np.float32)
    assert ScoreBounds.fitted(movies, np.zeros(5000, np.float32), users, users, 20) is None
    assert ScoreBounds.fitted(movies[:10], np.zeros(10, np.float32), users, users, 20) is None
    assert ScoreBounds.fitted(movies, np.zeros(5000, np.float32), users, users[:0], 20) is None


@pytest.mark.parametrize("count", [1, 5, 100, 999, 1000])
@pytest.mark.parametrize("size", [1000, 1023, 40])
def test_the_highest_values_are_found(size: int, count: int) -> None:
    values = np.random.default_rng(count).standard_normal(size).astype(np.float32)
    values[size // 3 :: 2] = -np.inf
    finite = np.sort(values[values > -np.inf])[::-1]
    found = highest(values, count)
    assert len(found) >= min(count, len(finite))
    assert set(finite[:count].tolist()) <= set(values[found].tolist())
    assert (np.diff(found) > 0).all() and (values[found] > -np.inf).all()


def test_all_movies_are_scored_where_bounds_say_little() -> None:
    scoring, users = _made(3000, 16, 0.0)
    bounds, order = _with_columns(scoring, 1), list_order(scoring, None)
    ranker, plain = MovieRanker(order, bounds), MovieRanker(order)
    for user in users:
        block = UserBlock(None, user[None], np.float32([0.25]))
        assert ranker._within_bounds(bounds, block, np.arange(3), 20) is None
        found, expected = ranker.lists(block, np.arange(3), 20), plain.lists(block, np.arange(3), 20)
        assert [values.tobytes() for values in expected[:2]] == [values.tobytes() for values in found[:2]]
