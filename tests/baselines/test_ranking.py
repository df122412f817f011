"""Ranking baselines, against dense formulas and rankings sorted one by one, and on several ranks."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from sklearn.metrics.pairwise import cosine_similarity

from gnnrec.baselines import ease
from gnnrec.baselines.baseline import Baseline, fit_best
from gnnrec.baselines.ranking import RANKING_BASELINES, fit_baselines
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import (
    TEST,
    TEST_INPUT,
    TRAIN,
    UNUSED,
    VALIDATION,
    VALIDATION_INPUT,
    PreparedDataset,
)
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.kernels import dispatch
from gnnrec.models import closed_form
from gnnrec.models.ease import ease_problem
from tests.datasets import changed_copy, ratings_table, write_dataset
from tests.distributed.ranks import run_on_ranks

PROTOCOLS = ("strong", "leave-last", "random")
SETTINGS = {
    "popularity": {},
    "recent popularity": {"days": 900},
    "item kNN": {"neighbors": 10},
    "EASE": {"penalty": 20.0},
    "implicit ALS": {"factors": 4, "alpha": 3.0, "regularization": 0.5},
}
#: Relative differences of metrics due to the rounding of scores.
ROUNDING = {"popularity": 1e-6, "recent popularity": 1e-6, "item kNN": 1e-3, "EASE": 1e-3, "implicit ALS": 3e-4}
#: Splits that are shown when a split is scored.
SHOWN = {"strong": {VALIDATION: [VALIDATION_INPUT], TEST: [TEST_INPUT]}}
SHOWN |= {protocol: {VALIDATION: [TRAIN], TEST: [TRAIN, VALIDATION]} for protocol in PROTOCOLS[1:]}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> dict[str, PreparedDataset]:
    options = {"users": 80, "movies": 60, "ratings": 1800, "test": 0.25, "validation": 0.25, "least_relevant": 4}
    return {name: write_dataset(tmp_path_factory.mktemp(name), protocol=name, **options) for name in PROTOCOLS}


def dense(dataset: PreparedDataset, splits: list[int], relevant: float = 4.0, alpha: float = 0.0) -> np.ndarray:
    """``1 + alpha log(1 + rating)`` for ratings of at least ``relevant`` in ``splits``, else 0: ``[users, movies]``."""
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    rating = np.asarray(dataset.rating, np.float64)
    chosen = np.isin(dataset.split, splits) & (rating >= relevant)
    table = np.zeros((dataset.num_users, dataset.num_movies))
    table[user[chosen], np.asarray(dataset.movie)[chosen]] = 1 + alpha * np.log(1 + rating[chosen])
    return table


def expected_scores(
    name: str, train: np.ndarray, shown: np.ndarray, dataset: PreparedDataset, alpha: float | None = None
) -> np.ndarray:
    """Scores ``[users, movies]`` by the formulas of the papers; ``alpha`` is that of implicit ALS, if it differs."""
    setting = SETTINGS[name] | ({} if alpha is None else {"alpha": alpha})
    if name == "popularity":
        return np.tile(train.sum(0), (len(shown), 1))
    if name == "recent popularity":
        liked = np.isin(dataset.split, [TRAIN]) & (np.asarray(dataset.rating) >= 4)
        time, movie = np.asarray(dataset.timestamp)[liked], np.asarray(dataset.movie)[liked]
        recent = np.bincount(movie[time > time.max() - setting["days"] * 86400], minlength=train.shape[1])
        assert 0 < recent.sum() < liked.sum()
        return np.tile(recent + train.sum(0) / (1 + train.sum()), (len(shown), 1))
    if name == "item kNN":
        similarity = cosine_similarity(train.T)
        np.fill_diagonal(similarity, 0)
        lowest = np.sort(similarity, 0)[-setting["neighbors"]]
        return shown @ np.where(similarity >= lowest * (1 - 1e-6), similarity, 0)
    if name == "EASE":
        inverse = np.linalg.inv(train.T @ train + setting["penalty"] * np.eye(train.shape[1]))
        weights = np.eye(train.shape[1]) - inverse / np.diag(inverse)  # I - P diag(1 / diag P)
        np.testing.assert_allclose(np.diag(weights), 0, atol=1e-12)
        return shown @ weights
    model = AlternatingLeastSquares(
        setting["factors"], setting["regularization"], setting["alpha"], random_state=5, num_threads=1
    )
    model.fit(csr_matrix(train, dtype=np.float32), show_progress=False)
    movies = model.item_factors.astype(np.float64)
    users = []
    for row in shown:
        weight = np.where(row > 0, setting["alpha"] * row, 1.0)
        left = movies.T @ (weight[:, None] * movies) + setting["regularization"] * np.eye(setting["factors"])
        users.append(np.linalg.solve(left, movies.T @ (weight * (row > 0))))
    return np.array(users) @ movies.T


def expected_figures(scores: np.ndarray, seen: np.ndarray, wanted: np.ndarray, candidates: np.ndarray) -> dict:
    rows, covered, listed = [], set(), []
    seen_by = np.where(candidates, (seen > 0).sum(0), -1)
    popular = set(np.lexsort((np.arange(len(seen_by)), -seen_by))[: int(np.ceil(candidates.sum() / 100))])
    for user in np.flatnonzero(wanted.any(1)):
        allowed = np.flatnonzero(candidates & (seen[user] == 0))
        order = allowed[np.lexsort((allowed, -scores[user, allowed]))]
        places = 1 + np.flatnonzero(wanted[user, order])
        count = int(wanted[user].sum())
        ndcg = []
        for k in (100, 20):
            ideal = (1 / np.log2(1 + np.arange(1, min(count, k) + 1))).sum()
            ndcg.append((1 / np.log2(1 + places[places <= k])).sum() / ideal)
        recall = [(places <= k).sum() / min(count, k) for k in (20, 50)]
        rows.append([*recall, ndcg[0], 1 / places[0], ndcg[1]])
        covered |= set(order[:20])
        listed += list(order[:20])
    figures = dict(zip(("recall@20", "recall@50", "ndcg@100", "mrr", "ndcg@20"), np.mean(rows, 0)))
    return figures | {"coverage": len(covered) / candidates.sum(), "popular": np.isin(listed, list(popular)).mean()}


@pytest.mark.parametrize("split", [VALIDATION, TEST])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", RANKING_BASELINES)
def test_baselines_match_the_formulas_of_the_papers(datasets, name, protocol, split):
    dataset, shown_splits = datasets[protocol], SHOWN[protocol][split]
    train = dense(dataset, [TRAIN])
    candidates = train.any(0) if protocol == "strong" else np.ones(dataset.num_movies, bool)
    expected = expected_figures(
        expected_scores(name, train, dense(dataset, shown_splits), dataset),
        seen=dense(dataset, shown_splits, relevant=0),
        wanted=dense(dataset, [split]),
        candidates=candidates,
    )
    metrics = RANKING_BASELINES[name].fit(dataset, World(), (TRAIN,), 5, SETTINGS[name]).metrics(split)
    assert metrics.count > 5 and metrics.recall_at_20 < 0.95
    # Movies with the same raters, or none, tie or nearly tie by the formula, and rounding in float32 ranks them.
    assert metrics.figures() == pytest.approx(expected, rel=ROUNDING[name])


@pytest.mark.parametrize("name", ["EASE", "implicit ALS"])
def test_weights_by_counts_are_those_of_dense_formulas(datasets, name):
    """EASE has the weights as values of X, implicit ALS as weights of squared errors."""
    dataset, alpha = datasets["leave-last"], 1.7
    train, shown = (dense(dataset, splits, alpha=alpha) for splits in ([TRAIN], [TRAIN, VALIDATION]))
    assert len(np.unique(train)) > 3
    expected = expected_figures(
        expected_scores(name, train, shown, dataset, alpha=1.0),
        seen=dense(dataset, [TRAIN, VALIDATION], relevant=0),
        wanted=dense(dataset, [TEST]),
        candidates=np.ones(dataset.num_movies, bool),
    )
    setting = {key: value for key, value in SETTINGS[name].items() if key != "alpha"}
    plain = RANKING_BASELINES[name].fit(dataset, World(), (TRAIN,), 5, SETTINGS[name]).metrics(TEST)
    fitted = RANKING_BASELINES[name].fit(dataset, World(), (TRAIN,), 5, setting | {"count_confidence": alpha})
    assert fitted.metrics(TEST).figures() == pytest.approx(expected, rel=ROUNDING[name])
    assert plain.figures() != pytest.approx(expected, rel=1e-3)


def test_weights_by_counts_replace_equal_weights_in_grids():
    for name, baseline in RANKING_BASELINES.items():
        assert baseline.with_count_confidence(0) is baseline
        weighted = baseline.with_count_confidence(0.5)
        if name in ("EASE", "implicit ALS"):
            assert all(setting["count_confidence"] == 0.5 and "alpha" not in setting for setting in weighted.grid)
            assert len({tuple(setting.items()) for setting in weighted.grid}) == len(weighted.grid) > 5
        else:
            assert weighted is baseline


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_refitting_uses_all_ratings_of_validation_users(datasets, protocol):
    dataset = datasets[protocol]
    splits = [TRAIN, VALIDATION] + ([VALIDATION_INPUT] if protocol == "strong" else [])
    counts = dense(dataset, splits).sum(0)
    candidates = dense(dataset, [TRAIN]).any(0) | (protocol != "strong")
    expected = expected_figures(
        np.tile(counts, (dataset.num_users, 1)),
        seen=dense(dataset, SHOWN[protocol][TEST], relevant=0),
        wanted=dense(dataset, [TEST]),
        candidates=candidates,
    )
    fitted = RANKING_BASELINES["popularity"].fit(dataset, World(), (TRAIN, VALIDATION), 0, {})
    assert fitted.metrics(TEST).figures() == pytest.approx(expected, rel=1e-9)


def on_ranks(world: World, directory: str) -> dict[str, dict]:
    dataset = PreparedDataset(directory)
    return {
        name: baseline.fit(dataset, world, (TRAIN,), 5, SETTINGS[name]).metrics(TEST).figures()
        for name, baseline in RANKING_BASELINES.items()
    }


@pytest.mark.slow
def test_three_ranks_agree_with_one(datasets):
    directory = str(datasets["strong"].directory)
    expected = run_on_ranks(1, on_ranks, directory)[0]
    for figures_by_name in run_on_ranks(3, on_ranks, directory):
        assert set(figures_by_name) == set(RANKING_BASELINES)
        for name, figures in figures_by_name.items():
            assert figures == pytest.approx(expected[name], rel=1e-6), name


@pytest.mark.parametrize("name", ["EASE", "implicit ALS"])
def test_settings_do_not_depend_on_test_ratings(datasets, tmp_path, name):
    baseline = RANKING_BASELINES[name]
    baseline = dataclasses.replace(baseline, grid=baseline.grid[:4])
    plain = datasets["strong"]
    split = np.array(plain.split)
    hidden = np.where(np.isin(split, (TEST, TEST_INPUT)), UNUSED, split)
    without = changed_copy(plain, tmp_path / "without", split=hidden)
    first, second = (fit_best(baseline, data, World(), (TRAIN,), 0) for data in (plain, without))
    assert second.fitted.metrics(TEST).count == 0 < first.fitted.metrics(TEST).count
    assert (first.setting, first.validation_loss) == (second.setting, second.validation_loss)


def test_validation_chooses_the_penalty(datasets):
    losses = {
        setting["penalty"]: ease.fit_ease(datasets["strong"], World(), (TRAIN,), 0, setting).metrics(VALIDATION).loss
        for setting in RANKING_BASELINES["EASE"].grid
    }
    assert len(set(losses.values())) > 3
    chosen = fit_best(RANKING_BASELINES["EASE"], datasets["strong"], World(), (TRAIN,), 0)
    assert chosen.setting == {"penalty": min(losses, key=losses.get)}


def test_the_penalty_is_chosen_with_the_most_liked_movies_and_fitted_with_all(datasets, monkeypatch):
    problems = []

    def recorded(train, num_movies, world, most):
        problems.append(most)
        return ease_problem(train, num_movies, world, most)

    monkeypatch.setattr(ease, "ease_problem", recorded)
    monkeypatch.setattr(ease, "CHOICE_MOVIES", 20)
    data, baseline = datasets["strong"], RANKING_BASELINES["EASE"]
    chosen = fit_best(baseline, data, World(), (TRAIN,), 0)
    assert problems == [20, None]
    tried = ease.try_ease(data, World(), (TRAIN,), 0)
    losses = {setting["penalty"]: tried(setting).metrics(VALIDATION).loss for setting in baseline.grid}
    assert chosen.setting == {"penalty": min(losses, key=losses.get)} and chosen.validation_loss == min(losses.values())
    whole = ease.fit_ease(data, World(), (TRAIN,), 0, chosen.setting)
    assert chosen.fitted.metrics(TEST) == whole.metrics(TEST)
    monkeypatch.setattr(ease, "is_by_users", lambda users, movies: True)
    ease.try_ease(data, World(), (TRAIN,), 0)
    assert problems[-1] is None


def test_ease_has_the_same_metrics_with_compiled_kernels_and_in_plain_torch(datasets):
    compiled = ease.fit_ease(datasets["strong"], World(), (TRAIN,), 0, SETTINGS["EASE"]).metrics(TEST)
    with dispatch.forced("reference"):
        plain = ease.fit_ease(datasets["strong"], World(), (TRAIN,), 0, SETTINGS["EASE"]).metrics(TEST)
    assert compiled.figures() == pytest.approx(plain.figures(), rel=1e-6)


def test_grids_have_the_settings_of_each_ranking_baseline():
    assert list(RANKING_BASELINES) == list(SETTINGS)
    for name, baseline in RANKING_BASELINES.items():
        assert isinstance(baseline, Baseline) and (baseline.name, baseline.objective) == (name, "ranking")
        assert baseline.grid and all(setting.keys() == SETTINGS[name].keys() for setting in baseline.grid)


def test_missing_packages_and_too_many_movies_are_errors(datasets, monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(UserError, match=r"implicit ALS needs the package implicit: pip install 'gnnrec\[implicit\]'"):
        RANKING_BASELINES["implicit ALS"].fit(datasets["strong"], World(), (TRAIN,), 0, SETTINGS["implicit ALS"])
    monkeypatch.setattr(closed_form, "MOST_MOVIES", 50)
    with pytest.raises(UserError, match="baseline EASE: .* 60 movies.* leave out this baseline"):
        RANKING_BASELINES["EASE"].fit(datasets["strong"], World(), (TRAIN,), 0, SETTINGS["EASE"])
    with pytest.raises(UserError, match="baseline item kNN: .* 60 movies.* leave out this baseline"):
        RANKING_BASELINES["item kNN"].fit(datasets["strong"], World(), (TRAIN,), 0, SETTINGS["item kNN"])


def test_data_without_times_have_no_recent_popularity(tmp_path):
    ratings_table(37, 29, 431, 0).drop(columns="timestamp").to_csv(tmp_path / "ratings.csv", index=False)
    prepare(tmp_path / "data", PrepareOptions(ratings=tmp_path / "ratings.csv", validation=0.2))
    dataset = PreparedDataset(tmp_path / "data")
    with pytest.raises(UserError, match="baseline recent popularity: .* has no times: leave it out"):
        RANKING_BASELINES["recent popularity"].fit(dataset, World(), (TRAIN,), 0, {"days": 7})
    assert "recent popularity" not in fit_baselines(dataset, World(), (TRAIN,), 0)
