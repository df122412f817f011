"""Metrics of lists at any length: a small example by hand, and next to four libraries."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch_geometric.metrics import (
    LinkPredAveragePopularity,
    LinkPredCoverage,
    LinkPredHitRatio,
    LinkPredMAP,
    LinkPredMRR,
    LinkPredNDCG,
    LinkPredPersonalization,
    LinkPredPrecision,
    LinkPredRecall,
)

from gnnrec.distributed.world import World
from gnnrec.evaluation.list_metrics import OF_LISTS, OF_USERS, ListTotals
from gnnrec.evaluation.ranking import evaluate_ranking
from gnnrec.graph.interactions import Interactions
from tests.distributed.ranks import run_on_ranks

MOVIES, LENGTHS = 40, (1, 3, 10, 60)


def interactions(lists: list[list[int]]) -> Interactions:
    pointer = torch.tensor([0, *np.cumsum([len(each) for each in lists])])
    movie = torch.tensor([movie for each in lists for movie in sorted(each)], dtype=torch.int32)
    return Interactions(pointer, movie, torch.ones(len(movie)), torch.arange(len(movie)))


@pytest.fixture(scope="module")
def example():
    """Scores, seen and relevant movies of users; some users have no relevant movies, and scores are all different."""
    rng = np.random.default_rng(0)
    users = 30
    scores = rng.normal(size=(users, MOVIES))
    seen = [rng.choice(MOVIES, rng.integers(1, 12), False).tolist() for _ in range(users)]
    relevant = []
    for user in range(users):
        others = [movie for movie in range(MOVIES) if movie not in seen[user]]
        relevant.append(rng.choice(others, rng.integers(0, 9), False).tolist())
    return torch.from_numpy(scores), seen, relevant


def measured(scores, seen, relevant, lengths=LENGTHS, world: World | None = None) -> dict[str, float]:
    world = world or World()
    metrics = evaluate_ranking(
        lambda rows: scores[rows], interactions(seen), interactions(relevant), world, MOVIES, chunk=7, lengths=lengths
    )
    return metrics.at


def lists_of(scores, seen, relevant) -> tuple[list[list[int]], list[set[int]]]:
    """The rankings of the users who have relevant movies, and these movies."""
    rankings, wanted = [], []
    for row, known, liked in zip(scores.numpy(), seen, relevant):
        if liked:
            rankings.append([movie for movie in np.argsort(-row, kind="stable").tolist() if movie not in known])
            wanted.append(set(liked))
    return rankings, wanted


def by_hand(scores, seen, relevant, length: int) -> dict[str, float]:
    """Every metric, from its definition, one user after another."""
    rankings, wanted = lists_of(scores, seen, relevant)
    sums: dict[str, float] = defaultdict(float)
    times = np.zeros(MOVIES)
    for ranking, liked in zip(rankings, wanted):
        short = ranking[:length]
        times[short] += 1
        ranks = [rank for rank, movie in enumerate(short, 1) if movie in liked]
        average = sum(number / rank for number, rank in enumerate(ranks, 1))
        sums["hit_rate"] += bool(ranks)
        sums["precision"] += len(ranks) / length
        sums["recall"] += len(ranks) / min(length, len(liked))
        sums["recall_all"] += len(ranks) / len(liked)
        largest = sum(1 / math.log2(1 + rank) for rank in range(1, min(length, len(liked)) + 1))
        sums["ndcg"] += sum(1 / math.log2(1 + rank) for rank in ranks) / largest
        sums["map"] += average / min(length, len(liked))
        sums["map_all"] += average / len(liked)
        sums["map_found"] += average / len(ranks) if ranks else 0.0
        sums["mrr"] += 1 / ranks[0] if ranks else 0.0
    found = {name: value / len(rankings) for name, value in sums.items()}
    known = np.bincount([movie for each in seen for movie in each], minlength=MOVIES)
    listed = [movie for ranking in rankings for movie in ranking[:length]]
    popular = np.argsort(-known, kind="stable")[: math.ceil(MOVIES / 100)]
    pairs = [
        len(set(a[:length]) & set(b[:length])) for number, a in enumerate(rankings) for b in rankings[number + 1 :]
    ]
    return found | {
        "coverage": (times > 0).mean(),
        "novelty": float(np.mean([-math.log2(max(known[movie], 1) / len(seen)) for movie in listed])),
        "popularity": float(np.mean([known[movie] for movie in listed])),
        "popular": float(np.mean([movie in popular for movie in listed])),
        "personalization": 1 - np.mean(pairs) / (len(listed) / len(rankings)),
    }


@pytest.mark.parametrize("length", LENGTHS)
def test_every_metric_is_its_definition(example, length):
    found, expected = measured(*example), by_hand(*example, length)
    assert {name.split("@")[0] for name in found} == {*OF_USERS, *OF_LISTS} == set(expected)
    for name, value in expected.items():
        assert found[f"{name}@{length}"] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("length", [1, 3, 10])
def test_metrics_are_those_of_pyg(example, length):
    found = measured(*example)
    rankings, wanted = lists_of(*example)
    lists = torch.tensor([ranking[:length] for ranking in rankings])
    edges = torch.tensor([[row, movie] for row, liked in enumerate(wanted) for movie in liked]).T
    own = {
        "precision": LinkPredPrecision, "recall_all": LinkPredRecall, "map": LinkPredMAP, "ndcg": LinkPredNDCG,
        "mrr": LinkPredMRR, "hit_rate": LinkPredHitRatio,
    }  # fmt: skip
    for name, metric in own.items():
        theirs = metric(k=length)
        theirs.update(lists, edges)
        assert found[f"{name}@{length}"] == pytest.approx(float(theirs.compute()), abs=1e-6), name
    coverage = LinkPredCoverage(k=length, num_dst_nodes=MOVIES)
    coverage.update(lists, edges)
    assert found[f"coverage@{length}"] == pytest.approx(float(coverage.compute()), abs=1e-6)
    known = torch.bincount(torch.tensor([movie for each in example[1] for movie in each]), minlength=MOVIES)
    popularity = LinkPredAveragePopularity(k=length, popularity=known)
    popularity.update(lists, edges)
    assert found[f"popularity@{length}"] == pytest.approx(float(popularity.compute()), abs=1e-4)
    personalization = LinkPredPersonalization(k=length)
    personalization.update(lists, edges)
    assert found[f"personalization@{length}"] == pytest.approx(float(personalization.compute()), abs=1e-6)


@pytest.mark.parametrize("length", [1, 3, 10])
def test_metrics_are_those_of_scikit_learn(example, length):
    from sklearn.metrics import ndcg_score, precision_score, recall_score

    found = measured(*example)
    rankings, wanted = lists_of(*example)
    truth = np.array([[movie in liked for movie in range(MOVIES)] for liked in wanted])
    listed = np.array([[movie in ranking[:length] for movie in range(MOVIES)] for ranking in rankings])
    places = [{movie: -place for place, movie in enumerate(ranking)} for ranking in rankings]
    order = np.array([[place.get(movie, -MOVIES) for movie in range(MOVIES)] for place in places])
    assert found[f"recall_all@{length}"] == pytest.approx(recall_score(truth, listed, average="samples"))
    assert found[f"precision@{length}"] == pytest.approx(precision_score(truth, listed, average="samples"))
    assert found[f"ndcg@{length}"] == pytest.approx(ndcg_score(truth, order, k=length))


def test_metrics_of_implicit_are_sums_over_users_where_ours_are_means(example):
    """Its precision divides the movies found of all users by ``min(K, relevant)`` of all users."""
    evaluation = pytest.importorskip("implicit.evaluation")
    from scipy.sparse import csr_matrix

    rankings, wanted = lists_of(*example)
    users = len(rankings)
    liked = csr_matrix((np.ones(sum(map(len, wanted))), (np.repeat(np.arange(users), [len(each) for each in wanted]),
                        [movie for each in wanted for movie in each])), shape=(users, MOVIES))  # fmt: skip

    class Model:
        def recommend(self, rows, user_items, N=10, **options):
            return np.array([rankings[row][:N] for row in rows], np.int32), np.zeros((len(rows), N))

    theirs = evaluation.ranking_metrics_at_k(Model(), csr_matrix((users, MOVIES)), liked, K=3, show_progress=False)
    found = measured(*example)
    hits = [len(set(ranking[:3]) & relevant) for ranking, relevant in zip(rankings, wanted)]
    assert theirs["precision"] == pytest.approx(sum(hits) / sum(min(3, len(relevant)) for relevant in wanted))
    assert theirs["precision"] != pytest.approx(found["recall@3"])
    assert theirs["map"] == pytest.approx(found["map@3"])
    assert theirs["ndcg"] == pytest.approx(found["ndcg@3"])


def test_ties_users_without_positives_and_lengths_beyond_the_catalog():
    scores = torch.zeros(3, MOVIES)
    found = measured(scores, [[0], [1], [2]], [[5], [], [39]], (10, 39, 100))
    assert found["hit_rate@10"] == 0.5 and found["hit_rate@39"] == found["hit_rate@100"] == 1
    assert found["mrr@100"] == pytest.approx((1 / 5 + 1 / 39) / 2)  # equal scores are ranked by row
    assert found["precision@100"] == pytest.approx(0.01) and found["coverage@100"] == 1
    assert measured(scores, [[0], [1], [2]], [[], [], []]) == {}


def on_ranks(world: World, scores, seen, relevant) -> dict[str, float]:
    rows = range(world.rank, len(seen), world.size)
    return measured(scores[list(rows)], [seen[row] for row in rows], [relevant[row] for row in rows], world=world)


@pytest.mark.slow
def test_sums_over_ranks_are_those_of_one(example):
    one = measured(*example)
    for found in run_on_ranks(3, on_ranks, *example):
        assert found == pytest.approx(one)


def test_nothing_is_computed_unless_it_is_asked_for(example, monkeypatch):
    assert measured(*example, lengths=()) == {}
    monkeypatch.setattr(torch, "bincount", lambda *arguments, **options: pytest.fail("counted"))
    ListTotals((), torch.zeros(3, dtype=torch.int64), torch.zeros(3).bool(), torch.ones(3).bool(), 1).add(None, None)
