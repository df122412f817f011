"""Movies without training ratings in ranking models have rows from their features, whatever the number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.data.prepared import TEST, TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.inference.evaluate import EvaluateOptions, evaluate
from gnnrec.inference.load import load_run
from gnnrec.training.ranking.trainer import RankingTrainer
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import changed_copy, with_features, write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.steps import batches_of

GROUPS = 4


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> PreparedDataset:
    """Users who like every movie of one group, of which a tenth of the movies is held out."""
    options = {"users": 120, "movies": 80, "ratings": 3000, "test": 0.2, "validation": 0.1}
    dataset = write_dataset(tmp_path_factory.mktemp("taste"), protocol="cold-movies", **options)
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    liked = user % GROUPS == np.array(dataset.movie) % GROUPS
    return changed_copy(dataset, dataset.directory.parent / "liked", rating=np.where(liked, 5.0, 1.0))


@pytest.fixture(scope="module")
def dataset(plain) -> PreparedDataset:
    group = np.arange(plain.num_movies) % GROUPS
    noise = 0.1 * np.random.default_rng(2).normal(size=(plain.num_movies, GROUPS))
    return with_features(plain, plain.directory.parent / "features", movie=np.eye(GROUPS)[group] + noise)


def config_of(dataset, run="unused", ranking: dict | None = None, **options):
    ranking = {"dim": 12, "users_a_step": 50, "relevant": 4.0} | (ranking or {})
    optimizer = {"epochs": 1, "lr": None, "warmup_steps": None}
    return make_config(dataset.directory, run, objective="ranking", ranking=ranking, optimizer=optimizer, **options)


def cold_of(dataset: PreparedDataset) -> np.ndarray:
    trained = np.array(dataset.movie)[np.array(dataset.split) == TRAIN]
    return ~np.isin(np.arange(dataset.num_movies), trained)


@pytest.mark.slow
def test_lists_of_cold_movies_are_those_that_features_tell(plain, dataset, tmp_path):
    summaries = [train(config_of(data, tmp_path / name), World()) for name, data in (("x", dataset), ("no", plain))]
    found, random = (summary["test_ndcg@20"] for summary in summaries)
    run = load_run(tmp_path / "x", World())
    taste = torch.arange(dataset.num_users)[:, None] % GROUPS == torch.arange(dataset.num_movies) % GROUPS
    best = run.held_out(TEST).rank_users(lambda users: taste[users].double()).ndcg_at_20
    assert found - random > 0.9 * (best - random) > 0.1
    cold = cold_of(dataset)
    vectors = run.embed().movie
    assert vectors[torch.from_numpy(cold)].any(1).all()
    x = torch.from_numpy(np.array(dataset.features("movie").x))
    torch.testing.assert_close(run.model.new_movie_vectors(x[cold]), vectors[torch.from_numpy(cold)])
    measured = evaluate(tmp_path / "x", EvaluateOptions(), World())["test"][0]
    assert measured.ndcg_at_20 == pytest.approx(found, rel=1e-6)
    assert run.held_out(TEST).cold


FIXED = {"l2": 30.0, "num_factors": 12, "popularity_exponent": 0.2, "weak_weight": 0.3}


@pytest.mark.parametrize("loss", ["squared", "softmax"])
def test_rows_of_other_movies_are_trained_as_without_features(plain, dataset, loss):
    """Bit for bit with the squared loss; others have cold movies as negatives, of which features spare the rows."""
    rows = []
    for data in (dataset, plain):
        trainer = RankingTrainer(config_of(data, ranking=FIXED | {"loss": loss}), data, World())
        for step, batch in batches_of(trainer, 0):
            trainer.forward_backward(step, batch)
            trainer.optimizer_step()
        trainer.validate()
        rows.append((trainer.replicated.message_embedding, trainer.replicated.target))
    cold = cold_of(dataset)
    for own, other in zip(*rows):
        assert not own[cold].any() and own[~cold].any()
        if loss == "squared":
            assert torch.equal(own[~cold], other[~cold])
    assert loss == "squared" or rows[1][1][cold].any()


def vectors_on_ranks(world: World, directory: str) -> list[torch.Tensor]:
    dataset = PreparedDataset(directory)
    trainer = RankingTrainer(config_of(dataset, ranking=FIXED), dataset, world)
    for step, batch in batches_of(trainer, 0):
        trainer.forward_backward(step, batch)
        trainer.optimizer_step()
    ndcg = trainer.validate().ndcg_at_20
    return [trainer.replicated.message_rows(), trainer.replicated.movie_vectors(), torch.tensor(ndcg)]


@pytest.mark.slow
@pytest.mark.processes
def test_three_ranks_have_the_same_rows(dataset):
    expected = vectors_on_ranks(World(), str(dataset.directory))
    for actual in run_on_ranks(3, vectors_on_ranks, str(dataset.directory)):
        for own, other in zip(actual, expected):
            torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4)
