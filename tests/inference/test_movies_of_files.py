"""Movies without any rating: of the catalog that was prepared, and of files that are given to an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from gnnrec.cli.main import run_command
from gnnrec.data.features.new_movies import NewMovies
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.export_verify import VerifyOptions, verify
from gnnrec.inference.load import load_run
from gnnrec.inference.open_source import open_source
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import ratings_table
from tests.distributed.ranks import run_on_ranks
from tests.inference.exports import content
from tests.inference.recommended import recommend, recommend_all

USERS, RATED, MOVIES = 50, 40, 46
#: Rated in the test split alone.
COLD = range(0, RATED, 8)


def features(first: int, last: int) -> pd.DataFrame:
    """Movies from ``first`` on, of which ids from 41 on have no ratings."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))[first:last]
    number = np.arange(first, last)
    titles = [f"Film {k} ({1950 + k})" for k in number]
    table = pd.DataFrame(x, columns=["a", "b", "c"]).assign(movie=number + 1, title=titles)
    return table.assign(genres=[("Drama", "War", "Drama|War")[k % 3] for k in number])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    directory = tmp_path_factory.mktemp("movies of files")
    rated = ratings_table(USERS, RATED, 900).rename(columns={"userId": "user"}).drop(columns="timestamp")
    rated["movie"] = (rated.pop("movieId") - 2) // 5 + 1
    rng = np.random.default_rng(1)
    drawn = np.where(rng.random(len(rated)) < 0.1, "validation", "train")
    rated["split"] = np.where(np.isin(rated["movie"] - 1, COLD), "test", drawn)
    rated.to_csv(directory / "ratings.csv", index=False)
    features(0, MOVIES).to_csv(directory / "movies.csv", index=False)
    users = pd.DataFrame({"user": rated["user"].unique()})
    users.assign(age=np.arange(len(users)) % 7).to_csv(directory / "users.csv", index=False)
    options = {"ratings": directory / "ratings.csv", "movies": directory / "movies.csv", "split_column": "split"}
    options |= {"movie_features": [str(directory / "movies.csv")], "user_features": [str(directory / "users.csv")]}
    prepare(directory / "data", PrepareOptions(**options, shards=6, feature_types="genres=drop,title=drop"))
    return PreparedDataset(directory / "data")


def trained(dataset: PreparedDataset, directory: Path, **options) -> Path:
    train(make_config(dataset.directory, directory, optimizer={"lr": 0.05}, **options), World())
    return directory


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory) -> Path:
    return trained(dataset, tmp_path_factory.mktemp("runs") / "run", interest={})


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    """New movies in two files with different columns; the first three movies are known."""
    directory, table = tmp_path_factory.mktemp("files"), features(MOVIES - 3, MOVIES + 4)
    table[["movie", "title", "a", "b"]].to_parquet(directory / "one.parquet")
    table[["movie", "c"]].assign(other="z", year=2001).to_csv(directory / "two.csv", index=False)
    return [str(directory / "one.parquet"), str(directory / "two.csv")]


@pytest.fixture(scope="module")
def exported(run, files, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "out"
    export(run, ExportOptions(out, movie_features=files, part_rows=20, formats=["npy", "faiss"]), World())
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        {"architecture": "gcn"},
        {"architecture": "sage", "layers": 2},
        {"architecture": "gat", "layers": 2},
        {"layers": 0},
    ],
    ids=lambda model: "-".join(map(str, model.values())),
)
def test_new_movies_have_the_vectors_of_movies_without_training_ratings(dataset, tmp_path, model):
    """The same features and genres give the same vectors, by the path over all ratings and by that without any."""
    loaded = load_run(trained(dataset, tmp_path / "run", model=model | {"shrinkage": 0.7}, interest={}), World())
    encoder = loaded.encoder(16)
    rows = np.flatnonzero(loaded.cold)
    assert len(rows) == len(COLD) and loaded.model.genres is not None and loaded.model.user_features is not None
    table = dataset.table("movies").take(rows)
    vectors = loaded.embed_new_movies(NewMovies(table, dataset.features("movie").x[rows]), encoder)
    assert vectors.vector.std(0).max() > 0.01 and vectors.bias.std() > 0.001
    torch.testing.assert_close(vectors.vector, encoder.movies.vector[rows], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vectors.bias, encoder.movies.bias[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_exports_have_all_movies_of_the_catalog_and_of_the_files(dataset, run, files, exported):
    manifest = verify_and_read(exported)
    table = pq.read_table(exported / "movies").to_pandas().set_index("movie")
    assert manifest["movies"] == len(table) == MOVIES + 4 and set(table.index) == set(range(1, MOVIES + 5))
    assert manifest["new_movies"] == MOVIES - RATED + 4 and manifest["cold_movies"] == len(COLD) + MOVIES - RATED + 4
    assert set(table.index[table["cold"]] - 1) == {*COLD, *range(RATED, MOVIES + 4)}
    names = pq.read_table(exported / "new_movies.parquet").to_pandas()
    assert names["row"].tolist() == list(range(RATED, MOVIES + 4))
    assert names["title"].tolist() == [f"Film {k - 1} ({1949 + k})" for k in names["movie"]]
    assert np.array_equal(np.load(exported / "movies.npy"), np.stack(table["embedding"]))
    assert dataset.num_movies == RATED
    # An export of the catalog alone has the same vectors.
    out = exported.parent / "catalog"
    assert export(run, ExportOptions(out), World())["new_movies"] == MOVIES - RATED
    catalog = pq.read_table(out / "movies").to_pandas().set_index("movie")
    assert len(catalog) == MOVIES
    np.testing.assert_allclose(np.stack(catalog["embedding"]), np.stack(table["embedding"])[:MOVIES], atol=1e-6)


def verify_and_read(out: Path) -> dict:
    verify(out, VerifyOptions())
    return open_source(out, RecommendOptions(user="1")).manifest


@pytest.mark.slow
def test_new_movies_are_recommended_on_request(dataset, run, exported, tmp_path):
    user = str(dataset.users["user"].iloc[4])
    new = set(range(RATED + 1, MOVIES + 5))
    for source, found in ((exported, new), (run, set(range(RATED + 1, MOVIES + 1)))):
        options = {"user": user, "top": 100}
        usual, every = (
            recommend(source, RecommendOptions(**options, new_movies=wanted)).set_index("movie")
            for wanted in (False, True)
        )
        assert not set(usual.index) & new and set(every.index) & new == found
        assert every["title"].loc[RATED + 2] == f"Film {RATED + 1} ({1951 + RATED})"
    facts = recommend_all(exported, RecommendOptions(all=True, out=tmp_path / "all", new_movies=True, top=3), World())
    assert facts["movies"] == MOVIES + 4
    recent = RecommendOptions(user=user, top=100, new_movies=True, min_year=1950 + MOVIES, genre=[])
    assert set(recommend(exported, recent)["movie"]) == set(range(MOVIES + 1, MOVIES + 5))
    similar = recommend(exported, RecommendOptions(similar_to=f"Film {MOVIES + 2}", top=5, new_movies=True))
    assert len(similar) == 5


@pytest.mark.slow
@pytest.mark.processes
def test_two_ranks_write_the_same_bytes(run, files, tmp_path):
    """One rank writes movies, and users from the same state."""
    options = ExportOptions(tmp_path / "one", movie_features=files, part_rows=20)
    export(run, options, World())
    run_on_ranks(2, export_on_ranks, str(run), str(tmp_path / "two"), files)
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        if name.startswith("movies/") or name == "new_movies.parquet":
            first, second = (pq.read_table(tmp_path / side / name).to_pandas() for side in ("one", "two"))
            assert first["movie"].tolist() == second["movie"].tolist()
            if "cold" in first:
                new = first["movie"] > RATED
                vectors = [np.stack(table["embedding"][new]) for table in (first, second) if new.any()]
                assert all(np.array_equal(vectors[0], other) for other in vectors)


def export_on_ranks(world: World, run: str, out: str, files: list[str]) -> int:
    return export(Path(run), ExportOptions(Path(out), movie_features=files, part_rows=20), world)["movies"]


@pytest.mark.slow
def test_mistakes_end_with_one_line(dataset, run, files, exported, tmp_path):
    def message(path: Path = run, **options) -> str:
        with pytest.raises(UserError) as error:
            export(path, ExportOptions(**{"out": tmp_path / "out"} | options), World())
        return str(error.value)

    assert "no column 'c', which the dataset was prepared with" in message(movie_features=files[:1])
    features(60, 63).assign(a=np.inf).to_csv(tmp_path / "infinite.csv", index=False)
    assert f"{tmp_path / 'infinite.csv'} line 2" in message(movie_features=[str(tmp_path / "infinite.csv")])
    assert "holds an export with new_movies" in message(out=exported, part_rows=20, formats=["npy", "faiss"])
    blind = trained(dataset, tmp_path / "blind", model={"features": False})
    assert "knows no features of movies" in message(blind, movie_features=files)
    assert "new_movies" not in export(blind, ExportOptions(tmp_path / "blind out"), World())
    names = exported / "new_movies.parquet"
    damaged = tmp_path / "damaged"
    export(run, ExportOptions(damaged, movie_features=files), World())
    (damaged / names.name).write_bytes(names.read_bytes()[:-5])
    with pytest.raises(UserError, match="new_movies.parquet has"):
        verify(damaged, VerifyOptions())
    run_command(["export", str(run), "--movie-features", *files, "--out", str(tmp_path / "by command")])
    assert verify_and_read(tmp_path / "by command")["movies"] == MOVIES + 4


@pytest.mark.slow
@pytest.mark.parametrize("order_by", [None, "rating", "interest"])
def test_new_movies_have_their_share_of_each_list(dataset, exported, tmp_path, order_by):
    """One user's list is that of a whole ranking in which new and known movies are counted apart."""
    cold = set(np.array(COLD) + 1) | set(range(RATED + 1, MOVIES + 5))
    options = {"new_movies": True, "order_by": order_by}
    out = tmp_path / "lists"
    recommend_all(exported, RecommendOptions(all=True, out=out, top=8, new_share=0.3, **options), World())
    lists = pq.read_table(out / "recommendations").to_pandas()
    for user in dataset.users["user"][::9]:
        whole = recommend(exported, RecommendOptions(user=str(user), top=200, **options))
        is_new = whole["movie"].isin(cold)
        expected = pd.concat([whole[~is_new].head(6), whole[is_new].head(2)]).sort_values("rank")["movie"].tolist()
        one = recommend(exported, RecommendOptions(user=str(user), top=8, new_share=0.3, **options))
        own = lists[lists["user"] == user]
        assert own["movie"].tolist() == one["movie"].tolist() == expected
        assert own["rank"].tolist() == list(range(1, 9)) and (own["score"].diff().dropna() <= 0).all()
        for share, count in ((0.0, 0), (1.0, 8)):
            found = recommend(exported, RecommendOptions(user=str(user), top=8, new_share=share, **options))
            assert found["movie"].isin(cold).sum() == count


def test_a_share_needs_new_movies():
    with pytest.raises(UserError, match="--new-share 0.5 is for lists with --new-movies"):
        RecommendOptions(user="1", new_share=0.5).check()
    with pytest.raises(UserError, match="--new-share 2"):
        RecommendOptions(user="1", new_movies=True, new_share=2).check()
