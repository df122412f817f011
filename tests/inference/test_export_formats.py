"""Arrays, ids by row and the index of an export agree with its Parquet files."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pytest

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference import export_index
from gnnrec.inference.export_directory import ExportDirectory
from gnnrec.inference.small_vectors import read_vectors
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import ratings_table, write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.inference.exports import content, exported, names, table_of

USERS, MOVIES, DIM = 37, 29, 8
ALL = ["parquet,npy,faiss"]
FILES = {
    "users.npy", "user_bias.npy", "user_ids.parquet",
    "movies.npy", "movie_bias.npy", "movie_ids.parquet", "movies.faiss",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("formats")
    dataset = write_dataset(directory, USERS, MOVIES, shards=7)
    train(make_config(dataset.directory, directory / "run", optimizer={"lr": 0.05}), World())
    return directory / "run"


@pytest.fixture(scope="module", params=["float32", "float16"])
def out(request, run, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("out") / request.param
    exported(run, place, formats=ALL, dtype=request.param, part_rows=10)
    return place


def test_all_files_exist_and_are_in_the_manifest(out):
    manifest = ExportDirectory(out).manifest()
    assert manifest["formats"] == ["parquet", "npy", "faiss"]
    assert set(names(out)) == FILES | {"manifest.json", "users", "movies", "encoder"}
    assert set(manifest["files"]) == {name for name in content(out) if name != "manifest.json"}


def test_arrays_equal_the_columns_and_can_be_mapped(out):
    dtype = np.dtype(out.name)
    for kind in ("user", "movie"):
        ids, vectors, biases = table_of(out, kind)
        mapped = np.load(out / f"{kind}s.npy", mmap_mode="r")
        assert isinstance(mapped, np.memmap) and mapped.dtype == dtype and mapped.shape == vectors.shape
        np.testing.assert_array_equal(mapped, vectors)
        bias = np.load(out / f"{kind}_bias.npy", mmap_mode="r")
        assert bias.dtype == np.float32
        np.testing.assert_array_equal(bias, biases)
        frame = pd.read_parquet(out / f"{kind}_ids.parquet")
        assert list(frame.columns) == ["row", kind]
        np.testing.assert_array_equal(frame["row"], np.arange(len(ids)))
        np.testing.assert_array_equal(frame[kind], ids)


def test_the_index_finds_the_highest_scores(out):
    index = faiss.read_index(str(out / "movies.faiss"))
    _, users, _ = table_of(out, "user")
    _, movies, bias = table_of(out, "movie")
    users, movies = users.astype(np.float32), movies.astype(np.float32)
    found, rows = index.search(np.hstack([users, np.ones((len(users), 1), np.float32)]), 5)
    scores = users @ movies.T + bias
    np.testing.assert_allclose(found, -np.sort(-scores, 1)[:, :5], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(scores, rows, 1), found, rtol=1e-5, atol=1e-6)
    about = ExportDirectory(out).manifest()["index"]
    assert about["kind"] == "flat" and about["recall@20"] == 1.0 and about["recall_users"] == USERS
    assert (about["movies"], about["dim"], about["metric"]) == (MOVIES, DIM + 1, "inner product")


@pytest.mark.parametrize(("formats", "expected"), [(["npy"], 6), (["faiss"], 2), (["parquet"], 0), ([], 0)])
def test_only_requested_formats_are_written(run, tmp_path, formats, expected):
    manifest = exported(run, tmp_path / "out", formats=formats)
    found = {name for name in manifest["files"] if "/" not in name}
    assert len(found) == expected and found <= FILES
    assert manifest["formats"] == ["parquet", *(name for name in formats if name != "parquet")]
    assert ("index" in manifest) == ("faiss" in formats)


def export_on_rank(world: World, run: str, out: str) -> dict:
    return exported(Path(run), Path(out), world, formats=ALL, part_rows=10)


@pytest.mark.slow
def test_ranks_share_the_files(run, tmp_path):
    manifest = run_on_ranks(2, export_on_rank, str(run), str(tmp_path / "two"))[1]
    one = exported(run, tmp_path / "one", formats=ALL, part_rows=10)
    assert list(manifest["files"]) == list(one["files"]) and manifest["index"] == one["index"]
    for name in ("users.npy", "movies.npy"):
        two, expected = (np.load(tmp_path / each / name) for each in ("two", "one"))
        np.testing.assert_allclose(two, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("failing", sorted(FILES))
def test_a_file_that_cannot_be_written_is_named_and_written_by_the_next_call(run, tmp_path, monkeypatch, failing):
    write, written = ExportDirectory.write, []

    def fail(self, name, writer) -> None:
        written.append(name)
        if name == failing and written.count(name) == 1:
            write(
                self, name, lambda path: (writer(path), (_ for _ in ()).throw(OSError(28, "No space left on device")))
            )
        write(self, name, writer)

    monkeypatch.setattr(ExportDirectory, "write", fail)
    with pytest.raises(UserError, match=f"{failing}: cannot write it .No space left on device"):
        exported(run, tmp_path / "out", formats=ALL)
    assert failing not in names(tmp_path / "out") and not list((tmp_path / "out").glob("*.tmp"))
    exported(run, tmp_path / "out", formats=ALL)
    assert written.count("users/part-0000000000.parquet") == 1
    monkeypatch.undo()
    exported(run, tmp_path / "expected", formats=ALL)
    assert content(tmp_path / "out") == content(tmp_path / "expected")


def test_other_formats_are_another_export(run, tmp_path):
    exported(run, tmp_path / "out", formats=["npy"])
    with pytest.raises(UserError, match="with formats parquet,npy, not parquet:"):
        exported(run, tmp_path / "out")


def test_string_ids(tmp_path):
    table = ratings_table(12, 10, 80)
    table["userId"], table["movieId"] = "u" + table["userId"].astype(str), "tt0" + table["movieId"].astype(str)
    table.to_csv(tmp_path / "ratings.csv", index=False)
    prepare(tmp_path / "prepared", PrepareOptions(ratings=tmp_path / "ratings.csv"))
    train(make_config(tmp_path / "prepared", tmp_path / "run", max_steps=1), World())
    exported(tmp_path / "run", tmp_path / "out", formats=["npy"], part_rows=5)
    found = pd.read_parquet(tmp_path / "out" / "user_ids.parquet")
    assert list(found["user"]) == list(table_of(tmp_path / "out", "user")[0]) and set(found["user"]) == set(
        table["userId"]
    )


def test_an_unknown_format_and_one_whose_package_is_missing(run, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--formats csv: choose from parquet, npy, faiss"):
        exported(run, tmp_path / "out", formats=["npy,csv"])
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"--formats faiss needs the package faiss: pip install 'gnnrec\[ann\]'"):
        exported(run, tmp_path / "out", formats=["faiss"])
    exported(run, tmp_path / "out", formats=["npy"])


def test_an_mlp_head_has_no_index(run, tmp_path):
    config = make_config(run.parent / "prepared", tmp_path / "run", model={"head": "mlp", "head_dim": 3}, max_steps=1)
    train(config, World())
    with pytest.raises(UserError, match="--formats faiss: .*has the mlp head"):
        exported(tmp_path / "run", tmp_path / "out", formats=["faiss"])
    assert names(tmp_path) == ["run"]


@dataclasses.dataclass
class Vectors:
    """Files of users and movies with known scores."""

    users: list[Path]
    movies: list[Path]
    scores: np.ndarray


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Vectors:
    """Movies with long-tailed norms and biases, and users of a few directions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    place, rng = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    directions = rng.normal(size=(4, DIM))
    found = {}
    for kind, rows in (("users", 300), ("movies", 3000)):
        vectors = rng.normal(size=(rows, 4)) @ directions + 0.2 * rng.normal(size=(rows, DIM))
        vectors = (vectors * np.exp(rng.normal(0, 0.5, (rows, 1)))).astype(np.float32)
        bias = rng.normal(size=rows).astype(np.float32)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM)
        pq.write_table(pa.table({"embedding": lists, "bias": bias}), place / f"{kind}.parquet")
        found[kind] = vectors, bias
    scores = found["users"][0] @ found["movies"][0].T + found["movies"][1]
    return Vectors([place / "users.parquet"], [place / "movies.parquet"], scores)


def read_all(paths: list[Path]) -> np.ndarray:
    return next(read_vectors(paths, DIM, DIM, "float32"))


def test_a_graph_of_many_movies_has_the_stated_recall(many, tmp_path, monkeypatch):
    monkeypatch.setattr(export_index, "FLAT_MOVIES", 100)
    for name in ("first", "second"):
        export_index.write_index(many.users, many.movies, read_all, tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    about = export_index.describe_index(tmp_path / "first", many.users, many.movies, read_all)
    assert about["kind"] == "HNSW" and about["recall_users"] == 300 and 0.9 < about["recall@20"] <= 1

    index = faiss.read_index(str(tmp_path / "first"))
    assert index.hnsw.efSearch == about["ef_search"]
    _, rows = index.search(export_index.sample_queries(many.users, read_all), 20)
    best = np.argsort(-many.scores, 1)[:, :20]
    recall = np.mean([len(set(a) & set(b)) / 20 for a, b in zip(rows, best)])
    assert about["recall@20"] == pytest.approx(recall, abs=2e-4)


def test_a_worse_index_has_a_lower_recall(many, tmp_path, monkeypatch):
    monkeypatch.setattr(export_index, "FLAT_MOVIES", 100)
    monkeypatch.setattr(export_index, "LINKS", 2)
    monkeypatch.setattr(export_index, "WIDTHS", (1,))
    export_index.write_index(many.users, many.movies, read_all, tmp_path / "index")
    assert export_index.describe_index(tmp_path / "index", many.users, many.movies, read_all)["recall@20"] < 0.9


@pytest.mark.slow
def test_searches_are_widened_until_recall_is_enough(many, tmp_path, monkeypatch):
    monkeypatch.setattr(export_index, "FLAT_MOVIES", 100)
    monkeypatch.setattr(export_index, "WIDTHS", (1, 20, 50, 3000))
    export_index.write_index(many.users, many.movies, read_all, tmp_path / "index")
    about = export_index.describe_index(tmp_path / "index", many.users, many.movies, read_all)
    assert about["ef_search"] > 1 and about["recall@20"] >= 0.98


def test_movies_with_equal_scores_count_as_equally_good():
    vectors = np.repeat(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), 30, 0)
    index = faiss.IndexFlatIP(2)
    index.add(vectors[::-1].copy())
    # Rows of the index are those of the vectors turned round, so that other movies of the same scores are found.
    assert export_index.recall(index, vectors[::-1], np.ones((3, 2), np.float32)) == 1.0
    assert export_index.recall(index, vectors, np.array([[1.0, 0.0]], np.float32)) == 0.0
