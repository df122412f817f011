"""A dataset to which days are appended has the ratings, splits and constants of one that is prepared from all days."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from gnnrec.data.growth.append import append
from gnnrec.data.growth.append_options import AppendOptions
from gnnrec.data.growth.compact import CompactOptions, compact
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, VALIDATION, Manifest, PreparedDataset
from gnnrec.data.split import PROTOCOLS
from gnnrec.data.verify import VerifyDataOptions, verify_data
from gnnrec.data.write_prepared import write_manifest
from tests.data.growth.days import grown_and_fresh, raw_ratings, write_days

OPTIONS = {"shards": 4, "seed": 3, "test": 0.2, "validation": 0.2, "relevant": 2.5}


def assert_equal(grown: PreparedDataset, fresh: PreparedDataset) -> None:
    pd.testing.assert_frame_equal(raw_ratings(grown), raw_ratings(fresh))
    for name in ("counts", "rating", "split"):
        assert getattr(grown.manifest, name) == getattr(fresh.manifest, name), name
    verify_data(grown.directory, VerifyDataOptions())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_grown_dataset_equals_a_fresh_one_and_compacted_has_its_rows(days, tmp_path, protocol):
    grown, fresh = grown_and_fresh(days, tmp_path, protocol=protocol, **OPTIONS)
    assert_equal(grown, fresh)
    first = PrepareOptions(ratings=tmp_path / "days" / "day0.csv", protocol=protocol, **OPTIONS)
    prepare(tmp_path / "first", first)
    before = PreparedDataset(tmp_path / "first")
    assert grown.num_users > before.num_users and grown.num_movies > before.num_movies
    for table, name in (("users", "user"), ("movies", "movie")):
        ids = getattr(before, table)[name].tolist()
        assert getattr(grown, table)[name].tolist()[: len(ids)] == ids
    by_user = np.diff(grown.user_ptr[grown.manifest.shards])
    assert by_user.max() < 1.3 * by_user.mean()
    compact(grown.directory, CompactOptions())
    folded = PreparedDataset(grown.directory, verify=True)
    assert_equal(folded, fresh)
    assert folded.users.equals(fresh.users) and folded.manifest.shards == fresh.manifest.shards
    assert folded.manifest.increments == [] and len(folded.manifest.source["files"]) == 3
    for name in ("user", "movie"):
        rows = np.load(folded.path(f"{name}_rows_before.npy"))
        old, new = (getattr(data, f"{name}s")[name].to_numpy() for data in (grown, folded))
        assert np.array_equal(old[rows], new)
    assert not np.array_equal(grown.movies["movie"], folded.movies["movie"])


ENGINES = [("memory", "temporal"), *(("stream", protocol) for protocol in PROTOCOLS)]


@pytest.mark.parametrize("engine, protocol", ENGINES)
def test_without_repeated_pairs_a_compacted_dataset_is_the_fresh_one(days, tmp_path, engine, protocol):
    table = pd.concat(days).drop_duplicates(["user", "movie"])
    parts = [table[:500], table[500:]]
    grown, fresh = grown_and_fresh(parts, tmp_path, protocol=protocol, **OPTIONS)
    assert grown.fingerprint != fresh.fingerprint
    compact(grown.directory, CompactOptions(engine=engine, workers=1))
    folded = PreparedDataset(grown.directory, verify=True)
    assert folded.fingerprint == fresh.fingerprint
    for name in fresh.manifest.files:
        assert folded.path(name).read_bytes() == fresh.path(name).read_bytes(), name


@pytest.mark.parametrize("kind", ["without times", "text ids", "events", "given split", "events without times"])
def test_other_kinds_of_ratings(days, tmp_path, kind):
    options = {**OPTIONS}
    if "without times" in kind:
        days = [day.drop(columns="timestamp") for day in days]
    if kind == "text ids":
        days = [day.assign(user="ü" + day["user"].astype(str), movie=day["movie"].astype(str) + "x") for day in days]
    if "events" in kind:
        options |= {"implicit": True, "protocol": "strong" if "times" in kind else "leave-last"}
        options.pop("relevant")
        days = [pd.concat([day, day[:50], day[:20]]).drop(columns="rating") for day in days]
    if kind == "given split":
        names = np.array(["train", "test", "train", "validation"])
        days = [day.assign(split=names[(day["user"] + np.arange(len(day))) % 4]) for day in days]
        options |= {"split_column": "split"}
        options.pop("test")
    grown, fresh = grown_and_fresh(days, tmp_path, **options)
    assert_equal(grown, fresh)
    compact(grown.directory, CompactOptions())
    assert_equal(PreparedDataset(grown.directory, verify=True), fresh)


@pytest.mark.parametrize("ids", ["integers of 32 bits", "text of few values"])
def test_tables_of_other_programs(days, tmp_path, ids):
    if "text" in ids:
        days = [day.assign(user="u" + day["user"].astype(str), movie="m" + day["movie"].astype(str)) for day in days]
    paths, data = write_days(days, tmp_path / "days"), tmp_path / "data"
    prepare(data, PrepareOptions(ratings=paths[0], **OPTIONS))
    for name in ("user", "movie"):
        table = pd.read_parquet(data / f"{name}s.parquet").assign(more="x")
        table = table.astype({name: "category" if "text" in ids else "int32"})
        table.to_parquet(data / f"{name}s.parquet", index=False)
    content = json.loads((data / "manifest.json").read_text())
    del content["fingerprint"]
    (data / "manifest.json").unlink()
    write_manifest(data, Manifest(**content))
    append(data, AppendOptions([str(paths[1])]))
    append(data, AppendOptions([str(paths[2])]))
    prepare(tmp_path / "fresh", PrepareOptions(ratings=tmp_path / "days", **OPTIONS))
    assert_equal(PreparedDataset(data), PreparedDataset(tmp_path / "fresh"))
    compact(data, CompactOptions())
    assert_equal(PreparedDataset(data), PreparedDataset(tmp_path / "fresh"))


def test_random_ratings_that_are_held_out_stay_so(days, tmp_path):
    grown, _ = grown_and_fresh(days, tmp_path, **OPTIONS)
    prepare(tmp_path / "first", PrepareOptions(ratings=tmp_path / "days" / "day0.csv", **OPTIONS))
    before, after = (raw_ratings(data) for data in (PreparedDataset(tmp_path / "first"), grown))
    both = before.merge(after, on=["user", "movie"], suffixes=("", "_after"))
    assert len(both) == len(before) and (both["split"] == both["split_after"]).all()
    assert {VALIDATION, TEST} <= set(after["split"]) and (both["rating"] != both["rating_after"]).sum() > 10


def test_older_ratings_of_known_pairs_do_not_count(days, tmp_path, capsys):
    paths = write_days(days, tmp_path)
    prepare(tmp_path / "data", PrepareOptions(ratings=paths[2], **OPTIONS))
    before = raw_ratings(PreparedDataset(tmp_path / "data"))
    append(tmp_path / "data", AppendOptions(append=[str(paths[0]), str(paths[1])], again=True))
    after = raw_ratings(PreparedDataset(tmp_path / "data"))
    merged = before.merge(after, on=["user", "movie"], suffixes=("", "_after"))
    assert (merged["rating"] == merged["rating_after"]).all()
    assert "ratings are older than those of the same pairs, and are left out" in capsys.readouterr().out
    counts = PreparedDataset(tmp_path / "data").manifest.increments[0]["counts"]
    assert counts["ratings"] == len(after) - len(before) and counts["changed"] == 0 < counts["older"]


def test_titles_and_the_list_of_increments(days, tmp_path):
    paths = write_days(days, tmp_path)
    ids = np.sort(pd.concat(days)["movie"].unique())
    titles = pd.DataFrame({"movie": ids, "title": [f"Film {movie}" for movie in ids], "genres": "Drama|War"})
    titles[titles["movie"].isin(days[0]["movie"])].to_csv(tmp_path / "old.csv", index=False)
    prepare(tmp_path / "data", PrepareOptions(ratings=paths[0], movies=tmp_path / "old.csv", **OPTIONS))
    new = titles[~titles["movie"].isin(days[0]["movie"])].assign(genres="Comedy")
    pd.concat([new, titles[:1].assign(title="Renamed")]).to_csv(tmp_path / "new.csv", index=False)
    before = PreparedDataset(tmp_path / "data").movies
    append(tmp_path / "data", AppendOptions(append=[str(paths[1])], movies=tmp_path / "new.csv"))
    append(tmp_path / "data", AppendOptions(append=[str(paths[2])]))
    data = PreparedDataset(tmp_path / "data")
    movies = data.movies.set_index("movie")
    listed = new[new["movie"].isin(days[1]["movie"])]
    assert len(listed) and (movies.loc[listed["movie"], "genres"] == "Comedy").all()
    assert movies.loc[ids[0], "title"] == "Renamed"
    kept = before[before["movie"] != ids[0]].set_index("movie")
    assert movies.loc[kept.index, "title"].equals(kept["title"])
    first, second = data.manifest.increments
    assert [first["files"][0]["name"], second["files"][0]["name"]] == ["day1.csv", "day2.csv"]
    assert first["kind"] == "append" and first["counts"]["rows"] == len(days[1]) and "+00:00" in first["time"]
    assert not (tmp_path / "data" / "movie.npy").exists()
    assert sorted(path.name for path in (tmp_path / "data" / "generations").iterdir()) == ["000001", "000002"]
