"""Ranking metrics against scikit-learn, PyG and rankings sorted one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score
from torch_geometric.metrics import LinkPredCoverage, LinkPredMRR, LinkPredNDCG, LinkPredRecall

from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking import RankingMetrics, evaluate_ranking
from gnnrec.graph.interactions import Interactions
from gnnrec.kernels.ragged import offsets
from tests.distributed.ranks import run_on_ranks

USERS, MOVIES = 41, 260


def interactions(chosen: torch.Tensor) -> Interactions:
    """Interactions from a bool matrix ``[users, movies]``."""
    movie = chosen.nonzero()[:, 1].to(torch.int32)
    edge_id = torch.arange(movie.numel())
    return Interactions(offsets(chosen.sum(1)), movie, torch.ones(movie.numel()), edge_id)


def case(most_targets: int, seed: int = 0):
    """Scores, seen and relevant movies; the last user and a few others have no relevant ones."""
    rng = np.random.default_rng(seed)
    seen, wanted = np.zeros((2, USERS, MOVIES), bool)
    for user in range(USERS - 1):
        row = rng.permutation(MOVIES)
        shown, asked = rng.integers(0, 60), rng.integers(0, most_targets + 1)
        seen[user, row[:shown]] = True
        wanted[user, row[shown : shown + asked]] = True
    scores = rng.permuted(np.tile(np.linspace(-3, 3, MOVIES), (USERS, 1)), axis=1) + 1.5 * wanted
    return torch.tensor(scores), torch.tensor(seen), torch.tensor(wanted)


def measured(scores, seen, wanted, **options) -> RankingMetrics:
    options = {"candidates": None} | options
    return evaluate_ranking(
        scores.__getitem__, interactions(seen), interactions(wanted), World(), scores.shape[1], **options
    )


def sorted_rankings(scores, seen, candidates=None) -> list[list[int]]:
    """Each user's ranked movies, by Python's sort."""
    candidates = range(scores.shape[1]) if candidates is None else candidates.nonzero().squeeze(1).tolist()
    return [
        sorted((m for m in candidates if not seen[u, m]), key=lambda m, u=u: (-scores[u, m].item(), m))
        for u in range(len(scores))
    ]


def popular_movies(seen, candidates=None) -> set[int]:
    """The hundredth of the catalog that was seen most often, by Python's sort."""
    candidates = range(MOVIES) if candidates is None else candidates.nonzero().squeeze(1).tolist()
    seen_by = seen.sum(0).tolist()
    return set(sorted(candidates, key=lambda movie: (-seen_by[movie], movie))[: -(-len(candidates) // 100)])


def from_rankings(rankings, wanted, catalog_size: int, popular: set[int]) -> RankingMetrics:
    """Metrics by their definitions, one user at a time."""
    rows, covered, listed = [], set(), []
    for user, order in enumerate(rankings):
        targets = set(wanted[user].nonzero().squeeze(1).tolist())
        if targets:
            hits = [place for place, movie in enumerate(order, 1) if movie in targets]
            recall = [sum(place <= k for place in hits) / min(k, len(targets)) for k in (20, 50)]
            ndcg = []
            for k in (100, 20):
                ideal = sum(1 / np.log2(1 + place) for place in range(1, min(k, len(targets)) + 1))
                ndcg.append(sum(1 / np.log2(1 + place) for place in hits if place <= k) / ideal)
            rows.append([*recall, ndcg[0], 1 / hits[0] if hits else 0.0, ndcg[1]])
            covered |= set(order[:20])
            listed += order[:20]
    *means, ndcg_20 = np.mean(rows, 0)
    share = sum(movie in popular for movie in listed) / len(listed)
    return RankingMetrics(*means, len(covered) / catalog_size, ndcg_20, share, len(rows))


def assert_same(metrics: RankingMetrics, expected: RankingMetrics) -> None:
    assert metrics.count == expected.count
    assert metrics.figures() == pytest.approx(expected.figures(), rel=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_metrics_match_their_definitions(chunk):
    scores, seen, wanted = case(most_targets=120)
    assert wanted.sum(1).max() > 100  # NDCG's ideal is cut there
    expected = from_rankings(sorted_rankings(scores, seen), wanted, MOVIES, popular_movies(seen))
    assert 0.05 < expected.recall_at_20 < 0.9 and expected.count < USERS
    assert_same(measured(scores, seen, wanted, chunk=chunk), expected)


def test_only_candidates_are_ranked():
    scores, seen, wanted = case(most_targets=30)
    candidates = torch.arange(MOVIES) % 3 != 0
    rankings = sorted_rankings(scores, seen, candidates)
    expected = from_rankings(rankings, wanted, int(candidates.sum()), popular_movies(seen, candidates))
    assert_same(measured(scores, seen, wanted, candidates=candidates), expected)


def test_seen_movies_are_not_covered_if_few_others_are_left():
    """With fewer than 20 movies left, those that must not be recommended are not covered either."""
    scores, seen, wanted = (part[:3] for part in case(most_targets=5))
    seen = ~wanted
    seen[0, 7] = False
    expected = from_rankings(sorted_rankings(scores, seen), wanted, MOVIES, popular_movies(seen))
    assert_same(measured(scores, seen, wanted), expected)


def test_ndcg_matches_scikit_learn():
    scores, seen, wanted = case(most_targets=120)
    asked = wanted.any(1)
    allowed = scores.masked_fill(seen, -100)
    metrics = measured(scores, seen, wanted)
    for k, value in ((100, metrics.ndcg_at_100), (20, metrics.ndcg_at_20)):
        expected = ndcg_score(wanted[asked].numpy(), allowed[asked].numpy(), k=k)
        assert value == pytest.approx(expected, rel=1e-12)


def test_metrics_match_pyg():
    scores, seen, wanted = case(most_targets=20)  # so that min(k, relevant) is relevant
    asked = wanted.any(1)
    top = scores.masked_fill(seen, -100)[asked].argsort(1, descending=True)
    edges = wanted[asked].nonzero().T

    def pyg(metric):
        metric.update(top, edges)
        return metric.compute().item()

    metrics = measured(scores, seen, wanted)
    assert metrics.recall_at_20 == pytest.approx(pyg(LinkPredRecall(20)), rel=1e-5)
    assert metrics.recall_at_50 == pytest.approx(pyg(LinkPredRecall(50)), rel=1e-5)
    assert metrics.ndcg_at_100 == pytest.approx(pyg(LinkPredNDCG(100)), rel=1e-5)
    assert metrics.mrr == pytest.approx(pyg(LinkPredMRR(MOVIES)), rel=1e-5)
    assert metrics.coverage == pytest.approx(pyg(LinkPredCoverage(20, MOVIES)), rel=1e-5)


@pytest.mark.parametrize("levels", [1, 3])
def test_ties_are_ranked_by_movie_row(levels):
    scores, seen, wanted = case(most_targets=40)
    scores = (scores * levels / 10).round()
    scores = torch.zeros_like(scores) if levels == 1 else scores
    expected = from_rankings(sorted_rankings(scores, seen), wanted, MOVIES, popular_movies(seen))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert_same(measured(scores.to(dtype), seen, wanted), expected)


def test_equal_scores_are_no_better_than_chance():
    scores, seen, wanted = case(most_targets=40)
    assert measured(torch.zeros_like(scores), seen, wanted).recall_at_20 < 0.15


def test_nan_is_ranked_last_but_above_seen_movies():
    scores, seen, wanted = case(most_targets=5)
    with_nan = torch.where(wanted, torch.nan, scores)
    expected = from_rankings(sorted_rankings(scores - 100 * wanted, seen), wanted, MOVIES, popular_movies(seen))
    assert expected.recall_at_50 == 0 and expected.mrr > 1 / MOVIES
    assert_same(measured(with_nan, seen, wanted), expected)
    assert_same(measured(torch.where(wanted, -torch.inf, scores), seen, wanted), expected)
    assert measured(torch.where(wanted, torch.inf, scores), seen, wanted).ndcg_at_100 == pytest.approx(1)


def test_metrics_without_users_are_none():
    scores, seen, wanted = case(most_targets=5)
    metrics = measured(scores, seen, torch.zeros_like(wanted))
    assert (metrics.count, metrics.loss, str(metrics)) == (0, None, "no users with relevant held-out movies")
    assert set(metrics.figures().values()) == {None}


def test_metrics_have_names_a_headline_and_a_text():
    metrics = RankingMetrics(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1234)
    names = ["recall@20", "recall@50", "ndcg@100", "mrr", "coverage", "ndcg@20", "popular"]
    assert metrics.figures() == dict(zip(names, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]))
    assert (metrics.loss, metrics.headline, metrics.unit) == (-0.3, "NDCG@100 0.3000", "users")
    assert "Recall@20 0.1000" in str(metrics) and "1,234 users" in str(metrics)


def on_ranks(world: World) -> RankingMetrics:
    """Metrics with the users divided among ranks; one rank has only the last user, without relevant movies."""
    scores, seen, wanted = case(most_targets=120)
    bounds = [0, 17, USERS - 1, USERS] if world.size == 3 else [0, USERS]
    mine = slice(bounds[world.rank], bounds[world.rank + 1])
    return evaluate_ranking(
        scores[mine].__getitem__, interactions(seen[mine]), interactions(wanted[mine]), world, MOVIES, chunk=5
    )


@pytest.mark.slow
def test_three_ranks_agree_with_one():
    expected = run_on_ranks(1, on_ranks)[0]
    for metrics in run_on_ranks(3, on_ranks):
        assert_same(metrics, expected)
