"""Interest of a rating run and the measures of its lists, against dense computations by NumPy."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from gnnrec import rng
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation import lists
from gnnrec.graph.interactions import read_interactions
from gnnrec.graph.partition import partition
from gnnrec.inference.load import load_run
from gnnrec.models.interest_options import RATING_WEIGHTS
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from gnnrec.training.checkpoint.read import find_damage
from gnnrec.training.interest import L2_GRID
from gnnrec.training.ranking.closed_form_start import NOISE
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import changed_copy, write_dataset
from tests.distributed.ranks import run_on_ranks

USERS, MOVIES, FACTORS = 61, 47, 12
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("interest"), USERS, MOVIES, 1300, validation=0.2, shards=7)


def config_of(dataset: PreparedDataset, run: Path, interest: dict | None = None, **options):
    return make_config(dataset.directory, run, interest=interest or {}, optimizer={"lr": 0.05}, **options)


@pytest.fixture(scope="module", params=["dot", "mlp"])
def run(request, dataset, tmp_path_factory) -> tuple[Path, dict]:
    place = tmp_path_factory.mktemp("runs") / request.param
    model = {"head": request.param, "head_dim": 5}
    config = config_of(dataset, place, {"num_factors": FACTORS}, model=model, baselines=True)
    return place, train(config, World())


def matrix(dataset: PreparedDataset, splits: tuple[int, ...], lowest: float = 0.0) -> np.ndarray:
    """Whether a user has rated a movie in some splits, bool ``[users, movies]``."""
    rated = np.zeros((dataset.num_users, dataset.num_movies), bool)
    chosen = np.isin(dataset.split, splits) & (np.array(dataset.rating) >= lowest)
    rated[np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))[chosen], dataset.movie[chosen]] = True
    return rated


def dense_ease(rated: np.ndarray, l2: float) -> np.ndarray:
    """Scores of EASE by its closed form; movies without ratings have zeros."""
    x = rated.astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + l2 * np.eye(x.shape[1]))
    weights = np.eye(x.shape[1]) - inverse / np.diag(inverse)
    return x @ weights


def z_scores(scores: np.ndarray, factors: int) -> np.ndarray:
    left, values, right = np.linalg.svd(scores, full_matrices=False)
    scores = (left[:, :factors] * values[:factors]) @ right[:factors]
    deviation = scores.std(1, keepdims=True)
    return (scores - scores.mean(1, keepdims=True)) / np.where(deviation > 0, deviation, 1)


def predicted(run: Path) -> np.ndarray:
    """Standardized predicted ratings of all pairs by the model."""
    loaded = load_run(run, World())
    with torch.no_grad():
        return loaded.model.score_all(loaded.embed(), torch.arange(loaded.dataset.num_users)).double().numpy()


def ndcg(scores: np.ndarray, seen: np.ndarray, wanted: np.ndarray, k: int) -> float:
    values = []
    for user in np.flatnonzero(wanted.any(1)):
        order = np.argsort(np.where(seen[user], np.inf, -scores[user]), kind="stable")[:k]
        gains = 1 / np.log2(np.arange(2, k + 2))
        values.append((wanted[user, order] * gains[: len(order)]).sum() / gains[: wanted[user].sum()].sum())
    return float(np.mean(values))


def test_interest_is_ease_on_all_train_ratings(dataset, run):
    place, summary = run
    loaded = load_run(place, World())
    assert loaded.interest.dim == summary["chosen"]["interest_factors"] == FACTORS
    expected = z_scores(dense_ease(matrix(dataset, (TRAIN,)), loaded.interest.l2), FACTORS)
    shown = read_interactions(dataset, loaded.part, (TRAIN,), None, CPU)
    np.testing.assert_allclose(loaded.interest.scores(shown).numpy(), expected, atol=1e-4)


def test_l2_and_factors_are_the_best_on_held_out_train_ratings(dataset, tmp_path):
    """Each beats its neighbors; fewer factors than all must gain a standard error."""
    chosen = train(config_of(dataset, tmp_path / "run", {"dim": 32}, max_steps=1), World())["chosen"]
    train_ratings = read_interactions(dataset, partition(dataset.manifest.shards, 0, 1), (TRAIN,), None, CPU)
    drawn = (rng.uniform(rng.key(0, "interest"), train_ratings.edge_id) < 0.2).numpy()
    owner = np.repeat(np.arange(USERS), train_ratings.user_ptr.diff().numpy())
    seen, liked = np.zeros((2, USERS, MOVIES), bool)
    for rated, chosen_edges in ((seen, ~drawn), (liked, drawn)):
        rated[owner[chosen_edges], train_ratings.movie.numpy()[chosen_edges]] = True
    values = {l2: ndcg(z_scores(dense_ease(seen, l2), 32), seen, liked, 100) for l2 in L2_GRID}
    position = L2_GRID.index(chosen["interest_l2"])
    neighbors = [values[l2] for l2 in L2_GRID[max(position - 1, 0) : position + 2]]
    assert values[chosen["interest_l2"]] >= max(neighbors) - 1e-9
    scores = dense_ease(seen, chosen["interest_l2"])
    left, sizes, right = np.linalg.svd(scores, full_matrices=False)
    by_factors = {
        count: ndcg((left[:, :count] * sizes[:count]) @ right[:count], seen, liked, 100)
        for count in (1, 2, 4, 8, 16, 32)
    }
    best = max(by_factors, key=by_factors.__getitem__)
    gains = by_factors[best] - by_factors[32] > NOISE / np.sqrt(liked.any(1).sum())
    assert chosen["interest_factors"] == (best if gains else 32)


def test_the_weight_is_the_best_on_validation(dataset, run):
    place, summary = run
    chosen = summary["chosen"]
    interest = z_scores(dense_ease(matrix(dataset, (TRAIN,)), chosen["interest_l2"]), chosen["interest_factors"])
    ratings, seen, liked = predicted(place), matrix(dataset, (TRAIN,)), matrix(dataset, (VALIDATION,), 4.0)
    values = [ndcg(interest + weight * ratings, seen, liked, 100) for weight in RATING_WEIGHTS]
    position = RATING_WEIGHTS.index(chosen["rating_weight"])
    neighbors = values[max(position - 1, 0) : position + 2]
    assert values[position] >= max(neighbors) - 1e-9 and len(set(values)) > 3


def recent_popularity(dataset: PreparedDataset) -> np.ndarray:
    """Ratings of each movie in the last year of train ratings, then all of them, ``[users, movies]``."""
    train = dataset.split == TRAIN
    time, movie = np.array(dataset.timestamp)[train], np.array(dataset.movie)[train]
    recent = np.bincount(movie[time > time.max() - 365 * 86400], minlength=MOVIES)
    return np.tile(recent + np.bincount(movie, minlength=MOVIES) / 1e6, (USERS, 1))


def test_the_summary_says_what_lists_are_worth(dataset, run):
    place, summary = run
    chosen, found = summary["chosen"], summary["lists"]
    ease = dense_ease(matrix(dataset, (TRAIN,)), chosen["interest_l2"])
    scores = z_scores(ease, chosen["interest_factors"]) + chosen["rating_weight"] * predicted(place)
    seen, liked = matrix(dataset, (TRAIN, VALIDATION)), matrix(dataset, (TEST,), 4.0)
    raters = np.tile(matrix(dataset, (TRAIN,)).sum(0), (USERS, 1))
    rows = {"this model": found, **found["baselines"]}
    expected = {"this model": scores, "popularity": raters, "recent popularity": recent_popularity(dataset)}
    similarity = cosine_similarity(matrix(dataset, (TRAIN,)).T)
    np.fill_diagonal(similarity, 0)
    expected |= {"item kNN": matrix(dataset, (TRAIN,)) @ similarity, "EASE": ease}
    assert set(rows) == set(expected) and found["users"] == liked.any(1).sum()
    for name, values in expected.items():
        assert rows[name]["test_ndcg@20"] == pytest.approx(ndcg(values, seen, liked, 20), abs=1e-6), name
        tops = np.argsort(np.where(seen, np.inf, -values), kind="stable", axis=1)[:, :20]
        recalls = [liked[user, tops[user]].sum() / min(20, liked[user].sum()) for user in np.flatnonzero(liked.any(1))]
        assert rows[name]["test_recall@20"] == pytest.approx(np.mean(recalls), abs=1e-6), name
    assert summary["seconds"]["interest"] > 0


def test_an_mlp_head_ranks_only_proposed_movies(dataset, run, monkeypatch):
    """The measures of lists know that."""
    place, _ = run
    loaded = load_run(place, World())
    whole = loaded.evaluate_lists(TEST, loaded.embed())
    monkeypatch.setattr(lists, "PROPOSALS", 5)
    few = loaded.evaluate_lists(TEST, loaded.embed())
    assert (few == whole) == (loaded.config.model.head == "dot")


def test_held_out_ratings_are_not_read(dataset, tmp_path):
    """With given settings, interest is the same bit for bit if validation and test ratings are of other movies."""
    held_out = np.isin(dataset.split, (VALIDATION, TEST))
    rating = np.array(dataset.rating)
    rating[held_out] = 5.5 - rating[held_out]
    fixed = {"l2": 10.0, "num_factors": 8, "rating_weight": 0.7}
    others = changed_copy(dataset, tmp_path / "others", rating=rating)
    states = []
    for name, data in (("a", dataset), ("b", others)):
        train(config_of(data, tmp_path / name, fixed, max_steps=1), World())
        states.append(load_run(tmp_path / name, World()).interest.state())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert states[0]["l2"] == 10 and states[0]["rating_weight"] == 0.7 and states[0]["target"].shape[1] <= 8


@pytest.mark.parametrize("refit", [True, "all"])
def test_a_refit_fits_the_ratings_that_it_trains_on(dataset, tmp_path, refit):
    fixed = {"l2": 10.0, "num_factors": FACTORS}
    summary = train(config_of(dataset, tmp_path / "run", fixed, refit=refit, max_steps=1), World())
    assert summary["chosen"]["rating_weight"] == 0.8 and ("lists" in summary) == (refit is True)
    splits = (TRAIN, VALIDATION, TEST) if refit == "all" else (TRAIN, VALIDATION)
    loaded = load_run(tmp_path / "run", World())
    shown = read_interactions(dataset, loaded.part, splits, None, CPU)
    expected = z_scores(dense_ease(matrix(dataset, splits), 10.0), FACTORS)
    np.testing.assert_allclose(loaded.interest.scores(shown).numpy(), expected, atol=1e-4)


def test_of_many_movies_interest_takes_the_most_rated_ones(dataset, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        fixed = {"movies": 10, "l2": 10.0, "num_factors": FACTORS}
        summary = train(config_of(dataset, tmp_path / "run", fixed, baselines=True), World())
    assert "interest: of 47 movies the 10 most rated ones (--interest.movies)" in caplog.text
    assert summary["lists"]["order"] == "interest and rating"
    rated = matrix(dataset, (TRAIN,))
    most = np.sort(np.argsort(-rated.sum(0), kind="stable")[:10])
    scores = np.zeros(rated.shape)
    scores[:, most] = dense_ease(rated[:, most], 10.0)
    loaded = load_run(tmp_path / "run", World())
    shown = read_interactions(dataset, loaded.part, (TRAIN,), None, CPU)
    np.testing.assert_allclose(loaded.interest.scores(shown).numpy(), z_scores(scores, FACTORS), atol=1e-4)


def test_without_interest_lists_are_in_the_order_of_ratings(dataset, tmp_path):
    summary = train(config_of(dataset, tmp_path / "run", {"enabled": False}, baselines=True), World())
    assert summary["lists"]["order"] == "rating" and set(summary["lists"]["baselines"]) == {
        "popularity", "recent popularity"
    }  # fmt: skip
    assert load_run(tmp_path / "run", World()).interest is None
    seen, liked = matrix(dataset, (TRAIN, VALIDATION)), matrix(dataset, (TEST,), 4.0)
    expected = ndcg(predicted(tmp_path / "run"), seen, liked, 20)
    assert summary["lists"]["test_ndcg@20"] == pytest.approx(expected, abs=1e-6)


def test_a_run_that_was_killed_after_its_interest_is_resumed(dataset, tmp_path):
    """The checkpoint stays intact, and interest is fitted again to the same tables."""
    config = config_of(dataset, tmp_path / "run", resume="auto")
    first = train(config, World())
    directory = find_checkpoint(tmp_path / "run", "best")
    state = load_run(tmp_path / "run", World()).interest.state()
    (tmp_path / "run" / "summary.json").unlink()
    again = train(config, World())
    assert find_damage(directory, World()) is None and "interest.pt" in read_info(directory).files
    restored = load_run(tmp_path / "run", World()).interest.state()
    assert all(torch.equal(state[key], restored[key]) for key in state)
    assert again["lists"] == first["lists"] and again["chosen"] == first["chosen"]


def trained_on_ranks(world: World, data: Path, run: Path) -> dict:
    return train(config_of(PreparedDataset(data), run, {"num_factors": 6}, baselines=True), world)


@pytest.mark.slow
@pytest.mark.processes
def test_two_ranks_agree_with_one(dataset, tmp_path):
    one = run_on_ranks(1, trained_on_ranks, dataset.directory, tmp_path / "1")[0]
    two = run_on_ranks(2, trained_on_ranks, dataset.directory, tmp_path / "2")[0]
    assert one["chosen"] == two["chosen"]
    for name in ("test_recall@20", "test_ndcg@20", "test_coverage", "test_popular"):
        assert one["lists"][name] == pytest.approx(two["lists"][name], abs=2e-3)
        for row, values in one["lists"]["baselines"].items():
            assert values[name] == pytest.approx(two["lists"]["baselines"][row][name], abs=1e-9)
    tables = [load_run(tmp_path / size, World()).interest for size in "12"]
    products = [interest.message_embedding @ interest.target.T for interest in tables]
    torch.testing.assert_close(*products, atol=1e-4, rtol=1e-4)


def test_liked_is_three_quarters_up_the_scale(dataset):
    options = config_of(dataset, Path("unused")).interest
    assert dataset.manifest.rating["min"] == 0.5
    assert 3.5 < lists.liked_from(dataset, options) <= 4.0
    options.relevant = 3.0
    assert lists.liked_from(dataset, options) == 3.0
