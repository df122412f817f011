"""Splits of one's own are used as they are, from files or a column, with every engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.data.out_of_core import prepare as out_of_core
from gnnrec.data.out_of_core.size import Plan
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import SPLIT_NAMES, PreparedDataset
from gnnrec.errors import UserError
from tests.data.file_tables import assert_same_bytes, ratings

NAMES = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def small_splits(monkeypatch) -> None:
    monkeypatch.setattr(out_of_core, "plan", lambda layouts, options: Plan(137, 1))


def table() -> pd.DataFrame:
    """Ratings with a split by position; the last user and the last movie are in the test split alone."""
    frame = ratings()
    frame["split"] = np.array(NAMES)[[2, 1, *[0] * 8] * 90]
    frame.loc[(frame.user == 60) | (frame.movie == 40), "split"] = "test"
    return frame


def write(place: Path, suffix: str = "csv") -> dict[str, Path]:
    """Writes three files; returns the options that name them."""
    options = {}
    for name, part in table().groupby("split"):
        path = place / f"{name}.{suffix}"
        part = part.drop(columns="split")
        part.to_parquet(path) if suffix == "parquet" else part.to_csv(path, index=False)
        options[f"{name}_file"] = path
    return options


def splits_of(data: PreparedDataset) -> pd.DataFrame:
    user = np.repeat(data.users["user"].to_numpy(), np.diff(data.user_ptr))
    columns = {"user": user, "movie": data.movies["movie"].to_numpy()[data.movie]}
    columns |= {"rating": data.rating, "time": data.timestamp, "split": np.array(NAMES)[data.split]}
    return pd.DataFrame(columns).sort_values(["user", "movie"], ignore_index=True)


def prepared(out: Path, **options) -> PreparedDataset:
    prepare(out, PrepareOptions(shards=4, **options))
    return PreparedDataset(out, verify=True)


def assert_is_table(data: PreparedDataset) -> None:
    expected = table().sort_values(["user", "movie"], ignore_index=True)
    pd.testing.assert_frame_equal(splits_of(data), expected, check_dtype=False)
    counts = data.manifest.split["counts"]
    assert {name: counts[name] for name in NAMES} == table()["split"].value_counts().to_dict()
    assert data.manifest.split["protocol"] == "given" and data.manifest.rating["mean"] == pytest.approx(
        table().query("split == 'train'")["rating"].mean()
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_three_files(tmp_path, suffix):
    options = write(tmp_path, suffix)
    data = prepared(tmp_path / "memory", engine="memory", **options)
    assert_is_table(data)
    prepared(tmp_path / "stream", engine="stream", **options)
    assert_same_bytes(data.directory, tmp_path / "stream")
    assert [entry["name"] for entry in data.manifest.source["files"]] == [f"{name}.{suffix}" for name in NAMES]


@pytest.mark.slow
@pytest.mark.processes
def test_three_files_with_dask(tmp_path):
    options = write(tmp_path)
    first = prepared(tmp_path / "memory", engine="memory", **options)
    cut = {"protocol": "global-time", "test": 0.2, "ratings": options["train_file"]}
    second = prepared(tmp_path / "memory-cut", engine="memory", **cut)
    from distributed import LocalCluster

    with LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster:
        dask = {"engine": "dask", "scheduler": cluster.scheduler_address}
        prepared(tmp_path / "dask", **options, **dask)
        prepared(tmp_path / "dask-cut", **cut, **dask)
    assert_same_bytes(first.directory, tmp_path / "dask")
    assert_same_bytes(second.directory, tmp_path / "dask-cut")


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "hive"])
def test_a_column(tmp_path, kind):
    path = tmp_path / f"in.{kind}"
    frame = table().rename(columns={"split": "part"})
    if kind == "csv":
        frame.assign(part=frame.part.map({"train": " Train", "validation": "VALID", "test": "test "})).to_csv(path)
    elif kind == "parquet":
        frame.astype({"part": "category"}).to_parquet(path)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        for name, group in frame.groupby("part"):
            (path / f"part={name}").mkdir(parents=True)
            group.drop(columns="part").to_parquet(path / f"part={name}" / "0.parquet")
    for engine in ("memory", "stream"):
        assert_is_table(prepared(tmp_path / engine, ratings=path, split_column="part", engine=engine))
    assert_same_bytes(tmp_path / "memory", tmp_path / "stream")


def test_files_and_a_column_give_the_same_arrays(tmp_path):
    table().to_csv(tmp_path / "a.csv", index=False)
    first = prepared(tmp_path / "files", **write(tmp_path))
    second = prepared(tmp_path / "column", ratings=tmp_path / "a.csv", split_column="split")
    assert first.manifest.files == second.manifest.files


def test_published_folds_of_ml_100k(tmp_path):
    parts = table().assign(rating=lambda frame: frame.rating.astype(int))
    for name, splits in (("u1.base", ("train", "validation")), ("u1.test", ("test",))):
        part = parts[parts["split"].isin(splits)].drop(columns="split")
        part.to_csv(tmp_path / name, sep="\t", header=False, index=False)
    files = {"train_file": tmp_path / "u1.base", "test_file": tmp_path / "u1.test"}
    counts = prepared(tmp_path / "a", **files).manifest.split["counts"]
    sizes = parts["split"].value_counts()
    assert counts["test"] == sizes["test"] and counts["train"] == sizes["train"] + sizes["validation"]
    for engine in ("memory", "stream"):
        data = prepared(tmp_path / engine, engine=engine, validation=0.2, **files)
        counts = data.manifest.split["counts"]
        assert counts["test"] == sizes["test"] and 0.12 < counts["validation"] / (900 - sizes["test"]) < 0.28
        test = splits_of(data).query("split == 'test'")[["user", "movie"]].to_numpy().tolist()
        assert test == parts[parts["split"] == "test"].sort_values(["user", "movie"])[["user", "movie"]].values.tolist()
    assert_same_bytes(tmp_path / "memory", tmp_path / "stream")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"test_file": "test"}, "--test-file needs the ratings to train on: pass them with --train-file|give either"),
        ({"train_file": "train", "ratings": "train"}, "give either --dataset NAME or --ratings FILE, or"),
        ({"train_file": "train", "split_column": "split"}, "both give a split: leave one of them out"),
        ({"train_file": "train", "protocol": "temporal"}, "--protocol temporal chooses a split, and the split is"),
        ({"train_file": "train", "test_file": "none"}, "none.csv does not exist: check the path given to --test-file"),
        ({"ratings": "train", "split_column": "part"}, "train.csv line 1: no column 'part' among .*--split-column"),
        ({"ratings": "train", "split_column": "movie"}, "used for more than one role"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(tmp_path, options, message):
    write(tmp_path)
    options = {name: tmp_path / f"{value}.csv" if name in ("ratings", "train_file", "test_file") else value
               for name, value in options.items()}  # fmt: skip
    with pytest.raises(UserError, match=message):
        prepared(tmp_path / "out", **options)


@pytest.mark.parametrize("implicit", [False, True])
def test_users_that_are_held_out_are_given_in_files_or_a_column(tmp_path, implicit):
    """The split of ``strong``, written to files, is the same dataset again."""
    ratings().drop(columns=["rating"] if implicit else []).to_csv(tmp_path / "a.csv", index=False)
    options = {"implicit": implicit, "engine": "memory"}
    strong = prepared(tmp_path / "strong", ratings=tmp_path / "a.csv", protocol="strong", test=0.2, **options)
    user = np.repeat(strong.users["user"].to_numpy(), np.diff(strong.user_ptr))
    frame = pd.DataFrame(
        {"uid": user, "sid": strong.movies["movie"].to_numpy()[strong.movie], "time": strong.timestamp}
    )
    frame["split"] = np.array(SPLIT_NAMES)[strong.split]
    if not implicit:
        frame["rating"] = strong.rating
    frame.to_csv(tmp_path / "b.csv", index=False)
    column = {"ratings": tmp_path / "b.csv", "split_column": "split", "movie_column": "sid", **options}
    again = prepared(tmp_path / "column", **column)
    assert again.manifest.files == strong.manifest.files and again.manifest.split["counts"]["test_input"] > 0
    assert (again.manifest.split["protocol"], again.manifest.split["relevant"]) == ("strong", 1.0 if implicit else 4.0)
    frame = frame[frame["split"] != "unused"]
    for name, part in frame.groupby("split"):
        part.drop(columns="split").to_csv(tmp_path / f"{name}.csv", index=False)
    files = {f"{name}_file": tmp_path / f"{name}.csv" for name in SPLIT_NAMES[:5]}
    data = prepared(tmp_path / "files", movie_column="sid", **files, **options)
    assert data.manifest.split["counts"] == strong.manifest.split["counts"] | {"unused": 0}
    assert data.manifest.split["protocol"] == "strong"


@pytest.mark.parametrize("engine", ["memory", "stream"])
def test_an_unknown_split_is_named_with_its_row(tmp_path, engine):
    frame = table()
    frame.loc[700, "split"] = "hold"
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match="a.csv line 702: the split 'hold' is none of train, validation, test"):
        prepared(tmp_path / "out", ratings=tmp_path / "a.csv", split_column="split", engine=engine)
