"""Order of likes in ranking runs, against dense computations by NumPy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.load import load_run
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.models.order_options import EXPONENTS, NEXT_WEIGHTS
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import changed_copy
from tests.distributed.ranks import run_on_ranks
from tests.inference.recommended import recommend
from tests.training.ranking_order_data import MOVIES, USERS, write_chains

L2 = 3.0


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_chains(tmp_path_factory.mktemp("order"), shards=7)


def config_of(dataset: PreparedDataset, run: Path, order: dict | None = None, **options):
    ranking = {"dim": 64, "users_a_step": 50, "l2": 30.0, "popularity_exponent": 0.0}
    return make_config(
        dataset.directory, run, objective="ranking", ranking=ranking, order=order or {"l2": L2}, optimizer={}, **options
    )


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("runs") / "run"
    train(config_of(dataset, place, baselines=True), World())
    return place


def sequences(dataset: PreparedDataset, splits: tuple[int, ...]) -> list[list[int]]:
    """Movies of each user from the oldest on."""
    found = []
    for user in range(dataset.num_users):
        edges = np.arange(dataset.user_ptr[user], dataset.user_ptr[user + 1])
        edges = edges[np.isin(np.array(dataset.split[edges]), splits)]
        found.append([int(dataset.movie[edge]) for edge in edges[np.argsort(dataset.timestamp[edges], kind="stable")]])
    return found


def z(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean()) / scores.std()


def dense_scores(dataset: PreparedDataset, run: Path, shown: list[list[int]]) -> np.ndarray:
    """Scores ``[users, movies]``: the first ones from the tables, those of the next movie from a ridge regression."""
    state, chosen = load_run(run, World()).order.state(), json.loads((run / "summary.json").read_text())["chosen"]
    embedding, target = (state[f"liked_{name}"].double().numpy() for name in ("embedding", "target"))
    train_likes = sequences(dataset, (TRAIN,))
    mean = np.mean([len(own) for own in train_likes if own])
    left, right = np.zeros((2, MOVIES, MOVIES))
    for own in train_likes:
        history = np.zeros(MOVIES)
        for before, movie in zip(own, own[1:]):
            history *= 0.5 ** (1 / 8)
            history[before] += 1
            left += (len(own) / mean) ** -0.5 * np.outer(history, history)
            right[:, movie] += (len(own) / mean) ** -0.5 * history
    weights = np.linalg.solve(left + L2 * np.eye(MOVIES), right)
    scores = np.zeros((len(shown), MOVIES))
    for user, own in enumerate(shown):
        places = np.arange(len(own), 0, -1.0)
        first = target @ (places ** -chosen["order_exponent"] @ embedding[own])
        second = 0.5 ** ((places - 1) / 8) @ weights[own]
        scores[user] = z(first) + chosen["next_weight"] * z(second)
    return scores


def ndcg(scores: np.ndarray, shown: list[list[int]], wanted: list[list[int]]) -> float:
    values = []
    for user, own in enumerate(wanted):
        if own:
            row = scores[user].copy()
            row[shown[user]] = -np.inf
            rank = 1 + int(np.flatnonzero(np.argsort(-row, kind="stable") == own[0])[0])
            values.append(1 / np.log2(1 + rank))
    return float(np.mean(values))


def test_the_test_metrics_are_those_of_the_dense_formula(dataset, run):
    summary = json.loads((run / "summary.json").read_text())
    for name, shown_splits, split in (("validation", (TRAIN,), VALIDATION), ("test", (TRAIN, VALIDATION), TEST)):
        shown, wanted = sequences(dataset, shown_splits), sequences(dataset, (split,))
        expected = ndcg(dense_scores(dataset, run, shown), shown, wanted)
        assert summary[f"{name}_ndcg@100"] == pytest.approx(expected, abs=2e-3)
    others = {name: row["test_ndcg@100"] for name, row in summary["baselines"].items()}
    assert summary["test_ndcg@100"] > 1.2 * max(others.values()), others
    assert summary["seconds"]["interest"] > 0


def test_settings_are_the_best_on_validation(dataset, run):
    chosen = json.loads((run / "summary.json").read_text())["chosen"]
    loaded, wanted = load_run(run, World()), sequences(dataset, (VALIDATION,))
    shown = sequences(dataset, (TRAIN,))

    def value(exponent: float, next_weight: float) -> float:
        state = loaded.order.state() | {
            "exponent": torch.tensor(exponent).double(),
            "next_weight": torch.tensor(next_weight).double(),
        }
        tables = type(loaded.order).of_state(state, torch.device("cpu"))
        liked = [np.array(own)[::-1] for own in shown]
        first = [own_weights(tables, own) for own in liked]
        return ndcg(np.array(first) @ tables.movie_vectors().numpy().T, shown, wanted)

    def own_weights(tables, newest_first: np.ndarray) -> np.ndarray:
        place = np.arange(1, len(newest_first) + 1.0)
        parts = (place**-tables.exponent, tables.liked_embedding), (0.5 ** ((place - 1) / 8), tables.next_embedding)
        vectors = [weight @ table.numpy()[newest_first] for weight, table in parts]
        vectors = [vector / np.linalg.norm(vector) for vector in vectors]
        return np.concatenate([vectors[0], vectors[1] * tables.next_weight])

    def around(values: tuple[float, ...], best: float) -> tuple[float, ...]:
        position = values.index(best)
        return values[max(position - 1, 0) : position + 2]

    exponent, next_weight = chosen["order_exponent"], chosen["next_weight"]
    assert value(exponent, next_weight) >= max(value(exponent, other) for other in around(NEXT_WEIGHTS, next_weight))
    assert value(exponent, 0.0) >= max(value(other, 0.0) for other in around(EXPONENTS, exponent)) - 1e-9


def test_test_ratings_are_not_read(dataset, run, tmp_path):
    """Another last movie of every user changes no table."""
    movie, held_out = np.array(dataset.movie), np.array(dataset.split) == TEST
    rating = np.array(dataset.rating)
    rating[held_out] = 1
    others = changed_copy(dataset, tmp_path / "others", rating=rating)
    train(config_of(others, tmp_path / "run"), World())
    first, second = (load_run(place, World()).order.state() for place in (run, tmp_path / "run"))
    assert all(torch.equal(first[name], second[name]) for name in first) and len(movie)


def order_on_ranks(world: World, directory: str, place: str) -> dict:
    summary = train(config_of(PreparedDataset(directory), Path(place)), world)
    return {name: summary[name] for name in ("test_ndcg@100", "validation_ndcg@100", "chosen")}


@pytest.mark.slow
def test_ranks_agree_with_one(dataset, run, tmp_path):
    summary = json.loads((run / "summary.json").read_text())
    for found in run_on_ranks(3, order_on_ranks, str(dataset.directory), str(tmp_path / "run")):
        assert found["chosen"] == summary["chosen"]
        assert found["test_ndcg@100"] == pytest.approx(summary["test_ndcg@100"], abs=1e-3)


def test_exports_and_recommendations_have_the_order_of_the_formula(dataset, run, tmp_path):
    shown = sequences(dataset, (TRAIN, VALIDATION))
    scores = dense_scores(dataset, run, shown)
    export(run, ExportOptions(tmp_path / "export"), World())
    manifest = json.loads((tmp_path / "export" / "manifest.json").read_text())
    assert manifest["order_of_likes"]["half_life"] == 8
    for source in (run, tmp_path / "export"):
        for row in (0, USERS - 1):
            table = recommend(source, RecommendOptions(user=str(dataset.users["user"].iloc[row]), top=5))
            allowed = scores[row].copy()
            allowed[sequences(dataset, (TRAIN, VALIDATION, TEST))[row]] = -np.inf
            best = dataset.movies["movie"].iloc[np.argsort(-allowed)[:5]]
            assert table["movie"].tolist() == best.tolist()


def test_new_users_are_embedded_in_the_order_of_their_likes(dataset, run, tmp_path):
    likes = [7, 8, 9, 30]
    movies = dataset.movies["movie"]
    tops = []
    for order in (likes, likes[::-1]):
        times = [1_600_000_000 + 100 * place for place in range(4)]
        file = pd.DataFrame({"userId": 9999, "movieId": movies.iloc[order], "rating": 5, "timestamp": times})
        file.to_csv(tmp_path / "new.csv", index=False)
        options = RecommendOptions(user="9999", top=5, ratings=tmp_path / "new.csv")
        tops.append(recommend(run, options)["movie"].tolist())
        expected = dense_scores(dataset, run, [order])[0]
        expected[order] = -np.inf
        assert tops[-1] == movies.iloc[np.argsort(-expected)[:5]].tolist()
    assert tops[0] != tops[1]


@pytest.mark.parametrize("order, protocol", [({"enabled": False}, "leave-last"), ({}, "strong"), ({}, "random")])
def test_where_order_is_not_fitted(order, protocol, tmp_path):
    data = write_chains(tmp_path / "data", protocol=protocol, validation=0.2, test=0.2)
    summary = train(config_of(data, tmp_path / "run", order, max_steps=2), World())
    assert "order_exponent" not in summary["chosen"] and load_run(tmp_path / "run", World()).order is None


def test_a_refit_takes_the_given_settings(dataset, tmp_path):
    given = {"exponent": 0.3, "next_weight": 2.0, "l2": 5.0}
    summary = train(config_of(dataset, tmp_path / "run", given, refit=True, max_steps=2), World())
    assert (summary["chosen"]["order_exponent"], summary["chosen"]["next_weight"]) == (0.3, 2.0)
    assert summary["validation_ndcg@100"] is None and summary["test_ndcg@100"] > 0
