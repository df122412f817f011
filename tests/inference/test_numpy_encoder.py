"""Users encoded in NumPy have the vectors that the model itself gives them, for all kinds of models."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.new_users import read_new_users
from gnnrec.inference.numpy_users.encoder import EncoderFiles, NumpyEncoder
from gnnrec.inference.numpy_users.run_arrays import encoder_files
from gnnrec.models.layers import architectures
from tests.inference.encoder_models import MODELS, make_runs, opened, ratings_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    return make_runs(tmp_path_factory.mktemp("numpy encoder"), list(MODELS))


def test_every_architecture_is_among_the_models():
    named = {options.get("model", {}).get("architecture", "sage") for _, options in MODELS.values()}
    assert named == set(architectures())


def new_users(loaded, place: Path):
    """Copies of users of the dataset, as new users; the first one has a single rating, and the last one none."""
    dataset, rows = loaded.dataset, []
    for row in range(6):
        columns = ratings_of(dataset, row, loaded.known_splits)
        columns = columns if row else tuple(column[:1] for column in columns)
        rows += [(900 + row, *entry) for entry in zip(*columns)]
    table = pd.DataFrame(rows, columns=["userId", "movie", "rating", "timestamp"])
    table.insert(1, "movieId", dataset.movies["movie"].to_numpy()[table.pop("movie")])
    table.to_csv(place / "new.csv", index=False)
    users = read_new_users(place / "new.csv", {}, dataset, loaded.known_splits)
    users.user_ptr[-1] = users.user_ptr[-2]
    return users


@pytest.mark.parametrize("name", MODELS)
def test_new_users_have_the_vectors_of_the_model(runs, name, tmp_path):
    loaded = opened(runs[name])
    oracle = loaded.encoder(5)
    found = NumpyEncoder(encoder_files(loaded, oracle))
    users = new_users(loaded, tmp_path)
    if users.x is not None:
        users.x[1:3] = [[0.5, -1, 2], [3, 1, 0]]
    expected = oracle.for_new_users(users).users(range(users.num_users))
    assert expected.vector.abs().max() > 0.1
    for row in range(users.num_users):
        edges = slice(users.user_ptr[row], users.user_ptr[row + 1])
        x = None if users.x is None else users.x[row]
        user = found.encode(users.movie[edges], users.rating[edges], users.timestamp[edges], x)
        np.testing.assert_allclose(user.vector, expected.vector[row], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(user.bias, expected.bias[row], rtol=1e-5, atol=1e-5)
        if expected.interest_norm is not None:
            np.testing.assert_allclose(user.interest_norm, expected.interest_norm[row], rtol=1e-5)
        parts = found.explained(users.movie[edges], users.rating[edges], users.timestamp[edges], x)
        np.testing.assert_allclose(parts.vector, user.vector, rtol=1e-5, atol=1e-6)
        assert parts.bias == user.bias and len(parts.ratings) == len(parts.rated.movie)


def test_an_export_encodes_users_without_torch(runs, tmp_path):
    """The arrays that a program maps from the files are those of the run; the program imports no torch."""
    run = runs["sage, 3 layers, features, interest"]
    manifest = export(run, ExportOptions(tmp_path / "out", dtype="float16"), World())
    encoder = NumpyEncoder.open(tmp_path / "out", read_manifest(tmp_path / "out"))
    assert isinstance(encoder.ratings.layers[0].messages, np.memmap) and manifest["encoder"]["dim"] == 8
    code = (
        "import sys; from pathlib import Path; from gnnrec.inference.export_vectors import read_manifest;"
        "from gnnrec.inference.numpy_users.encoder import NumpyEncoder; place = Path(sys.argv[1]);"
        "user = NumpyEncoder.open(place, read_manifest(place)).encode([3, 5], [4.0, 1.0]);"
        "print(*user.vector, user.bias);"
        "assert not {'torch', 'numba', 'pandas', 'scipy'} & set(sys.modules), 'too many imports'"
    )
    said = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], capture_output=True, text=True, check=True)
    user = encoder.encode(np.array([5, 3]), np.array([1.0, 4.0]))
    np.testing.assert_allclose([float(word) for word in said.stdout.split()], [*user.vector, user.bias], rtol=1e-6)
    assert all(array.flags.c_contiguous for layer in encoder.ratings.layers for array in (layer.messages, layer.out))


def test_an_export_that_follows_another_encodes_users_for_its_vectors(runs, tmp_path):
    """The vectors of new users are turned like those in the files, where every row has changed."""
    parent, run = runs["gcn"], runs["gat, 2 layers, averaged heads"]
    export(parent, ExportOptions(tmp_path / "parent"), World())
    manifest = export(run, ExportOptions(tmp_path / "out", parent=tmp_path / "parent", tolerance=0.0), World())
    alone = export(run, ExportOptions(tmp_path / "alone"), World())
    turned, plain = (NumpyEncoder.open(tmp_path / name, read_manifest(tmp_path / name)) for name in ("out", "alone"))
    assert turned.rotation is not None and np.abs(turned.rotation - np.eye(8)).max() > 0.01
    scores = []
    for place, encoder, entries in (("out", turned, manifest), ("alone", plain, alone)):
        user = encoder.encode(np.array([1, 4, 7]), np.array([5.0, 1.0, 3.0]))
        movies = pd.read_parquet(tmp_path / place / "movies")
        scores.append(entries["offset"] + user.bias + movies["bias"] + np.stack(movies["embedding"]) @ user.vector)
    np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([29], [3.0]), "movie rows must be from 0 to 28"),
        (([-1], [3.0]), "movie rows must be from 0 to 28"),
        (([3], [7.0]), "rating 7 is not on the scale from 0.5 to 5"),
        (([3], [np.nan]), "rating nan is not on the scale"),
        (([3, 4], [1.0]), "2 movies have 1 ratings"),
        (([3], [1.0], None, [1.0]), "features of a user must be 3 finite numbers"),
        (([3], [1.0], None, [1.0, np.inf, 0]), "features of a user must be 3 finite numbers"),
    ],
)
def test_bad_ratings_are_refused(features_encoder, arguments, said):
    with pytest.raises(UserError, match=said):
        features_encoder.encode(*arguments)


@pytest.fixture(scope="module")
def features_encoder(runs) -> NumpyEncoder:
    loaded = opened(runs["gat, features"])
    return NumpyEncoder(encoder_files(loaded, loaded.encoder(5)))


def test_the_order_of_ratings_does_not_matter_and_a_repeated_movie_counts_once(features_encoder):
    whole = features_encoder.encode([3, 8, 11], [4.0, 1.0, 2.5])
    same = features_encoder.encode([8, 11, 3, 8], [5.0, 2.5, 4.0, 1.0])
    np.testing.assert_array_equal(whole.vector, same.vector)
    later = features_encoder.encode([8, 11, 3, 8], [1.0, 2.5, 4.0, 5.0], [200, 1, 1, 100])
    np.testing.assert_array_equal(whole.vector, later.vector)
    without = features_encoder.encode([], [])
    assert np.isfinite(without.vector).all() and np.abs(without.vector - whole.vector).max() > 0.01


def test_counts_of_a_repeated_movie_are_added(features_encoder):
    files = EncoderFiles(
        {
            "objective": "ranking", "counts": True, "splits": [0], "relevant": 1.0, "count_confidence": 1.0,
            "rating": {"min": 1.0, "max": 9.0},
        },
        {"liked": np.eye(4, dtype=np.float32)},
        {},
    )  # fmt: skip
    user = NumpyEncoder(files).encode([2, 0, 2], [1.0, 1.0, 2.0])
    np.testing.assert_allclose(user.vector, [1 + np.log(2), 0, 1 + np.log(4), 0], rtol=1e-6)


def test_twenty_ratings_are_encoded_in_less_than_five_milliseconds():
    """Two layers of 64 channels and 4 heads over 20,000 movies, and interest of 256 columns."""
    rng = np.random.default_rng(0)
    tables = {"movie_bias": rng.normal(size=20_000), "interest": rng.normal(size=(20_000, 256))}
    weights = {}
    for layer in range(2):
        tables |= {
            f"messages-{layer}": rng.normal(size=(20_000, 2, 64)),
            f"logits-{layer}": rng.normal(size=(20_000, 4)),
        }
        shapes = {"rating": (10, 64), "bias": 64, "out": (64, 64), "own_logits": (64, 4), "rating_logits": (10, 4)}
        weights |= {f"layer{layer}.{name}": rng.normal(size=shape) for name, shape in shapes.items()}
    settings = {
        "objective": "rating", "counts": False, "splits": [0], "dim": 64, "message_mean": 0.0, "bias_shrinkage": 5.0,
        "bias_multiple": 1.0, "shrinkage": 1.0, "layers": [{"kind": "gat", "restore_degree": True}] * 2,
        "rating": {"min": 0.5, "max": 5.0, "mean": 3.5, "std": 1.0, "levels": np.arange(1, 11) / 2},
    }  # fmt: skip
    arrays = [{name: array.astype(np.float32) for name, array in kind.items()} for kind in (tables, weights)]
    encoder = NumpyEncoder(EncoderFiles(settings, *arrays))
    movies, ratings = rng.permutation(20_000)[:20], rng.integers(1, 11, 20) / 2
    encoder.encode(movies, ratings)
    started = time.thread_time()
    for _ in range(20):
        encoder.encode(movies, ratings)
    assert (time.thread_time() - started) / 20 < 0.005
