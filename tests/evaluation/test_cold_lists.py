"""Lists of held-out movies and for held-out users, against scikit-learn: held-out ratings never order them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score
from torch import Tensor

from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.evaluation.ranking_split import read_list_split, read_ranking_split
from gnnrec.graph.interactions import Interactions, candidate_movies
from gnnrec.graph.partition import partition
from gnnrec.inference.evaluate import EvaluateOptions, evaluate
from gnnrec.inference.load import load_run
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import changed_copy, with_random_features, write_dataset
from tests.distributed.ranks import run_on_ranks

LIKED = 4.0


@pytest.fixture(scope="module")
def cold(tmp_path_factory) -> PreparedDataset:
    options = {"users": 90, "movies": 150, "ratings": 3000, "test": 0.3, "validation": 0.2}
    return with_random_features(write_dataset(tmp_path_factory.mktemp("cold"), protocol="cold-movies", **options))


def scores_of(dataset: PreparedDataset) -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).normal(size=(dataset.num_users, dataset.num_movies)))


def edges(dataset: PreparedDataset) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    return user, np.array(dataset.movie), np.array(dataset.rating), np.array(dataset.split)


def ndcg_on_ranks(world: World, directory: str, lists: bool, split: int, equal: bool = False) -> RankingMetrics:
    dataset = PreparedDataset(directory)
    read = read_list_split(dataset, world, split, (TRAIN,), LIKED) if lists else None
    read = read or read_ranking_split(dataset, world, split, LIKED)
    first = partition(dataset.manifest.shards, world.rank, world.size).start
    scores = scores_of(dataset) * (not equal)
    return read.rank_users(lambda users: scores[first + users])


@pytest.mark.parametrize("split", [VALIDATION, TEST])
@pytest.mark.parametrize("lists", [True, False])
def test_movies_without_known_ratings_are_ranked_alone(cold, lists, split):
    user, movie, rating, part = edges(cold)
    known = part == TRAIN if split == VALIDATION else part != TEST
    candidates = np.flatnonzero(~np.isin(np.arange(cold.num_movies), movie[known]))
    assert 20 < len(candidates) < cold.num_movies / 2
    wanted = (part == split) & (rating >= LIKED)
    liked = np.zeros((cold.num_users, cold.num_movies))
    liked[user[wanted], movie[wanted]] = 1
    users = np.flatnonzero(liked.any(1))
    assert liked[:, candidates].sum() == wanted.sum() and len(users) > 20
    scores = scores_of(cold).numpy()
    expected = np.mean([ndcg_score([liked[u, candidates]], [scores[u, candidates]], k=20) for u in users])
    actual = ndcg_on_ranks(World(), str(cold.directory), lists, split)
    # scikit-learn's ideal list has all liked movies among its first 20.
    assert liked.sum(1).max() <= 20 and actual.count == len(users)
    assert actual.ndcg_at_20 == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
@pytest.mark.processes
def test_three_ranks_rank_the_same_cold_movies(cold):
    for equal in (True, False):
        arguments = (str(cold.directory), True, TEST, equal)
        expected = ndcg_on_ranks(World(), *arguments).figures()
        for actual in run_on_ranks(3, ndcg_on_ranks, *arguments):
            assert actual.figures() == pytest.approx(expected, rel=1e-12)


def test_equal_scores_do_not_reveal_how_many_ratings_are_held_out(cold):
    """Rows of movies are in the order of all their ratings, so the order of rows finds liked held-out movies."""
    split = read_list_split(cold, World(), TEST, (TRAIN,), LIKED)
    rows = torch.arange(cold.num_movies, dtype=torch.float64)

    def ndcg(scores: Tensor) -> float:
        found = split.rank(lambda shown: scores.expand(shown.num_users, -1)).ndcg_at_20
        assert found is not None
        return found

    random = np.mean([ndcg(torch.rand(cold.num_movies, generator=torch.Generator().manual_seed(n))) for n in range(9)])
    equal, by_row = ndcg(torch.zeros(cold.num_movies)), ndcg(-rows)
    assert by_row > 1.5 * random and equal < (by_row + random) / 2
    assert candidate_movies(cold, World(), TEST).sum() < candidate_movies(cold, World(), VALIDATION).sum()


@pytest.mark.slow
@pytest.mark.parametrize("head", ["dot", "mlp"])
def test_lists_of_rating_runs_have_cold_movies_in_the_order_of_predicted_ratings(cold, tmp_path, head):
    """Interest knows nothing of them."""
    config = make_config(cold.directory, tmp_path / "run", model={"head": head}, interest={}, baselines=True)
    summary = train(config, World())
    loaded = load_run(tmp_path / "run", World())
    embeddings = loaded.embed()
    split = read_list_split(cold, World(), TEST, (TRAIN,), loaded.config.interest.relevant or 3.875)
    expected = split.rank_users(lambda users: loaded.model.score_all(embeddings, users))
    actual = evaluate(tmp_path / "run", EvaluateOptions(), World())["test"][1]
    assert actual.count == summary["lists"]["users"] == expected.count > 20
    assert actual.ndcg_at_20 == pytest.approx(expected.ndcg_at_20, abs=0.01)
    assert summary["lists"]["test_ndcg@20"] == pytest.approx(actual.ndcg_at_20, rel=1e-6)
    rows = summary["lists"]["baselines"]
    # None of them tells cold movies apart, so all have the order of ties.
    values = {name: rows[name]["test_ndcg@20"] for name in ("popularity", "recent popularity", "item kNN")}
    assert len({round(value, 9) for value in values.values()}) == 1 and values["popularity"] > 0


@pytest.mark.slow
def test_users_without_training_ratings_have_lists(tmp_path):
    dataset = with_random_features(write_dataset(tmp_path, users=90, protocol="cold-users", test=0.3, validation=0.2))
    summary = train(make_config(dataset.directory, tmp_path / "run", interest={}, baselines=True), World())
    user, _, rating, part = edges(dataset)
    liked = np.unique(user[(part == TEST) & (rating >= 3.875)])
    assert summary["lists"]["users"] == len(liked) > 5
    assert 0 < summary["lists"]["test_ndcg@20"] <= 1 and 0 < summary["lists"]["test_coverage"] <= 1
    loaded = load_run(tmp_path / "run", World())
    embeddings = loaded.embed()
    assert embeddings.user[torch.from_numpy(liked)].isfinite().all()
    nothing = Interactions(torch.zeros(3, dtype=torch.int64), *(torch.zeros(0, dtype=torch.int32),) * 3)
    assert not loaded.interest.scores(nothing).any()


@pytest.mark.slow
def test_ratings_of_held_out_movies_change_no_model_and_no_list(cold, tmp_path):
    """Other test ratings give the same checkpoint, and the same scores of all movies."""
    rating, test = np.array(cold.rating), np.array(cold.split) == TEST
    rating[test] = cold.manifest.rating["min"] + cold.manifest.rating["max"] - rating[test]
    scores, summaries = [], []
    for name, dataset in (("a", cold), ("b", changed_copy(cold, tmp_path / "other", rating=rating))):
        config = make_config(dataset.directory, tmp_path / name, interest={}, baselines=True)
        summaries.append(train(config, World()))
        loaded = load_run(tmp_path / name, World())
        scores.append(loaded.model.score_all(loaded.embed(), torch.arange(dataset.num_users)))
    assert torch.equal(*scores) and summaries[0]["chosen"] == summaries[1]["chosen"]
    assert summaries[0]["feature_worth"] == summaries[1]["feature_worth"]
    assert summaries[0]["lists"]["test_ndcg@20"] != summaries[1]["lists"]["test_ndcg@20"]
