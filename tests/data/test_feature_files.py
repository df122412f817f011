"""Tables of features in all layouts are read, and their kinds are known or guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnnrec.data.features.guess import guess_kind
from gnnrec.data.features.kinds import Unusable
from gnnrec.data.features.new_nodes import encode_new_nodes
from gnnrec.data.features.parse import plain
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from tests.data.feature_tables import MOVIES, USERS, ratings

NUMBER = np.arange(1, MOVIES + 1)
JOBS = np.where(np.arange(1, USERS + 1) % 3, "nurse", "cook")


def prepared(place: Path, node: str, *names: str, **options) -> dict[str, tuple[str, np.ndarray]]:
    """Name -> kind and columns in ascending order of the ids, of the features that the files give."""
    ratings().to_csv(place / "log.csv", index=False)
    files = {f"{node}_features": [str(place / name) for name in names]}
    prepare(place / "data", PrepareOptions(ratings=place / "log.csv", shards=4, **files, **options))
    data = PreparedDataset(place / "data", verify=True)
    features, order = data.features(node), np.argsort(getattr(data, f"{node}s")[node])
    return {group.name: (group.kind, features.x[order, group.slice]) for group in features.schema}


def ml_100k_users(at: Path) -> dict[str, str]:
    lines = [f"{k + 1}|{20 + k % 7}|{'MF'[k % 2]}|{JOBS[k]}|{k % 4}{k:04d}\n" for k in range(USERS)]
    (at / "u.user").write_text("".join(lines))
    return {"age": "number", "gender": "category", "occupation": "category", "zip": "category"}


def ml_1m_users(at: Path) -> dict[str, str]:
    lines = [f"{k + 1}::{'MF'[k % 2]}::{[1, 18, 25][k % 3]}::{k % 5}::{k % 4}{k:04d}\n" for k in range(USERS)]
    (at / "users.dat").write_text("".join(lines))
    return {"gender": "category", "age": "category", "occupation": "category", "zip": "category"}


def recbole_users(at: Path) -> dict[str, str]:
    header = "user_id:token\tage:token\tgender:token\ttaste:float_seq\thobby:token_seq\n"
    rows = (
        f"{k + 1}\t{20 + k % 7}\t{'MF'[k % 2]}\t{k % 5} {k % 4}.5\ttea {['golf', 'jazz'][k % 2]}\n"
        for k in range(USERS)
    )
    (at / "films.user").write_text(header + "".join(rows))
    return {"age": "number", "gender": "category", "taste": "vector", "hobby": "list"}


def json_users(at: Path) -> dict[str, str]:
    records = (
        {"uid": k + 1, "job": JOBS[k], "likes": ["tea", "golf"][: 1 + k % 2], "taste": [k % 5, 0.5]}
        for k in range(USERS)
    )
    (at / "users.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return {"job": "category", "likes": "list", "taste": "vector"}


def parquet_users(at: Path) -> dict[str, str]:
    number = np.arange(1, USERS + 1)
    table = {
        "id": pa.array(number.astype(float)),
        "born": pa.array(np.datetime64("1970-01-01") + number * 100),
        "job": pa.array(JOBS).dictionary_encode(),
        "member": pa.array(number % 2 == 0),
        "taste": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(3 * USERS)), 3),
        "seen": pa.array(1_500_000_000 + number * 86400),
        "seen_at": pa.array(1_500_000_000 + number * 86400),
        "note": pa.array([b"x"] * USERS),
    }
    pq.write_table(pa.table(table), at / "users.parquet")
    return {
        "born": "date",
        "job": "category",
        "member": "number",
        "taste": "vector",
        "seen": "number",
        "seen_at": "date",
    }


@pytest.mark.parametrize("write", [ml_100k_users, ml_1m_users, recbole_users, json_users, parquet_users])
def test_tables_of_users(write: Callable, tmp_path):
    expected = write(tmp_path)
    (path,) = tmp_path.iterdir()
    found = prepared(tmp_path, "user", path.name)
    assert {name: kind for name, (kind, _) in found.items()} == expected
    if "zip" in expected:  # their first digits
        assert sorted(map(tuple, found["zip"][1][:4].astype(int))) == sorted(map(tuple, np.eye(4, dtype=int)))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_movies_of_movielens_have_titles_years_and_genres(tmp_path, kind):
    """Text of pandas is large_string in Parquet."""
    titles = [f"Storm over the river {k} ({1950 + k})" for k in NUMBER]
    genres = np.where(NUMBER % 2, "Comedy|Drama", "(no genres listed)")
    table = pa.table({"movieId": NUMBER, "title": pa.array(titles, pa.large_string()), "genres": genres})
    if kind == "csv":
        table.to_pandas().to_csv(tmp_path / "movies.csv", index=False)
    else:
        pq.write_table(table, tmp_path / "movies.parquet")
    found = prepared(tmp_path, "movie", f"movies.{kind}")
    assert {name: kind for name, (kind, _) in found.items()} == {"title": "text", "genres": "list", "year": "number"}
    assert np.allclose(found["genres"][1], np.where(NUMBER % 2, 0.5, 0)[:, None].repeat(2, 1))
    assert np.ptp(np.diff(found["year"][1][:, 0])) < 1e-6 < found["year"][1][1, 0] - found["year"][1][0, 0]


def test_new_movies_may_lack_years(tmp_path):
    """Titles are split as those of the dataset were, whatever most of the new ones end with."""
    table = pd.DataFrame({"movieId": NUMBER, "title": [f"The river {k} ({1950 + k})" for k in NUMBER]})
    table.to_csv(tmp_path / "movies.csv", index=False)
    found = prepared(tmp_path, "movie", "movies.csv")
    pd.DataFrame({"movieId": [701, 702, 703], "title": ["The river", "The river", "The river 3 (1953)"]}).to_csv(
        tmp_path / "new.csv", index=False
    )
    new = encode_new_nodes(PreparedDataset(tmp_path / "data").features("movie"), [tmp_path / "new.csv"], text_ids=False)
    known = np.concatenate([x[2] for _, x in found.values()])
    assert np.array_equal(new.x[2], known) and (new.x[:2, -1] == 0).all() and new.ids.to_pylist() == [701, 702, 703]


def test_tags_of_movies_are_lists(tmp_path):
    tags = [(user, movie, tag) for user in (1, 2) for movie in NUMBER for tag in ("Dark ", ["fun", "slow"][movie % 2])]
    table = pd.DataFrame(tags, columns=["userId", "movieId", "tag"]).assign(timestamp=1)
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "tags.csv", index=False)
    kind, x = prepared(tmp_path, "movie", "tags.csv")["tags"]
    assert kind == "list" and np.allclose(x[:, 0], 0.5)
    assert np.allclose(np.sort(x[:, 1:], 1), [0, 0.5]) and np.array_equal(x[0], x[2]) and not np.array_equal(x[0], x[1])


def test_the_genome_becomes_vectors(tmp_path):
    relevance = np.random.default_rng(0).random((MOVIES, 7)).round(4)
    rows = [(movie, tag + 1, relevance[movie - 1, tag]) for movie in NUMBER for tag in range(7)]
    pd.DataFrame(rows, columns=["movieId", "tagId", "relevance"]).to_csv(tmp_path / "genome-scores.csv", index=False)
    kind, x = prepared(tmp_path, "movie", "genome-scores.csv")["genome"]
    deviations = relevance - relevance.mean(0)
    assert kind == "vector" and np.allclose(
        x - x.mean(0), deviations / deviations.std(0).mean() * np.mean(x.std(0)), atol=1e-4
    )


@pytest.mark.parametrize("ids", ["npy", "txt"])
def test_arrays_have_their_ids_beside_them(tmp_path, ids):
    vectors = np.random.default_rng(0).normal(size=(MOVIES, 5))
    np.save(tmp_path / "clip.npy", vectors[::-1])
    if ids == "npy":
        np.save(tmp_path / "clip_ids.npy", NUMBER[::-1])
    else:
        (tmp_path / "clip_ids.txt").write_text("\n".join(map(str, NUMBER[::-1])) + "\n")
    kind, x = prepared(tmp_path, "movie", "clip.npy")["clip"]
    scale = (x[1] - x[0]) / (vectors[1] - vectors[0])
    assert kind == "vector" and np.allclose(x - x[0], (vectors - vectors[0]) * scale[0], atol=1e-5)


def test_files_with_the_same_columns_are_parts_of_one_table_and_others_are_joined(tmp_path):
    table = pd.DataFrame({"movie_id": NUMBER, "length": 80 + NUMBER, "color": NUMBER % 2})
    table[:15].to_csv(tmp_path / "part-0.csv", index=False)
    table[15:].to_parquet(tmp_path / "part-1.parquet")
    pd.DataFrame({"asin": NUMBER[5:], "cost": NUMBER[5:] * 1.5}).to_csv(tmp_path / "costs.csv", index=False)
    found = prepared(tmp_path, "movie", "part-*", "costs.csv")
    assert set(found) == {"length", "color", "cost"}
    assert np.ptp(np.diff(found["length"][1][:, 0])) < 1e-6
    assert found["cost"][1].shape[1] == 2 and (found["cost"][1][:5] == [0, 1]).all()


def test_types_that_are_given_are_used(tmp_path):
    table = pd.DataFrame({"movie": NUMBER, "length": NUMBER % 3, "color": NUMBER % 2, "code": NUMBER, "cost": NUMBER})
    table.to_csv(tmp_path / "films.csv", index=False)
    types = "length=category,movie.code=category:1,cost=number,*=drop"
    found = prepared(tmp_path, "movie", "films.csv", feature_types=types, feature_count=2)
    assert {name: kind for name, (kind, _) in found.items()} == {
        "length": "category",
        "code": "category",
        "cost": "number",
    }
    assert found["length"][1].shape == (MOVIES, 3)


def test_ids_that_are_text_are_joined_as_text(tmp_path):
    log = ratings().assign(movie=lambda table: table["movie"].map("m{:03d}".format))
    log.to_csv(tmp_path / "log.csv", index=False)
    table = pd.DataFrame({"movie": [f" m{k:03d} " for k in NUMBER], "length": NUMBER})
    table.to_csv(tmp_path / "films.csv", index=False)
    options = {"ratings": tmp_path / "log.csv", "movie_features": [str(tmp_path / "films.csv")]}
    prepare(tmp_path / "data", PrepareOptions(**options))
    data = PreparedDataset(tmp_path / "data")
    order = np.argsort(data.movies["movie"])
    assert np.ptp(np.diff(data.features("movie").x[order, 0])) < 1e-6


GUESSES = {
    "zip": (["02139", "10001"] * 20, "category:1"),
    "price": (["1.5", "", "20"] * 20, "number"),
    "code": (["007", "008"] * 20, "category"),
    "released": (["01-Jan-1995", "13-Feb-1996"] * 20, "date"),
    "day": ([20140513, 20150612] * 20, "date"),
    "directors": (["Ann Lee|Bob Ray", "Cy Twombly"] * 20, "list"),
    "summary": ([f"A long story about number {k}" for k in range(40)], "text"),
    "country_id": ([k % 4 for k in range(40)], "category"),
    "numbers": ([[1, 2], [3], [2]] * 20, "list"),
}


@pytest.mark.parametrize("name", GUESSES)
def test_kinds_are_guessed(name):
    values, kind = GUESSES[name]
    assert guess_kind(name, plain(pa.array(values))) == kind


@pytest.mark.parametrize(
    "name, values", [("imdbId", list(range(40))), ("url", [f"http://films/{k}" for k in range(40)])]
)
def test_a_value_for_each_row_is_no_feature(name, values):
    with pytest.raises(Unusable):
        guess_kind(name, plain(pa.array(values)))
