"""Rows of movies without ratings, against kernel ridge regressions in NumPy that leave out one movie at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.data.features.node_features import FeatureGroup
from gnnrec.distributed.world import World
from gnnrec.models import cold_rows
from gnnrec.models.cold_rows import L2_GRID, WIDTH, ColdRows

SCHEMA = (FeatureGroup("year", "number", 0, 1), FeatureGroup("title", "text", 1, 3))
MOVIES, RATED = 40, 30


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    distance = ((one[:, None] - other[None]) ** 2).sum(2)
    return np.exp(-distance / 2) + one @ other.T + 1


def dual_ridge(x: np.ndarray, y: np.ndarray, weight: np.ndarray, l2: float, asked: np.ndarray) -> np.ndarray:
    return kernel(asked, x) @ np.linalg.solve(kernel(x, x) + l2 * np.diag(1 / weight), y)


@pytest.mark.parametrize(("power", "noise"), [(0.0, 0.1), (0.5, 3.0)])
def test_rows_are_those_of_a_kernel_ridge_whose_l2_is_the_best_for_movies_that_are_left_out(power, noise, monkeypatch):
    monkeypatch.setattr(cold_rows, "_SMALLEST", 1e-10)
    random = np.random.default_rng(3)
    x = random.normal(size=(MOVIES, 4)) * [2.0, 0.5, 5.0, 1.0]
    ratings = np.where(np.arange(MOVIES) < RATED, random.integers(1, 50, MOVIES), 0)
    rows = np.stack([np.sin(x[:, 0]), x[:, 1], x @ random.normal(size=4)], 1) + noise * random.normal(size=(MOVIES, 3))
    users = random.normal(size=(7, 2))
    known, weight = np.flatnonzero(ratings), ratings[ratings > 0] ** power
    weight = weight / weight.mean()
    mean_squares = (x[known] ** 2).mean(0)
    scale = np.repeat(np.sqrt([1 / 1.1 / mean_squares[0], 0.1 / 1.1 / mean_squares[1:].sum()]), (1, 3)) / WIDTH
    scaled = x * scale
    errors = []
    for l2 in L2_GRID:
        total = 0.0
        for number, movie in enumerate(known):
            rest, own = np.delete(known, number), np.delete(weight, number)
            predicted = dual_ridge(scaled[rest], rows[rest], own, l2, scaled[movie : movie + 1])[0]
            total += weight[number] * ((users @ (predicted - rows[movie])[1:]) ** 2).sum()
        errors.append(total)
    best = L2_GRID[int(np.argmin(errors))]
    assert best != L2_GRID[-1] if noise < 1 else best > L2_GRID[0]

    fitted = ColdRows(4, SCHEMA, MOVIES, 3)
    products = torch.from_numpy(users.T @ users)
    values = [torch.from_numpy(array) for array in (x, rows, ratings)]
    for _ in range(2):  # the second call takes what the first one has computed
        fitted.fit(*values, products, World(), power, slice(1, None))
        expected = dual_ridge(scaled[known], rows[known], weight, best, scaled)
        np.testing.assert_allclose(fitted(values[0]).numpy(), expected, atol=1e-6)


def test_few_landmarks_are_nearly_as_good(monkeypatch):
    random = np.random.default_rng(4)
    x = random.normal(size=(300, 4))
    rows = np.stack([np.sin(2 * x[:, 0]), x[:, 1]], 1)
    values = torch.from_numpy(x), torch.from_numpy(rows), torch.from_numpy(np.repeat([5, 0], (250, 50)))
    wrong = []
    for landmarks in (1000, 60):
        monkeypatch.setattr(cold_rows, "LANDMARKS", landmarks)
        fitted = ColdRows(4, SCHEMA, 300, 2)
        fitted.fit(*values, torch.eye(2), World())
        wrong.append(np.square(fitted(values[0][250:]).numpy() - rows[250:]).mean() / rows.var())
    assert wrong[0] < 0.1 and wrong[1] < wrong[0] + 0.05
