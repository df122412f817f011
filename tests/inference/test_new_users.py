"""Users from a ratings file: known users keep their vectors, new users are embedded from their ratings alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export import ExportOptions, export
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

pytestmark = pytest.mark.slow

MODELS = {
    "sage": {"layers": 2},
    "gat without ids": {"architecture": "gat", "layers": 2, "user_ids": False},
    "sage without ids": {"layers": 2, "user_ids": False},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("new-users"), users=30, movies=20, ratings=260, shards=4)


@pytest.fixture(scope="module")
def run_of(dataset, tmp_path_factory):
    """Returns a run for a model, trained once each."""
    place, made = tmp_path_factory.mktemp("runs"), {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = place / name.replace(" ", "-")
            options = {"objective": "ranking", "ranking": {"dim": 6}} if name == "ranking" else {"model": MODELS[name]}
            train(make_config(dataset.directory, made[name], optimizer={"epochs": 3, "lr": 0.05}, **options), World())
        return made[name]

    return make


def ratings_of(dataset: PreparedDataset, times: bool = True) -> pd.DataFrame:
    """Returns training ratings with raw ids."""
    user = np.repeat(dataset.users["user"].to_numpy(), np.diff(dataset.user_ptr))
    movie = dataset.movies["movie"].to_numpy()[dataset.movie]
    frame = pd.DataFrame({"userId": user, "movieId": movie, "rating": dataset.rating})
    if times:
        frame["timestamp"] = dataset.timestamp
    return frame[dataset.split == TRAIN].reset_index(drop=True)


def exported(run: Path, out: Path, ratings: pd.DataFrame | None = None, **options) -> tuple[pd.DataFrame, dict]:
    """Exports users; returns them by raw id, and the manifest."""
    if ratings is not None:
        options["ratings"] = out.with_suffix(".csv")
        ratings.to_csv(options["ratings"], index=False)
    manifest = export(run, ExportOptions(out, **options), World())
    return pq.read_table(out / "users").to_pandas().set_index("user"), manifest


def vectors(frame: pd.DataFrame, users: list) -> np.ndarray:
    return np.stack(frame.loc[users, "embedding"])


@pytest.mark.parametrize("name", ["sage", "gat without ids"])
def test_known_users_without_new_ratings_keep_their_vectors(dataset, run_of, tmp_path, name):
    expected, _ = exported(run_of(name), tmp_path / "all")
    some = ratings_of(dataset)[lambda frame: frame["userId"] % 2 == 1]
    found, manifest = exported(run_of(name), tmp_path / "some", some, chunk=4, part_rows=7)
    assert manifest["users"] == len(found) == some["userId"].nunique() < len(expected)
    np.testing.assert_allclose(vectors(found, found.index), vectors(expected, found.index), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["bias"], expected.loc[found.index, "bias"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["sage without ids", "gat without ids", "ranking"])
def test_new_users_with_the_ratings_of_known_users_have_their_vectors(dataset, run_of, tmp_path, name):
    """Without id embeddings the vector of a user depends on ratings alone."""
    expected, _ = exported(run_of(name), tmp_path / "all")
    everything = ratings_of(dataset)
    if name == "ranking":  # knows validation ratings, too
        keep = np.isin(dataset.split, [0, 1])
        everything = pd.DataFrame(
            {
                "userId": np.repeat(dataset.users["user"].to_numpy(), np.diff(dataset.user_ptr)),
                "movieId": dataset.movies["movie"].to_numpy()[dataset.movie],
                "rating": dataset.rating,
            }
        )[keep]
    copies = everything.assign(userId=everything["userId"] + 10_000)
    found, _ = exported(run_of(name), tmp_path / "new", copies)
    users = list(found.index - 10_000)
    assert np.abs(vectors(expected, users)).max() > 0.05
    np.testing.assert_allclose(vectors(found, found.index), vectors(expected, users), rtol=1e-4, atol=1e-6)


def test_new_ratings_of_known_users_count(dataset, run_of, tmp_path):
    before, _ = exported(run_of("sage"), tmp_path / "all")
    user = int(dataset.users["user"].iloc[0])
    movie = int(dataset.movies["movie"].iloc[0])
    changed = pd.DataFrame([{"userId": user, "movieId": movie, "rating": 0.5, "timestamp": 1_500_000_000}])
    found, _ = exported(run_of("sage"), tmp_path / "one", changed)
    assert list(found.index) == [user]
    assert not np.allclose(vectors(found, [user]), vectors(before, [user]), atol=1e-4)
    # It is what the user would be with all of its ratings in the file.
    mine = ratings_of(dataset)[lambda frame: frame["userId"] == user]
    mine = pd.concat([mine[mine["movieId"] != movie], changed])
    whole, _ = exported(run_of("sage"), tmp_path / "whole", mine)
    np.testing.assert_allclose(vectors(found, [user]), vectors(whole, [user]), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("times", [True, False])
def test_unknown_movies_are_left_out_and_counted(dataset, run_of, tmp_path, capsys, times):
    ratings = ratings_of(dataset, times)[lambda frame: frame["userId"] == frame["userId"].iloc[0]]
    ratings = ratings.assign(userId=99_999)
    unknown = ratings.iloc[:3].assign(movieId=[-5, -6, -6], userId=[99_999, 99_999, 88_888])
    expected, _ = exported(run_of("sage"), tmp_path / "without", ratings)
    found, manifest = exported(run_of("sage"), tmp_path / "with", pd.concat([unknown, ratings]))
    assert "2 new users and 0 known ones; 3 ratings of 2 unknown movies are left out" in capsys.readouterr().out
    assert (manifest["ratings"]["unknown_movies"], manifest["ratings"]["unknown_ratings"]) == (2, 3)
    np.testing.assert_allclose(vectors(found, [99_999]), vectors(expected, [99_999]), rtol=1e-5, atol=1e-7)
    assert np.isfinite(vectors(found, [88_888])).all()


def test_two_ranks_embed_new_users_like_one(dataset, run_of, tmp_path):
    ratings = ratings_of(dataset)[lambda frame: frame["userId"] % 3 == 1]
    expected, _ = exported(run_of("sage"), tmp_path / "one", ratings, part_rows=2)
    run_on_ranks(2, export_on_rank, str(run_of("sage")), str(tmp_path / "two"), str(tmp_path / "one.csv"))
    found = pq.read_table(tmp_path / "two" / "users").to_pandas().set_index("user")
    np.testing.assert_allclose(vectors(found, expected.index), vectors(expected, expected.index), rtol=1e-5, atol=1e-6)


def export_on_rank(world: World, run: str, out: str, ratings: str) -> None:
    export(Path(run), ExportOptions(Path(out), ratings=Path(ratings), part_rows=2), world)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"movieId": -1}, "none of its movies is in the dataset .*look like"),
        ({"rating": 9.0}, "line 2: .*9"),
        ({"rating": "good"}, "line 2: .*good"),
    ],
)
def test_unusable_files_are_refused(dataset, run_of, tmp_path, change, said):
    ratings = ratings_of(dataset).head(3).assign(**change)
    with pytest.raises(UserError, match=said):
        exported(run_of("sage"), tmp_path / "out", ratings)
    assert not (tmp_path / "out").exists()
