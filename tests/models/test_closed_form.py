"""Gram matrices and the closed form against dense formulas and least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.interactions import read_interactions
from gnnrec.graph.partition import partition
from gnnrec.models import gram as gram_module
from gnnrec.models.closed_form import MOST_MOVIES, item_weights, require_few_movies
from gnnrec.models.gram import weighted_gram
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

RELEVANT = 3.5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("gram"))


def dense(dataset: PreparedDataset) -> np.ndarray:
    """Builds ``X`` from single ratings."""
    table = np.zeros((dataset.num_users, dataset.num_movies))
    for user in range(dataset.num_users):
        for edge in range(dataset.user_ptr[user], dataset.user_ptr[user + 1]):
            if dataset.split[edge] == TRAIN and dataset.rating[edge] >= RELEVANT:
                table[user, dataset.movie[edge]] = 1
    return table


def gram_on_ranks(world: World, directory: str, weighted: bool, float64_movies: int) -> torch.Tensor:
    gram_module.BLOCK = 100  # three movies at a time
    gram_module.FLOAT64_MOVIES = float64_movies
    data = PreparedDataset(directory)
    part = partition(data.manifest.shards, world.rank, world.size)
    chosen = read_interactions(data, part, (TRAIN,), RELEVANT, world.device)
    weight = 1 / (1 + torch.arange(part.start, part.stop)) if weighted else None
    return weighted_gram(chosen, data.num_movies, weight, world)


@pytest.fixture
def settings(monkeypatch):
    """Restores the constants that :func:`gram_on_ranks` changes in this process."""
    monkeypatch.setattr(gram_module, "BLOCK", gram_module.BLOCK)
    monkeypatch.setattr(gram_module, "FLOAT64_MOVIES", gram_module.FLOAT64_MOVIES)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gram_equals_that_of_the_dense_matrix(dataset, settings, ranks, weighted, dtype):
    rated = dense(dataset)
    weight = 1 / (1 + np.arange(dataset.num_users)) if weighted else np.ones(dataset.num_users)
    expected = torch.tensor(rated.T @ (weight[:, None] * rated), dtype=dtype)
    assert expected.count_nonzero() > 100
    most = dataset.num_movies if dtype == torch.float64 else dataset.num_movies - 1
    for actual in run_on_ranks(ranks, gram_on_ranks, str(dataset.directory), weighted, most):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("unrated", [[], [0, 5, 6, 28]])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_item_weights_equal_the_dense_formula(dataset, dtype, tolerance, unrated):
    rated = dense(dataset)
    rated[:, unrated] = 0
    gram = rated.T @ rated
    penalty = np.linspace(1, 50, dataset.num_movies)
    inverse = np.linalg.inv(gram + np.diag(penalty))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    actual = item_weights(torch.tensor(gram, dtype=dtype), torch.tensor(penalty))
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=tolerance)


def test_item_weights_solve_a_ridge_regression_of_each_movie_on_the_others(dataset):
    rated = dense(dataset)
    penalty = np.linspace(1, 50, dataset.num_movies)
    actual = item_weights(torch.tensor(rated.T @ rated), torch.tensor(penalty)).numpy()
    for movie in (0, 7, 20):
        others = np.delete(np.arange(dataset.num_movies), movie)
        rows = np.concatenate([rated[:, others], np.diag(np.sqrt(penalty[others]))])
        wanted = np.concatenate([rated[:, movie], np.zeros(len(others))])
        expected = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        np.testing.assert_allclose(actual[others, movie], expected, atol=1e-10)
        assert actual[movie, movie] == 0


def test_errors_name_the_option_and_the_limit():
    with pytest.raises(UserError, match="with this L2 penalty: choose a larger one"):
        item_weights(torch.ones(3, 3), torch.zeros(3))
    require_few_movies(MOST_MOVIES, "--some.option", "do without")
    with pytest.raises(UserError, match=r"--some.option: .* 40 GB for 100,000 movies.* 40,000 movies: do without"):
        require_few_movies(100_000, "--some.option", "do without")
