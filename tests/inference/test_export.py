"""Exported files have every raw id once and the scores of the model, on any number of ranks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.batch import Targets
from gnnrec.inference.load import load_run
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import ratings_table, write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.inference.exports import exported, names, table_of
from tests.inference.recommended import recommend

USERS, MOVIES, DIM = 37, 29, 8


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("export"), USERS, MOVIES, shards=7)


@pytest.fixture(scope="module", params=["dot", "mlp"])
def run(request, dataset, tmp_path_factory) -> Path:
    """A run of enough steps to change the head."""
    run_dir = tmp_path_factory.mktemp("runs") / request.param
    model = {"layers": 2, "head": request.param, "head_dim": 5}
    train(make_config(dataset.directory, run_dir, model=model, optimizer={"lr": 0.05}), World())
    return run_dir


@pytest.fixture(scope="module")
def dot_run(dataset, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    train(make_config(dataset.directory, run_dir, max_steps=2), World())
    return run_dir


def model_scores(run: Path) -> np.ndarray:
    """Ratings of all pairs by the model."""
    loaded = load_run(run, World())
    users, movies = loaded.dataset.num_users, loaded.dataset.num_movies
    movie = torch.arange(movies, dtype=torch.int32).repeat(users)
    pairs = Targets(torch.arange(users + 1) * movies, movie, torch.zeros(len(movie)), len(movie))
    with torch.no_grad():
        scores = loaded.rating_unit.restore(loaded.model.score(loaded.embed(), pairs))
    return scores.view(users, movies).double().numpy()


def own_scores(out: Path) -> np.ndarray:
    """Ratings of all pairs from the exported files, by the formula of the manifest, without the columns of interest."""
    manifest = json.loads((out / "manifest.json").read_text())
    _, user, user_bias = table_of(out, "user")
    _, movie, movie_bias = table_of(out, "movie")
    dim = manifest.get("interest", {"columns": [manifest["dim"]]})["columns"][0]
    user, movie = user[:, :dim].astype(np.float64), movie[:, :dim].astype(np.float64)
    biases = manifest["offset"] + user_bias[:, None] + movie_bias[None]
    if manifest["head"] == "dot":
        assert "dot(user.embedding, movie.embedding)" in manifest["score"]
        return biases + user @ movie.T
    head = np.load(out / "head.npz")
    hidden = (user @ head["user.weight"].T + head["user.bias"])[:, None] + (movie @ head["movie.weight"].T)[None]
    return biases + np.maximum(hidden, 0) @ head["out.weight"][0]


@pytest.mark.slow
def test_scores_from_the_files_equal_those_of_the_model(run, tmp_path):
    exported(run, tmp_path / "out", chunk=5)
    expected = model_scores(run)
    assert expected.std() > 0.1
    np.testing.assert_allclose(own_scores(tmp_path / "out"), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["dot", "mlp"])
@pytest.mark.parametrize("ratings", [False, True], ids=["users of the dataset", "users of a file"])
def test_the_order_of_the_files_is_that_of_interest_and_rating(dataset, tmp_path, head, ratings):
    """Interest is computed here by NumPy from the ratings alone: EASE, standardized for each user."""
    model = {"head": head, "head_dim": 5}
    fixed = {"l2": 5.0, "num_factors": 6, "rating_weight": 0.6}
    train(make_config(dataset.directory, tmp_path / "run", model=model, interest=fixed), World())
    table = ratings_table(USERS, MOVIES, 431).iloc[::2].assign(userId=lambda rows: rows["userId"] + 1_000_000)
    table.to_csv(tmp_path / "new.csv", index=False)
    options = {"ratings": tmp_path / "new.csv"} if ratings else {}
    manifest = exported(tmp_path / "run", tmp_path / "out", chunk=5, part_rows=10, **options)

    train_rated = np.zeros((USERS, MOVIES))
    owner = np.repeat(np.arange(USERS), np.diff(dataset.user_ptr))
    known = np.array(dataset.split) == TRAIN
    train_rated[owner[known], dataset.movie[known]] = 1
    inverse = np.linalg.inv(train_rated.T @ train_rated + 5.0 * np.eye(MOVIES))
    weights = np.eye(MOVIES) - inverse / np.diag(inverse)
    right = np.linalg.svd(train_rated @ weights)[2][:6]
    ids, users, user_bias = table_of(tmp_path / "out", "user")
    shown = train_rated
    if ratings:
        rows, columns = pd.Index(ids), pd.Index(dataset.movies["movie"])
        shown = np.zeros((len(ids), MOVIES))
        shown[rows.get_indexer(table["userId"]), columns.get_indexer(table["movieId"])] = 1
    scores = shown @ weights @ right.T @ right
    centered = scores - scores.mean(1, keepdims=True)
    deviation = np.where(shown.any(1), scores.std(1), 1)[:, None]

    _, movies, movie_bias = table_of(tmp_path / "out", "movie")
    assert manifest["dim"] == DIM + 6 and manifest["interest"]["columns"] == [DIM, DIM + 6]
    product = users[:, DIM:] @ movies[:, DIM:].T
    np.testing.assert_allclose(product / manifest["interest"]["scale"], centered / deviation, atol=1e-4)
    norm = pd.read_parquet(tmp_path / "out" / "users")["interest_norm"].to_numpy()[:, None]
    np.testing.assert_allclose(product / manifest["interest"]["scale"] * norm, centered, atol=1e-4)
    predicted = own_scores(tmp_path / "out")  # the columns of the rating give the rating
    if not ratings:
        np.testing.assert_allclose(predicted, model_scores(tmp_path / "run"), rtol=1e-5, atol=1e-5)
    if head == "dot":
        one_product = manifest["offset"] + user_bias[:, None] + movie_bias + users @ movies.T
        np.testing.assert_allclose(one_product, predicted + product, rtol=1e-4, atol=1e-4)
    std = dataset.manifest.rating["std"]
    order = np.argsort(-(centered / deviation + 0.6 * predicted / std), axis=1, kind="stable")
    options |= {"top": MOVIES}
    for row in range(0, len(ids), 7):
        found = recommend(tmp_path / "out", RecommendOptions(str(ids[row]), **options))
        rated = (
            set(dataset.movie[dataset.user_ptr[row] : dataset.user_ptr[row + 1]])
            if not ratings
            else set(np.flatnonzero(shown[row]))
        )
        expected = dataset.movies["movie"].to_numpy()[[movie for movie in order[row] if movie not in rated]]
        assert (found["movie"].to_numpy() == expected).mean() > 0.9  # float32 swaps near ties


def test_every_raw_id_occurs_once_in_row_order(dataset, dot_run, tmp_path):
    exported(dot_run, tmp_path / "out")
    source = ratings_table(USERS, MOVIES, 431)
    for kind, column, rows in (("user", "userId", dataset.users), ("movie", "movieId", dataset.movies)):
        ids, vectors, biases = table_of(tmp_path / "out", kind)
        assert set(ids) == set(source[column]) and len(ids) == len(set(ids))
        np.testing.assert_array_equal(ids, rows[kind])
        assert vectors.shape == (len(ids), DIM) and vectors.dtype == np.float32
        assert biases.shape == (len(ids),) and biases.dtype == np.float32


def test_string_ids_stay_strings(tmp_path):
    table = ratings_table(12, 10, 80)
    table["userId"], table["movieId"] = "u" + table["userId"].astype(str), "tt0" + table["movieId"].astype(str)
    table.to_csv(tmp_path / "ratings.csv", index=False)
    prepare(tmp_path / "prepared", PrepareOptions(ratings=tmp_path / "ratings.csv"))
    train(make_config(tmp_path / "prepared", tmp_path / "run", max_steps=1), World())
    exported(tmp_path / "run", tmp_path / "out")
    assert set(table_of(tmp_path / "out", "user")[0]) == set(table["userId"])
    assert set(table_of(tmp_path / "out", "movie")[0]) == set(table["movieId"])


def test_the_manifest_has_size_and_checksum_of_every_file(dataset, run, tmp_path):
    out = tmp_path / "out"
    returned = exported(run, out)
    manifest = json.loads((out / "manifest.json").read_text())
    assert returned == manifest
    assert (manifest["users"], manifest["movies"]) == (dataset.num_users, dataset.num_movies)
    assert (manifest["dim"], manifest["dtype"]) == (DIM, "float32")
    assert manifest["dataset_fingerprint"] == dataset.fingerprint
    assert manifest["model_fingerprint"] == load_run(run, World()).info.fingerprint
    assert manifest["rating_scale"] == [dataset.manifest.rating["min"], dataset.manifest.rating["max"]]
    there = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == set(there) - {"manifest.json"}
    assert ("head.npz" in there) == (manifest["head"] == "mlp")
    for name, entry in manifest["files"].items():
        content = there[name].read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_parts_have_the_requested_rows_and_are_named_after_the_first(dot_run, tmp_path):
    exported(dot_run, tmp_path / "whole")
    exported(dot_run, tmp_path / "parts", part_rows=10)
    for kind, count in (("user", USERS), ("movie", MOVIES)):
        paths = sorted((tmp_path / "parts" / f"{kind}s").iterdir())
        assert [path.name for path in paths] == [f"part-{first:010d}.parquet" for first in range(0, count, 10)]
        assert [pq.read_metadata(path).num_rows for path in paths] == [
            min(10, count - first) for first in range(0, count, 10)
        ]
        # Users of a part are embedded together: how they are cut rounds sums in another way.
        for a, b in zip(table_of(tmp_path / "whole", kind), table_of(tmp_path / "parts", kind)):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_float16_is_float32_rounded(dot_run, tmp_path):
    for dtype in ("float16", "float32"):
        manifest = exported(dot_run, tmp_path / dtype, dtype=dtype)
        assert manifest["dtype"] == dtype
        schema = pq.read_schema(next((tmp_path / dtype / "users").iterdir()))
        kind = {"float16": pa.float16(), "float32": pa.float32()}[dtype]
        assert schema.field("embedding").type == pa.list_(kind, DIM)
        assert schema.field("bias").type == pa.float32()
    for kind in ("user", "movie"):
        half, single = (table_of(tmp_path / dtype, kind)[1] for dtype in ("float16", "float32"))
        np.testing.assert_array_equal(half, single.astype(np.float16))
    np.testing.assert_allclose(own_scores(tmp_path / "float16"), model_scores(dot_run), atol=5e-3)


@pytest.mark.slow
def test_last_and_best_checkpoints_differ(dataset, tmp_path):
    config = make_config(
        dataset.directory, tmp_path / "run", optimizer={"lr": 0.3, "epochs": 4, "schedule": "constant"},
        regularization={"ids": 0.0, "messages": 0.0, "biases": 0.0}, model={"message_dropout": 0.0, "dropout": 0.0},
    )  # fmt: skip
    assert train(config, World())["best_epoch"] < 4
    vectors = []
    for name in ("best", "last"):
        manifest = exported(tmp_path / "run", tmp_path / name, checkpoint=name)
        assert manifest["model_fingerprint"] == load_run(tmp_path / "run", World(), name).info.fingerprint
        vectors.append(table_of(tmp_path / name, "movie")[1])
    assert not np.allclose(*vectors)


@pytest.mark.parametrize("option", ["chunk", "part_rows"])
def test_sizes_must_be_positive(dot_run, tmp_path, option):
    with pytest.raises(UserError, match=f"--{option.replace('_', '-')} 0: must be at least 1"):
        exported(dot_run, tmp_path / "out", **{option: 0})
    assert names(tmp_path) == []


def test_a_moved_dataset_is_found_by_option(dataset, tmp_path):
    moved = write_dataset(tmp_path / "here", USERS, MOVIES, shards=7)
    train(make_config(moved.directory, tmp_path / "run", max_steps=1), World())
    moved.directory.rename(tmp_path / "there")
    lost = f"{moved.directory}, the dataset that .*run was trained on, does not exist: pass its path with --data"
    with pytest.raises(UserError, match=lost):
        exported(tmp_path / "run", tmp_path / "out")
    exported(tmp_path / "run", tmp_path / "out", data=tmp_path / "there")
    assert set(table_of(tmp_path / "out", "user")[0]) == set(dataset.users["user"])


def export_on_rank(world: World, run: str, out: str) -> dict:
    return exported(Path(run), Path(out), world, chunk=5, part_rows=8)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_many_ranks_export_the_same_as_one(dataset: PreparedDataset, dot_run, tmp_path, ranks):
    one = export_on_rank(World(), str(dot_run), str(tmp_path / "one"))
    found = run_on_ranks(ranks, export_on_rank, str(dot_run), str(tmp_path / "many"))
    assert names(tmp_path) == ["many", "one"] and names(tmp_path / "many") == names(tmp_path / "one")
    for manifest in found:
        assert manifest == json.loads((tmp_path / "many" / "manifest.json").read_text())
        assert list(manifest) == list(one) and list(manifest["files"]) == list(one["files"])
        for name in set(one) - {"files", "offset"}:
            assert manifest[name] == one[name]
        assert manifest["offset"] == pytest.approx(one["offset"], rel=1e-6)
    for kind in ("user", "movie"):
        ids, vectors, biases = table_of(tmp_path / "one", kind)
        found_ids, found_vectors, found_biases = table_of(tmp_path / "many", kind)
        np.testing.assert_array_equal(found_ids, ids)
        np.testing.assert_allclose(found_vectors, vectors, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found_biases, biases, rtol=1e-5, atol=1e-6)
    frame = pd.read_parquet(tmp_path / "many" / "users")
    assert sorted(frame["user"]) == sorted(dataset.users["user"])
