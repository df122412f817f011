"""Settings of the closed form are the best ones on train users that are held out inside, against NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gnnrec.data.prepared import TEST, TEST_INPUT, TRAIN, UNUSED, VALIDATION, VALIDATION_INPUT, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.partition import partition
from gnnrec.kernels.ragged import owners
from gnnrec.training.ranking import closed_form_start, held_out_users
from gnnrec.training.ranking.closed_form_start import L2_GRID, POPULARITY_EXPONENTS
from gnnrec.training.ranking.held_out_users import InnerSplit, hold_out_users
from gnnrec.training.ranking.trainer import RankingTrainer
from gnnrec.training.ranking.training_data import read_likes
from tests.configs import make_config
from tests.datasets import changed_copy, write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.training.ranking.dense_model import item_weights, likes_and_weak, ndcg, scores

USERS, MOVIES, RELEVANT, SEED = 150, 40, 3.5, 5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    options = {"protocol": "strong", "test": 0.2, "validation": 0.2, "relevant": RELEVANT, "shards": 7}
    return write_dataset(tmp_path_factory.mktemp("choice"), USERS, MOVIES, 2800, **options)


def inner_split(world: World, directory: str, movies: int | None = None) -> InnerSplit:
    dataset = PreparedDataset(directory)
    part = partition(dataset.manifest.shards, world.rank, world.size)
    liked, weak = read_likes(dataset, part, RELEVANT, False, world)
    return hold_out_users(liked, weak, MOVIES, -0.5, world, SEED, part.start)


def edges(world: World, directory: str) -> dict[str, torch.Tensor]:
    """Edge ids of each part, which do not depend on the ranks, and the popularity of all of them."""
    inner = inner_split(world, directory)
    held_out, training = inner.held_out, inner.training
    parts = {"shown": held_out.shown, "targets": held_out.targets, "likes": training.liked, "weak": training.weak}
    return {name: part.edge_id for name, part in parts.items()} | {"popularity": training.popularity}


def test_a_fifth_of_the_train_users_is_held_out_and_the_same_on_any_number_of_ranks(dataset):
    one = edges(World(), str(dataset.directory))
    user = np.repeat(np.arange(USERS), np.diff(dataset.user_ptr))
    users = {name: set(user[one[name].numpy()]) for name in ("shown", "targets", "likes", "weak")}
    train_users = set(user[np.asarray(dataset.split) == TRAIN])
    assert users["targets"] <= users["shown"] and users["weak"] <= users["likes"]
    assert not users["likes"] & users["shown"] and users["likes"] | users["shown"] == train_users
    assert 0.1 < len(users["shown"]) / len(train_users) < 0.3
    share = len(one["targets"]) / (len(one["targets"]) + len(one["shown"]))
    assert 0.1 < share < 0.3 and not set(one["targets"].tolist()) & set(one["shown"].tolist())
    assert all((np.asarray(dataset.split)[one[name].numpy()] == TRAIN).all() for name in ("shown", "targets", "likes"))
    many = run_on_ranks(3, edges, str(dataset.directory))
    for name in ("shown", "targets", "likes", "weak"):
        assert torch.equal(torch.cat([rank[name] for rank in many]), one[name])
    assert all(torch.equal(rank["popularity"], one["popularity"]) for rank in many)


def test_the_choice_is_made_with_the_most_liked_movies(dataset, monkeypatch):
    whole = inner_split(World(), str(dataset.directory))
    monkeypatch.setattr(held_out_users, "CHOICE_MOVIES", 10)
    few = inner_split(World(), str(dataset.directory))
    assert few.held_out.num_movies == few.training.num_movies == 10
    largest = whole.training.popularity.sort(descending=True).values[:10]
    assert torch.equal(few.training.popularity.sort(descending=True).values, largest)


def dense_loss(dataset: PreparedDataset, l2: float, exponent: float, weak_weight: float) -> float:
    """Minus NDCG@100 of the inner users by NumPy."""
    inner = inner_split(World(), str(dataset.directory))
    names = np.asarray(dataset.movie)

    def matrix(part) -> np.ndarray:
        values = np.zeros((USERS, MOVIES))
        values[owners(part.user_ptr).numpy(), names[part.edge_id.numpy()]] = 1
        return values

    likes, weak = matrix(inner.training.liked), matrix(inner.training.weak)
    shown, wanted = matrix(inner.held_out.shown), matrix(inner.held_out.targets)
    weights = item_weights(likes, weak, l2, weak_weight)
    return -ndcg(scores(likes, weights, shown, exponent), shown, wanted, likes.sum(0) > 0)


def around(values: tuple[float, ...], best: float) -> tuple[float, ...]:
    place = values.index(best)
    return values[max(place - 1, 0) : place + 2]


@pytest.mark.parametrize("refit", [False, True])
def test_the_chosen_settings_are_no_worse_than_their_neighbors_on_the_inner_users(dataset, refit):
    ranking = {"dim": MOVIES, "num_factors": MOVIES}
    config = make_config(objective="ranking", optimizer={}, ranking=ranking, seed=SEED, refit=refit)
    chosen = RankingTrainer(config, dataset, World()).chosen()
    l2, exponent, weak = (chosen[name] for name in ("l2", "popularity_exponent", "weak_weight"))
    best = dense_loss(dataset, l2, exponent, weak)
    for other in around(POPULARITY_EXPONENTS, exponent):
        assert dense_loss(dataset, l2, other, weak) >= best - 1e-6
    for other in around(L2_GRID, l2):
        losses = [dense_loss(dataset, other, value, weak) for value in POPULARITY_EXPONENTS]
        assert min(losses) >= best - 2e-3  # the exponent is chosen downhill too


@pytest.mark.parametrize(("noise", "weak_weight"), [(-1e9, 0.0), (1e9, 0.3)])
def test_weak_likes_are_left_out_where_that_gains_more_than_noise(dataset, monkeypatch, noise, weak_weight):
    monkeypatch.setattr(closed_form_start, "NOISE", noise)
    ranking = {"dim": 8, "num_factors": 8, "l2": 100.0}
    config = make_config(objective="ranking", optimizer={}, ranking=ranking)
    assert RankingTrainer(config, dataset, World()).chosen()["weak_weight"] == weak_weight
    given = dataclasses.replace(config, ranking=dataclasses.replace(config.ranking, weak_weight=0.1))
    assert RankingTrainer(given, dataset, World()).chosen()["weak_weight"] == 0.1


def test_the_start_is_the_closed_form_with_weak_likes_of_all_train_users(dataset):
    ranking = {"dim": MOVIES, "num_factors": MOVIES, "l2": 50.0, "weak_weight": 0.4}
    config = make_config(objective="ranking", optimizer={}, ranking=ranking)
    trainer = RankingTrainer(config, dataset, World())
    likes, weak = likes_and_weak(dataset, (TRAIN,), (UNUSED,), RELEVANT)
    assert 0 < weak.sum() < likes.sum()
    expected = likes @ item_weights(likes, weak, 50.0, 0.4)
    found = (trainer.replicated.message_embedding @ trainer.replicated.target.T).detach().numpy()
    # The tables keep what the scores of train users need.
    np.testing.assert_allclose(likes @ found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("protocol", "splits"), [("strong", (UNUSED,)), ("random", (TRAIN,)), ("global-time", (TRAIN,)), ("leave-last", ())]
)
def test_weak_likes_are_low_train_ratings_of_users_with_likes(tmp_path, protocol, splits):
    options = {"relevant": RELEVANT} if protocol in ("strong", "leave-last") else {}
    data = write_dataset(tmp_path, 60, 30, 900, protocol=protocol, shards=3, **options)
    liked, weak = read_likes(data, partition(data.manifest.shards, 0, 1), RELEVANT, False, World())
    likes, expected = likes_and_weak(data, (TRAIN,), splits, RELEVANT)
    assert liked.num_edges == likes.sum()
    if not splits:
        assert weak is None
        return
    found = np.zeros_like(expected)
    found[owners(weak.user_ptr).numpy(), weak.movie.numpy()] = 1
    assert np.array_equal(found, expected) and expected.any()


def test_low_ratings_of_held_out_users_change_nothing(dataset, tmp_path):
    split, rating = np.asarray(dataset.split), np.array(dataset.rating)
    user = np.repeat(np.arange(USERS), np.diff(dataset.user_ptr))
    held_out = np.isin(user, user[np.isin(split, (TEST, TEST_INPUT, VALIDATION, VALIDATION_INPUT))])
    rating[held_out & (split == UNUSED)] = 0.5
    others = changed_copy(dataset, tmp_path / "others", rating=rating)
    config = make_config(objective="ranking", optimizer={}, ranking={"dim": 8, "weak_weight": 0.5})
    first, second = (RankingTrainer(config, data, World()) for data in (dataset, others))
    assert first.chosen() == second.chosen()
    assert torch.equal(first.replicated.message_embedding, second.replicated.message_embedding)
