"""Exports of one byte a column: what they lose is measured, and every reader of exports understands them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export_vectors import ExportVectors
from gnnrec.inference.export_verify import VerifyOptions, verify
from gnnrec.inference.generations.delta import open_delta
from gnnrec.inference.small_loss import measure_loss
from gnnrec.inference.small_vectors import SignScheme, decode, quantize
from gnnrec.training.run import train
from gnnrec.utils.files import sha256
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.inference.exports import exported


def test_a_row_is_rounded_to_254_steps_of_its_largest_entry():
    vectors = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32) * np.float32(1e-3)
    vectors[:, 8:] *= 1e6
    vectors[7] = 0
    columns = quantize(vectors, 8)
    assert set(columns) == {"embedding", "scale", "interest_scale"} and columns["embedding"].dtype == np.int8
    for name, block in (("scale", slice(0, 8)), ("interest_scale", slice(8, 12))):
        largest = np.abs(vectors[:, block]).max(1)
        np.testing.assert_allclose(columns[name], largest / 127, rtol=2**-15)
        error = np.abs(decode(columns, 8) - vectors)[:, block].max(1)
        assert (error <= largest / 254 * 1.001).all()
    assert (np.abs(columns["embedding"][np.arange(50) != 7]).max(1) == 127).all()
    assert not columns["embedding"][7].any() and not decode(columns, 8)[7].any()


@pytest.mark.parametrize("own", [5, 12])
def test_vectors_of_an_export_are_written_again_bit_for_bit(own):
    """Rows of a parent stay as they are in each export that follows."""
    vectors = np.random.default_rng(1).standard_cauchy(size=(2000, 12)).astype(np.float32)
    once = quantize(vectors, own)
    again = quantize(decode(once, own), own)
    assert once.keys() == again.keys()
    for name, values in once.items():
        np.testing.assert_array_equal(again[name], values)


def test_signs_estimate_scores_up_to_a_constant_for_each_user():
    """Vectors at the corners of a box have no error but the mean of all movies, which every user has in all scores."""
    rng = np.random.default_rng(2)
    signs, size = rng.choice([-1.0, 1.0], (16, 11)), rng.uniform(0.5, 2, 11)
    signs = np.concatenate([signs, -signs])  # their mean is zero
    center, length = rng.normal(size=11), np.repeat(1.0, 32)
    movies = (center + signs * size * length[:, None]).astype(np.float32)
    users, bias = rng.normal(size=(7, 11)).astype(np.float32), rng.normal(size=32).astype(np.float32)
    scheme = SignScheme.fit(movies)
    columns = scheme.columns(movies)
    assert columns["signs"].shape == (32, 2)
    estimated = scheme.estimate(users, columns["signs"], columns["sign_size"], bias)
    rest = users @ movies.T + bias - estimated
    np.testing.assert_allclose(rest, np.repeat(rest[:, :1], 32, 1), atol=1e-4)


def test_the_first_pass_over_signs_decides_which_movies_are_candidates():
    """With more movies than candidates; an estimate in float64, and a full sort, find the same."""
    rng = np.random.default_rng(3)
    users, movies = (rng.normal(size=(rows, 24)).astype(np.float32) for rows in (150, 2500))
    movies += rng.normal(size=24).astype(np.float32)
    bias = rng.normal(size=2500).astype(np.float32)
    scheme = SignScheme.fit(movies)
    small, small_users = (decode(quantize(vectors, 24), 24).astype(np.float64) for vectors in (movies, users))
    signs = np.where(small >= scheme.center, 1.0, -1.0)
    sizes = np.mean(np.abs(small - scheme.center) / scheme.size, axis=1)
    estimated = (small_users * scheme.size) @ signs.T * sizes + bias
    candidates = np.argsort(-estimated, 1)[:, :400]
    found = np.take_along_axis(small_users @ small.T + bias, candidates, 1)
    listed = np.take_along_axis(candidates, np.argsort(-found, 1)[:, :20], 1)
    best = np.argsort(-(users.astype(np.float64) @ movies.T + bias), 1)[:, :20]
    expected = np.mean([len(set(one) & set(other)) / 20 for one, other in zip(listed, best)])
    entry = measure_loss(users, movies, bias, 24, scheme)
    assert entry["signs"]["recall@20"] == pytest.approx(expected, abs=1e-3)
    assert 0.5 < expected < entry["recall@20"] - 0.01, "some of the best movies are no candidates"
    poor = measure_loss(users, movies, bias, 24, SignScheme(scheme.center - 3, scheme.size))
    assert poor["signs"]["recall@20"] < expected - 0.1 and poor["recall@20"] == entry["recall@20"]
    # Signs, their size and the bias of a movie are read.
    assert entry["signs"]["first_pass_bytes"] == 24 // 8 + 4 + 4


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Two trainings with interest from different seeds, and one with an MLP head."""
    place = tmp_path_factory.mktemp("small")
    data = write_dataset(place / "data", 37, 29, shards=7)
    words: dict[str, dict] = {"one": {"seed": 1}, "two": {"seed": 2}, "mlp": {"model": {"head": "mlp", "head_dim": 3}}}
    for name, options in words.items():
        train(make_config(data.directory, place / name, optimizer={"lr": 0.05}, interest={}, **options), World())
    return {name: place / name for name in words}


def vectors_of(out: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns vectors of users, vectors of movies and biases of movies as readers of exports have them."""
    source = ExportVectors(out)
    return source.block(range(source.num_users)).vectors, source.scoring.movies, source.scoring.bias


def table_of(out: Path, kind: str) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted((out / kind).iterdir()))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "binary"])
def test_the_loss_in_the_manifest_is_that_of_the_files(runs, tmp_path, dtype):
    whole, small = tmp_path / "whole", tmp_path / "small"
    exported(runs["one"], whole)
    manifest = exported(runs["one"], small, dtype=dtype, formats=["npy", "faiss"], part_rows=10)
    verify(small, VerifyOptions())
    users, movies, bias = vectors_of(small)
    exact_users, exact_movies, exact_bias = vectors_of(whole)
    exact, found = exact_users @ exact_movies.T + exact_bias, users @ movies.T + bias
    entry = manifest["quantization"]
    assert entry["score_rmse"] == pytest.approx(np.sqrt(np.mean((exact - found) ** 2)), rel=1e-3)
    assert 0 < entry["score_rmse"] < 0.05 * exact.std()
    best = (np.argsort(-scores, 1)[:, :20] for scores in (exact, found))
    recall = np.mean([len(set(one) & set(other)) / 20 for one, other in zip(*best)])
    assert entry["recall@20"] == pytest.approx(recall, abs=1e-3) and recall > 0.95
    assert entry["float32_bytes"] / entry["vector_bytes"] == 4 * movies.shape[1] / (movies.shape[1] + 8)
    assert manifest["index"]["recall@20"] == 1.0
    arrays = [np.load(small / name) for name in ("movies.npy", "movie_scale.npy", "movie_interest_scale.npy")]
    columns = dict(zip(("embedding", "scale", "interest_scale"), arrays, strict=True))
    np.testing.assert_array_equal(decode(columns, manifest["interest"]["columns"][0]), movies)
    if dtype == "binary":
        table, signs = table_of(small, "movies"), entry["signs"]
        bits = np.unpackbits(np.stack([np.frombuffer(row, np.uint8) for row in table["signs"].to_pylist()]), axis=1)
        np.testing.assert_array_equal(bits[:, : movies.shape[1]], movies >= np.array(signs["center"], np.float32))
        assert signs["candidates"] == 400 and signs["recall@20"] == entry["recall@20"], "all movies are candidates"
        assert signs["reranked_bytes"] == 400 * entry["vector_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "binary"])
def test_generations_of_small_vectors(runs, tmp_path, dtype):
    first, second, delta = tmp_path / "first", tmp_path / "second", tmp_path / "delta"
    exported(runs["one"], first, dtype=dtype)
    for run, tolerance in (("one", 0.02), ("two", 0.0)):
        exported(runs[run], second, dtype=dtype, parent=first, delta=delta, tolerance=tolerance, overwrite=True)
        verify(second, VerifyOptions(base=first, deltas=[str(delta)]))
        changed = open_delta(delta).manifest["movies"]
        assert changed == 0 if run == "one" else changed > 20
    alone = tmp_path / "alone"
    exported(runs["two"], alone)
    scores = [users @ movies.T + bias for users, movies, bias in map(vectors_of, (second, alone))]
    apart = scores[0] - scores[1]
    assert np.std(apart - apart.mean(1, keepdims=True)) < 0.05 * np.std(scores[1])
    with pytest.raises(UserError, match=f"pass --dtype {dtype}"):
        exported(runs["two"], tmp_path / "other", parent=first)


@pytest.mark.slow
def test_mistakes_with_small_vectors(runs, tmp_path):
    with pytest.raises(UserError, match="--dtype int8: needs a model with the dot head, and this one has the mlp head"):
        exported(runs["mlp"], tmp_path / "mlp", dtype="int8")
    out = tmp_path / "out"
    exported(runs["one"], out, dtype="binary")
    path = next((out / "movies").iterdir())
    pq.write_table(pq.read_table(path).drop_columns("signs"), path)
    manifest = json.loads((out / "manifest.json").read_text())
    name = f"movies/{path.name}"
    manifest["files"][name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="part-0000000000.parquet has columns"):
        verify(out, VerifyOptions())
