"""Predictions of given pairs, against all scores of the exported files and the dense formula of the embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gnnrec
from gnnrec.cli.main import run_command
from gnnrec.errors import UserError
from gnnrec.inference import pair_scores
from tests.inference.made_export import KINDS, all_scores, make_dataset, make_export


def random_pairs(dataset, count: int = 500) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Returns rows of users and movies in any order, and their raw ids."""
    rng = np.random.default_rng(0)
    user, movie = rng.integers(dataset.num_users, size=count), rng.integers(dataset.num_movies, size=count)
    raw = {"userId": dataset.users["user"].to_numpy()[user], "movieId": dataset.movies["movie"].to_numpy()[movie]}
    return user, movie, pd.DataFrame(raw)


def predict(place: Path, pairs: Path, out: Path, *words: str) -> pd.DataFrame:
    run_command(["predict", str(place), "--pairs", str(pairs), "--out", str(out), *words])
    return pd.read_parquet(out) if out.suffix == ".parquet" else pd.read_csv(out)


def write(table: pd.DataFrame, path: Path) -> Path:
    table.to_parquet(path, index=False) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [[], ["--block", "37", "--chunk", "3"]], ids=["one block", "blocks"])
def test_predictions_are_all_scores_at_the_pairs(dataset, tmp_path, kind, words, monkeypatch):
    monkeypatch.setattr(pair_scores, "_PAIRS", 20)
    monkeypatch.setattr(pair_scores, "_GAP", 2)
    place = make_export(dataset, tmp_path / "export", **KINDS[kind])
    user, movie, raw = random_pairs(dataset)
    found = predict(place, write(raw, tmp_path / "pairs.csv"), tmp_path / "out.parquet", *words)
    assert found.columns.tolist() == ["user", "movie", "score" if kind == "ranking" else "prediction"]
    np.testing.assert_array_equal(found["user"], raw["userId"])
    np.testing.assert_array_equal(found["movie"], raw["movieId"])
    np.testing.assert_allclose(found.iloc[:, 2], all_scores(place, clipped=True)[user, movie], atol=1e-5)


@pytest.mark.parametrize("source", ["pairs.csv", "pairs.csv.gz", "pairs.parquet"])
@pytest.mark.parametrize("out", ["out.csv", "out.csv.gz", "out.parquet"])
def test_all_formats_have_the_same_content(dataset, made, tmp_path, source, out):
    user, movie, raw = random_pairs(dataset, 50)
    raw.insert(0, "rating", "any text")  # further columns are ignored
    found = predict(made, write(raw, tmp_path / source), tmp_path / out, "--block", "20")
    assert found["user"].dtype == np.int64 and found["user"].tolist() == raw["userId"].tolist()
    np.testing.assert_array_equal(found["prediction"], all_scores(made, clipped=True)[user, movie])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source, out])


def test_pairs_with_unknown_ids_are_kept_without_a_prediction(made, dataset, tmp_path, capsys):
    known_user, known_movie = dataset.users["user"][3], dataset.movies["movie"][5]
    rows = [(known_user, known_movie), (8, known_movie), (known_user, 1), ("x8", "007"), (known_user, known_movie)]
    pairs = write(pd.DataFrame(rows, columns=["user", "item"]).astype(str), tmp_path / "pairs.csv")
    predict(made, pairs, tmp_path / "out.csv", "--block", "2")
    line = capsys.readouterr().out.splitlines()[-1]
    counts = "5 predicted ratings, 3 of them empty (2 with an unknown user, 2 with an unknown movie); "
    assert line.startswith(f"{tmp_path / 'out.csv'}: {counts}")
    wanted = all_scores(made, clipped=True)[3, 5]
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == '"user","movie","prediction"'
    assert lines[1] == lines[5] == f'"{known_user}","{known_movie}",{wanted:g}'
    assert lines[2:5] == [f'"8","{known_movie}",', f'"{known_user}","1",', '"x8","007",']
    found = predict(made, pairs, tmp_path / "out.parquet")
    assert found["user"].tolist() == [str(row[0]) for row in rows] and found["prediction"].isna().sum() == 3


def test_only_users_of_the_pairs_are_read(dataset, tmp_path):
    place = make_export(dataset, tmp_path / "export", part_rows=4)
    user, movie = dataset.users["user"][9], dataset.movies["movie"][0]
    pairs = write(pd.DataFrame({"user": [user], "movie": [movie]}), tmp_path / "pairs.csv")
    for number, part in enumerate(sorted((place / "users").iterdir())):
        if number != 2:
            part.write_bytes(b"x" * part.stat().st_size)
    assert predict(place, pairs, tmp_path / "out.csv")["prediction"].notna().all()


def test_ids_may_be_text(tmp_path):
    dataset = make_dataset(tmp_path / "data", "strings")
    place = make_export(dataset, tmp_path / "export")
    user, movie, raw = random_pairs(dataset, 60)
    for name in ("pairs.csv", "pairs.parquet"):
        found = predict(place, write(raw, tmp_path / name), tmp_path / f"of_{name}")
        np.testing.assert_array_equal(found["prediction"], all_scores(place, clipped=True)[user, movie])


@pytest.fixture(scope="module", params=["dot", "mlp"])
def run(request, dataset, tmp_path_factory) -> gnnrec.Run:
    place = tmp_path_factory.mktemp("run") / request.param
    options = {"model": {"dim": 8, "head": request.param}, "loader": {"folds": 3}}
    return gnnrec.train(dataset, place, baselines=False, optimizer={"epochs": 2, "lr": 0.05}, **options)


@pytest.mark.slow
def test_a_run_its_export_and_its_embeddings_agree(dataset, run, tmp_path):
    user, movie, raw = random_pairs(dataset)
    pairs = write(raw, tmp_path / "pairs.csv")
    out = gnnrec.export(run, tmp_path / "export")
    of_run = predict(run.directory, pairs, tmp_path / "run.parquet", "--chunk", "7")["prediction"]
    of_export = predict(out, pairs, tmp_path / "export.parquet")["prediction"]
    np.testing.assert_allclose(of_run, of_export, atol=1e-5)
    vectors = gnnrec.embed(run)
    users, movies = vectors.users.to_numpy(float)[user], vectors.movies.to_numpy(float)[movie]
    products = (users * movies).sum(1)
    if run.config.model.head == "mlp":
        head = np.load(out / "head.npz")
        hidden = users @ head["user.weight"].T + head["user.bias"] + movies @ head["movie.weight"].T
        products = np.maximum(hidden, 0) @ head["out.weight"][0]
    dense = vectors.offset + vectors.user_bias.to_numpy()[user] + vectors.movie_bias.to_numpy()[movie] + products
    scale = dataset.manifest.rating
    np.testing.assert_allclose(of_run, dense.clip(scale["min"], scale["max"]), atol=1e-5)
    assert of_run.nunique() > 50
    table = gnnrec.predict(run, raw.set_axis(raw.index[::-1]))
    np.testing.assert_allclose(table["prediction"], of_run, atol=1e-5)
    assert table.index.tolist() == raw.index[::-1].tolist()
    pd.testing.assert_frame_equal(gnnrec.predict(out, pairs), pd.read_parquet(tmp_path / "export.parquet"))


@pytest.mark.slow
def test_new_users_have_predictions_from_their_ratings(dataset, run):
    new = pd.DataFrame({"userId": ["new"] * 3, "movieId": dataset.movies["movie"][:3], "rating": [5.0, 1.0, 4.0]})
    pairs = pd.DataFrame({"customer": ["new", "new"], "movieId": dataset.movies["movie"][3:5]})
    found = gnnrec.predict(run, pairs, ratings=new.rename(columns={"userId": "customer"}), user_column="customer")
    wanted = gnnrec.recommend(run, "new", ratings=new, top=100).set_index("movie")["rating"]
    np.testing.assert_allclose(found["prediction"], wanted[found["movie"]], atol=1e-5)


def refused(place: Path, folder: Path, *words: str) -> str:
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError) as caught:
        run_command(["predict", str(place), *words])
    assert "\n" not in str(caught.value) and sorted(folder.rglob("*")) == before
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("userId,film\n7,2\n", "line 1: no movie column among userId, film: name it with --movie-column"),
        ("userId,movieId\n7,2\n7\n", "line 3: malformed row (1 fields, not 2)"),
        ("userId,movieId\n7,2\n,12\n", "line 3: the user id is missing"),
        ("userId,movieId\n", "has no pairs (only a header)"),
        ("", "is empty"),
        ("userId,movieId\n8,1\nu1,m2\n", "no pair has a user and a movie of "),
    ],
)
def test_wrong_pairs_are_refused(made, tmp_path, content, says):
    (tmp_path / "pairs.csv").write_text(content)
    assert says in refused(made, tmp_path, "--pairs", f"{tmp_path}/pairs.csv", "--out", f"{tmp_path}/out.csv")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--pairs", "{here}/none.csv", "--out", "{here}/out.csv"], "none.csv does not exist"),
        (["--pairs", "{here}/pairs.csv", "--out", "{here}/old.csv"], "old.csv exists already: choose another file"),
        (["--pairs", "{here}/pairs.csv", "--out", "{here}/out.txt"], "must end in .csv, .csv.gz or .parquet"),
        (["--pairs", "{here}/pairs.csv", "--out", "{here}/pairs.csv", "--overwrite"], "is also --pairs"),
        (["--pairs", "{here}/pairs.csv", "--out", "{here}/sub.csv"], "sub.csv is a directory"),
        (["--pairs", "{here}", "--out", "{here}/out.csv"], "is a directory: pass one file of pairs"),
        (["--pairs", "{here}/pairs.csv", "--out", "{here}/old.csv/out.csv"], "cannot write it"),
        (["--pairs", "{here}/pairs.csv", "--out", "{here}/out.csv", "--block", "0"], "--block 0"),
        (["--pairs", "{here}/pairs.csv"], "--out is missing"),
    ],
)
def test_wrong_options_are_refused(made, dataset, tmp_path, words, says):
    write(random_pairs(dataset, 5)[2], tmp_path / "pairs.csv")
    (tmp_path / "old.csv").write_text("old")
    (tmp_path / "sub.csv").mkdir()
    assert says in refused(made, tmp_path, *(word.format(here=tmp_path) for word in words))


def test_what_is_neither_a_run_nor_an_export_is_refused(dataset, tmp_path):
    write(random_pairs(dataset, 5)[2], tmp_path / "pairs.csv")
    words = ["--pairs", f"{tmp_path}/pairs.csv", "--out", f"{tmp_path}/out.csv"]
    assert "does not describe an export" in refused(dataset.directory, tmp_path, *words)
    assert "is not a run directory" in refused(tmp_path, tmp_path, *words)


def test_overwrite_replaces_a_file(made, dataset, tmp_path):
    pairs = write(random_pairs(dataset, 5)[2], tmp_path / "pairs.csv")
    (tmp_path / "out.parquet").write_text("old")
    assert len(predict(made, pairs, tmp_path / "out.parquet", "--overwrite")) == 5
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert [schema.field(name).type for name in schema.names] == [pa.int64(), pa.int64(), pa.float32()]
