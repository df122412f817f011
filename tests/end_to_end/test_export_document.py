"""The examples in docs/export.md run as they stand, and find the movies that the model would recommend."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gnnrec
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TRAIN
from gnnrec.distributed.world import World
from gnnrec.graph.interactions import read_interactions
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.generations.delta import write_delta
from gnnrec.inference.generations.stored_rows import StoredRows
from gnnrec.inference.load import load_run
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import ratings_table
from tests.end_to_end.commands import ROOT
from tests.inference.exports import exported, table_of
from tests.inference.made_export import make_dataset, make_export
from tests.inference.test_export import model_scores

pytestmark = pytest.mark.slow

USER, USERS, MOVIES = 42, 60, 30
#: By heading; Spark's is not run.
EXAMPLES = dict(
    re.findall(
        r"^##+ ([^\n]+)\n(?:(?!^##).)*?^```python\n(.*?)^```", (ROOT / "docs" / "export.md").read_text(), re.M | re.S
    )
)
#: Heading -> the directory and the type of the export that it reads.
SMALL = {
    "Small vectors in pandas": ("small", "int8"),
    "Small vectors in DuckDB": ("small", "int8"),
    "Signs in NumPy": ("signs", "binary"),
}
DELTAS = ["Deltas in pandas", "Deltas in DuckDB", "Deltas in a FAISS index"]
ENCODER = "Encoder of users"
RUN = sorted(set(EXAMPLES) - {"Spark", "How to score a pair", ENCODER, *DELTAS, *SMALL})


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Runs by head; users have ids from 1 on."""
    directory, made = tmp_path_factory.mktemp("document"), {}
    table = ratings_table(USERS, MOVIES, 600)
    table["userId"] = (table["userId"] - 7) // 3 + 1
    table.to_csv(directory / "ratings.csv", index=False)
    prepare(directory / "prepared", PrepareOptions(ratings=directory / "ratings.csv", validation=0.1))
    for head in ("dot", "mlp"):
        made[head] = directory / head
        model = {"head": head, "head_dim": 5}
        config = make_config(directory / "prepared", made[head], model=model, optimizer={"lr": 0.05}, interest={})
        train(config, World())
    return made


def export_of(run: Path, place: Path, *formats: str) -> tuple[pd.Series, pd.Series]:
    """Exports to where the document has it; returns the model's ratings by the user, and its scores, by movie."""
    exported(run, place / "export" / "mine", formats=list(formats), part_rows=13)
    users, movies = (table_of(place / "export" / "mine", kind)[0] for kind in ("user", "movie"))
    row, loaded = list(users).index(USER), load_run(run, World())
    train_ratings = read_interactions(loaded.dataset, loaded.part, (TRAIN,), None, torch.device("cpu"))
    interest = loaded.interest.scores(train_ratings)[row].double().numpy()
    ratings = pd.Series(model_scores(run)[row], movies)
    return ratings, ratings + interest * loaded.rating_unit.std / loaded.interest.rating_weight


def run_example(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.chdir(place)
    found: dict = {}
    exec(compile(EXAMPLES[name], f"docs/export.md, {name}", "exec"), found)
    return found


def movies_of(best) -> list:
    return list(best["movie"]) if "movie" in getattr(best, "columns", ()) else list(best.index)


def test_every_way_that_the_document_names_is_there():
    vectors = {"pandas", "PyArrow", "Polars", "DuckDB", "Spark", "NumPy", "FAISS", "How to score a pair", ENCODER}
    assert vectors | {*DELTAS, *SMALL} == set(EXAMPLES)
    compile(EXAMPLES["Spark"], "Spark", "exec")


@pytest.mark.parametrize("name", RUN)
def test_an_example_finds_the_best_movies(runs, tmp_path, monkeypatch, name):
    ratings, scores = export_of(runs["dot"], tmp_path, "npy", "faiss")
    expected = scores.nlargest(10)
    assert expected.diff().abs().min() > 1e-5, "their order is not certain"
    found = run_example(name, tmp_path, monkeypatch)
    assert movies_of(found["best"]) == list(expected.index)
    scores = found["best"]["score"].to_numpy() if hasattr(found["best"], "columns") else found["best"].to_numpy()
    if name == "FAISS":
        np.testing.assert_allclose(scores, expected, rtol=1e-5)
    else:  # without what is the same for all movies
        np.testing.assert_allclose(scores - scores[0], expected - expected.iloc[0], rtol=1e-4, atol=1e-5)
    if name == "pandas":
        np.testing.assert_allclose(found["shown"], ratings[expected.index].clip(0.5, 5), rtol=1e-5)


def test_the_encoder_finds_the_best_movies_of_a_new_user(runs, tmp_path, monkeypatch):
    export_of(runs["dot"], tmp_path)
    found = run_example(ENCODER, tmp_path, monkeypatch)["best"]
    ids = table_of(tmp_path / "export" / "mine", "movie")[0]
    new = pd.DataFrame({"userId": 777, "movieId": ids[[3, 0, 7]], "rating": [5.0, 1.0, 4.0]})
    expected = gnnrec.recommend(runs["dot"], 777, ratings=new)
    assert list(found.index) == expected["movie"].tolist()
    np.testing.assert_allclose(found, expected["score"], rtol=1e-5)


def test_the_batches_of_pyarrow_are_all_users(runs, tmp_path, monkeypatch):
    export_of(runs["dot"], tmp_path)
    vectors = table_of(tmp_path / "export" / "mine", "user")[1]
    found = run_example("PyArrow", tmp_path, monkeypatch)
    assert found["longest"] == pytest.approx(np.linalg.norm(vectors, axis=1).max(), rel=1e-6)


def test_the_example_of_an_mlp_head(runs, tmp_path, monkeypatch):
    expected = export_of(runs["mlp"], tmp_path)[0].nlargest(10)
    found = run_example("How to score a pair", tmp_path, monkeypatch)["best"]
    assert list(found.index) == list(expected.index)
    np.testing.assert_allclose(found, expected.clip(0.5, 5), rtol=1e-5)


@pytest.mark.parametrize("name", ["pandas", "PyArrow", "Polars", "NumPy", "FAISS"])
def test_half_precision_is_read_by_those_that_are_said_to(runs, tmp_path, monkeypatch, name):
    exported(runs["dot"], tmp_path / "export" / "mine", formats=["npy,faiss"], dtype="float16")
    best = run_example(name, tmp_path, monkeypatch)["best"]
    ids, vectors, bias = table_of(tmp_path / "export" / "mine", "movie")
    users, user_vectors, _ = table_of(tmp_path / "export" / "mine", "user")
    scores = vectors.astype(np.float64) @ user_vectors[list(users).index(USER)].astype(np.float64) + bias
    expected = pd.Series(scores, ids)
    # Half precision sums are not exact, so that the last of ten may be another one.
    assert len(movies_of(best)) == 10 and expected[movies_of(best)].min() > expected.nlargest(10).min() - 0.01


@pytest.mark.parametrize("name", SMALL)
def test_small_vectors_are_read(runs, tmp_path, monkeypatch, name):
    folder, dtype = SMALL[name]
    _, scores = export_of(runs["dot"], tmp_path)
    manifest = exported(runs["dot"], tmp_path / "export" / folder, dtype=dtype)
    best = run_example(name, tmp_path, monkeypatch)["best"]
    found = best.set_index("movie")["score"] if hasattr(best, "columns") else best
    exact = scores[found.index]
    apart = (exact - found) - (exact - found).iloc[0]
    assert len(found) == 10 and apart.abs().max() < 10 * manifest["quantization"]["score_rmse"]
    assert exact.min() > scores.nlargest(10).min() - 10 * manifest["quantization"]["score_rmse"]


@pytest.mark.parametrize("changed", [True, False])
@pytest.mark.parametrize("name", DELTAS)
def test_a_delta_is_applied(tmp_path, monkeypatch, name, changed):
    """The later export has other movies too, or is the same."""
    export = tmp_path / "export"
    few, all_of_them = make_dataset(tmp_path / "few", movies=20), make_dataset(tmp_path / "all")
    exports = [make_export(all_of_them, export / "mine")]
    exports.append(make_export(few if changed else all_of_them, export / "next", seed=int(changed)))
    write_delta(*(StoredRows(out, read_manifest(out)) for out in exports), export / "delta", overwrite=False)
    found = run_example(name, tmp_path, monkeypatch)
    ids, vectors, bias = table_of(export / "next", "movie")
    if name == "Deltas in a FAISS index":
        assert found["index"].ntotal == len(ids) == (20 if changed else 29)
        rows = np.stack([found["index"].reconstruct(int(movie)) for movie in ids])
    else:
        movies = found["movies"]
        movies = movies.set_index("movie") if "movie" in movies.columns else movies
        assert sorted(movies.index) == sorted(ids)
        rows = np.column_stack([np.stack(movies.loc[ids, "embedding"]), movies.loc[ids, "bias"]])
    np.testing.assert_array_equal(rows, np.column_stack([vectors, bias]))
