"""Weights of ratings by counts: Gram matrices and closed forms against dense weighted least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.interactions import count_confidence, read_interactions, require_counts
from gnnrec.graph.partition import partition
from gnnrec.models.closed_form import item_weights
from gnnrec.models.closed_form_start import item_model
from gnnrec.models.gram import sparse_matrix, weighted_gram
from gnnrec.training.ranking.training_data import ranking_data
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

ALPHA, USER_POWER = 1.5, -0.5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("counts"))


def dense(dataset: PreparedDataset) -> np.ndarray:
    """Builds the weighted ``X`` from single ratings."""
    table = np.zeros((dataset.num_users, dataset.num_movies))
    for user in range(dataset.num_users):
        for edge in range(dataset.user_ptr[user], dataset.user_ptr[user + 1]):
            if dataset.split[edge] == TRAIN:
                table[user, dataset.movie[edge]] = 1 + ALPHA * np.log(1 + float(dataset.rating[edge]))
    return table


def user_weights(table: np.ndarray) -> np.ndarray:
    count = (table > 0).sum(1)
    return np.where(count > 0, (np.maximum(count, 1) / count[count > 0].mean()) ** USER_POWER, 0)


def on_ranks(world: World, directory: str) -> tuple[torch.Tensor, torch.Tensor]:
    data = PreparedDataset(directory)
    part = partition(data.manifest.shards, world.rank, world.size)
    liked = read_interactions(data, part, (TRAIN,), None, world.device, confidence=ALPHA)
    training = ranking_data(liked, data.num_movies, USER_POWER, world)
    return weighted_gram(liked, data.num_movies, training.user_weight, world), training.weighted_popularity(world)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 3])
def test_gram_and_popularity_are_those_of_the_dense_matrix(dataset, ranks):
    table = dense(dataset)
    expected = torch.from_numpy(table.T @ (user_weights(table)[:, None] * table))
    for gram, popularity in run_on_ranks(ranks, on_ranks, str(dataset.directory)):
        torch.testing.assert_close(gram, expected, rtol=1e-6, atol=1e-6)  # user weights are float32
        torch.testing.assert_close(popularity, expected.diagonal(), rtol=1e-6, atol=1e-6)


def test_the_closed_form_solves_a_weighted_ridge_regression_of_each_movie(dataset):
    table = dense(dataset)
    weight = np.sqrt(user_weights(table))[:, None]
    gram, _ = on_ranks(World(), str(dataset.directory))
    penalty = np.linspace(1, 50, dataset.num_movies)
    actual = item_weights(gram, torch.from_numpy(penalty)).numpy()
    for movie in (0, 7, 20):
        others = np.delete(np.arange(dataset.num_movies), movie)
        rows = np.concatenate([weight * table[:, others], np.diag(np.sqrt(penalty[others]))])
        wanted = np.concatenate([weight[:, 0] * table[:, movie], np.zeros(len(others))])
        expected = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        np.testing.assert_allclose(actual[others, movie], expected, atol=1e-6)


def test_start_tables_of_full_rank_give_the_scores_of_the_weights(dataset):
    table = dense(dataset)
    gram, _ = on_ranks(World(), str(dataset.directory))
    model = item_model(gram, 30.0)
    source, target = model.tables(dataset.num_movies)
    rated = table[:, model.rated]
    np.testing.assert_allclose(
        (table @ source.numpy() @ target.numpy().T)[:, model.rated], rated @ model.weights.numpy(), atol=1e-6
    )


def test_sums_and_matrices_of_single_users_are_weighted(dataset):
    part = partition(dataset.manifest.shards, 0, 1)
    liked = read_interactions(dataset, part, (TRAIN,), None, torch.device("cpu"), confidence=ALPHA)
    np.testing.assert_allclose(sparse_matrix(liked, dataset.num_movies).toarray(), dense(dataset), rtol=1e-6)
    rows = torch.randn(dataset.num_movies, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    np.testing.assert_allclose(liked.sums(rows).numpy(), dense(dataset) @ rows.numpy(), rtol=1e-6, atol=1e-9)


def test_without_a_strength_there_are_no_weights(dataset):
    part = partition(dataset.manifest.shards, 0, 1)
    assert read_interactions(dataset, part, (TRAIN,), None, torch.device("cpu")).weight is None
    assert count_confidence(torch.ones(3), 0.0) is None


def test_ratings_below_zero_are_no_counts(dataset, monkeypatch):
    require_counts(dataset, 1.0)
    monkeypatch.setitem(dataset.manifest.rating, "min", -2.0)
    require_counts(dataset, 0.0)
    with pytest.raises(UserError, match="--ranking.count-confidence 1 .* ratings down to -2: leave the option out"):
        require_counts(dataset, 1.0)
