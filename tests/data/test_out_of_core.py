"""Preparing in bounded memory: the same bytes as everything at once, whatever the pieces, files and engine."""

from __future__ import annotations

import filecmp
import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.data.out_of_core import assemble, partition_by_user, prepare, sort_bucket
from gnnrec.data.out_of_core.size import Plan, plan
from gnnrec.data.prepare import PrepareOptions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.split import PROTOCOLS
from gnnrec.errors import UserError


@pytest.fixture
def small_pieces(monkeypatch) -> None:
    """Pieces of about 37 rows, four buckets, row groups of 16 users."""
    monkeypatch.setattr(prepare, "plan", lambda layouts, options: Plan(37, 2))


@pytest.fixture(scope="module")
def rough(table) -> pd.DataFrame:
    """The table with duplicates, some of them at the same time, in random order."""
    again = table.sample(60, random_state=0).assign(rating=0.5)
    again["timestamp"] -= np.arange(60) % 2 * 1000
    return pd.concat([table, again]).sample(frac=1, random_state=1)


def same_files(first: PreparedDataset, second: PreparedDataset, but: str = "") -> None:
    names = sorted(path.name for path in first.directory.iterdir())
    assert names == sorted(path.name for path in second.directory.iterdir()) and "movie.npy" in names
    for name in names:
        if name != but:
            assert filecmp.cmp(first.directory / name, second.directory / name, shallow=False), name


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("ids", ["integers", "words", "late words"])
def test_the_same_bytes_as_in_memory(rough, tmp_path, prepared, small_pieces, protocol, ids):
    options = {"protocol": protocol, "shards": 4, "seed": 3, "test": 0.2, "validation": 0.2, "relevant": 2.5}
    if ids == "words":
        rough = rough.assign(userId="ü" + rough["userId"].astype(str), movieId="m" + rough["movieId"].astype(str))
    if ids == "late words":
        options |= {"user_column": "userId"}
        rough = rough.assign(userId=rough["userId"].astype(str).where(rough["userId"] != rough["userId"].iloc[-1], "x"))
    rough.to_csv(tmp_path / "ratings.csv", index=False)
    first, second = (prepared(tmp_path, tmp_path / each, engine=each, **options) for each in ("memory", "stream"))
    same_files(first, second)
    assert second.manifest.counts["duplicates_dropped"] == 60
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_many_files_of_many_kinds_are_as_one(rough, tmp_path, prepared, small_pieces):
    """A comma and a line end inside of quotes, gzip, Parquet, ids of other types, an empty file."""
    rough = rough.assign(note='one, "two"\nthree')
    rough.to_csv(tmp_path / "whole.csv", index=False)
    many = tmp_path / "many"
    many.mkdir()
    parts = [rough[first : first + 165] for first in range(0, len(rough), 165)]
    parts[0].to_csv(many / "a.csv", index=False)
    with gzip.open(many / "b.csv.gz", "wt") as file:
        parts[1].to_csv(file, index=False)
    parts[2].to_parquet(many / "c.parquet", row_group_size=20)
    rough[:0].to_csv(many / "d.csv", index=False)
    parts[3].astype({"userId": str}).to_parquet(many / "e.parquet", row_group_size=60)
    (many / "_SUCCESS").touch()
    options = {"user_column": "userId", "shards": 4}
    one = prepared(tmp_path / "whole.csv", tmp_path / "one", engine="memory", **options)
    same_files(one, prepared(many, tmp_path / "out", **options), but="manifest.json")
    same_files(one, prepared(many / "*[a-e].*", tmp_path / "pattern", **options), but="manifest.json")
    assert len(PreparedDataset(tmp_path / "out").manifest.source["files"]) == 5


def test_buckets_without_users(rough, tmp_path, prepared, monkeypatch):
    monkeypatch.setattr(prepare, "plan", lambda layouts, options: Plan(100, 7))
    rough.to_csv(tmp_path / "ratings.csv", index=False)
    for protocol in ("random", "strong"):
        options = {"protocol": protocol, "shards": 4, "overwrite": True}
        same_files(*(prepared(tmp_path, tmp_path / each, engine=each, **options) for each in ("memory", "stream")))


def test_row_groups_of_users_are_those_of_one_table(rough, tmp_path, prepared, small_pieces, monkeypatch):
    monkeypatch.setattr(assemble, "ROW_GROUP", 16)
    rough.to_csv(tmp_path / "ratings.csv", index=False)
    data = prepared(tmp_path, tmp_path / "out", engine="stream")
    data.users.to_parquet(tmp_path / "at_once.parquet", index=False, row_group_size=16)
    assert filecmp.cmp(tmp_path / "at_once.parquet", tmp_path / "out" / "users.parquet", shallow=False)


@pytest.mark.parametrize("ids", ["integers", "words"])
def test_an_interrupted_run_goes_on_where_it_was(rough, tmp_path, prepared, small_pieces, monkeypatch, ids):
    if ids == "words":
        rough = rough.assign(userId="u" + rough["userId"].astype(str))
    rough.to_csv(tmp_path / "ratings.csv", index=False)
    first = prepared(tmp_path, tmp_path / "memory", engine="memory")
    real, wrote, sort = partition_by_user._write, [], sort_bucket.edges.sort_edges

    def counted(job, path, *columns):
        wrote.append(path.name)
        real(job, path, *columns)

    def full(*columns):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(partition_by_user, "_write", counted)
    monkeypatch.setattr(sort_bucket.edges, "sort_edges", full)
    with pytest.raises(UserError, match="No space left on device.*make room"):
        prepared(tmp_path, tmp_path / "out", engine="stream", workers=1)
    assert len(set(wrote)) > 10 and not (tmp_path / "out").exists()
    read_before, kept = wrote.copy(), tmp_path / ".out.parts"
    (kept / "piece-000003.json").unlink()  # as if it had been killed in the middle of this piece
    monkeypatch.setattr(sort_bucket.edges, "sort_edges", sort)
    monkeypatch.setattr(prepare, "plan", lambda layouts, options: Plan(500, 0))  # less memory is free now
    same_files(first, prepared(tmp_path, tmp_path / "out", engine="stream"))
    assert [name[:12] for name in wrote[len(read_before) :]] == ["piece-000003"]
    assert not kept.exists()


def test_other_input_starts_again(rough, tmp_path, prepared, small_pieces, monkeypatch):
    rough[:300].to_csv(tmp_path / "ratings.csv", index=False)
    with monkeypatch.context() as context, pytest.raises(RuntimeError, match="killed"):
        context.setattr(assemble, "write_users", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        prepared(tmp_path, tmp_path / "out", engine="stream")
    rough.to_csv(tmp_path / "ratings.csv", index=False)
    same_files(*(prepared(tmp_path, tmp_path / each, engine=each) for each in ("memory", "stream")))


def test_killed_for_good_and_started_again(rough, tmp_path, prepared):
    pd.concat([rough] * 100).to_csv(tmp_path / "ratings.csv", index=False)
    command = [sys.executable, "-m", "gnnrec", "prepare", str(tmp_path / "out"), "--ratings", str(tmp_path)]
    command += ["--engine", "stream"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.check_stop() is None and not (tmp_path / ".out.parts").exists():
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    subprocess.run(command, check=True, capture_output=True)
    first = prepared(tmp_path, tmp_path / "memory", engine="memory")
    same_files(first, PreparedDataset(tmp_path / "out", verify=True))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("3,10,x,100", r"part-1.csv line 152: the rating 'x' is not a number"),
        ("3,,4.0,100", r"part-1.csv line 152: the movie id is missing"),
        ("3,10,9,100", r"part-1.csv line 152: the rating 9 is off the scale 0.5 to 5"),
        ("3,10,4.0", r"part-1.csv line 152: malformed row"),
        ("x3,10,4.0,100", r"part-1.csv line 152: the user id 'x3' is not an integer"),
    ],
)
def test_a_bad_row_is_named(table, tmp_path, prepared, small_pieces, row, says):
    for number in range(2):
        table[150 * number : 150 * number + 150].to_csv(tmp_path / f"part-{number}.csv", index=False)
    with open(tmp_path / "part-1.csv", "a") as file:
        file.write(row + "\n")
    with pytest.raises(UserError, match=says):
        prepared(tmp_path, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-0.csv", "part-1.csv"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"order": "metis", "engine": "stream"}, "--order metis needs all ratings in memory"),
        ({"engine": "memory"}, "--engine memory takes one ratings file, not 2"),
        ({"order": "metis"}, "--order metis takes one ratings file, not 2"),
        ({"memory": 0.1}, "--memory 0.1 gigabytes are too few"),
        ({"workers": 0}, "--workers 0 is too few"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "--scheduler is for --engine dask"),
        ({"engine": "spark"}, "--engine spark is unknown: choose auto or memory or stream or dask"),
        ({"ratings": "*.tsv"}, "no file has such a name"),
    ],
)
def test_bad_options(table, tmp_path, options, says):
    for name in ("a.csv", "b.csv"):
        table.to_csv(tmp_path / name, index=False)
    options = {"ratings": tmp_path / options.pop("ratings", ""), **options}
    with pytest.raises(UserError, match=says):
        prepare_command(tmp_path / "out", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


def prepare_command(out: Path, **options) -> None:
    from gnnrec.data.prepare import prepare

    prepare(out, PrepareOptions(**options))


def test_a_directory_of_somebody_else_is_left_alone(table, tmp_path, prepared):
    table.to_csv(tmp_path / "ratings.csv", index=False)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds something else: name an empty directory with --scratch"):
        prepared(tmp_path, tmp_path / "out", engine="stream", scratch=other)
    assert (other / "thesis.txt").read_text() == "precious"


def test_files_that_do_not_match(table, tmp_path, prepared):
    table.to_csv(tmp_path / "a.csv", index=False)
    table.drop(columns="timestamp").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(UserError, match=r"b.csv has no timestamp column, as .*a.csv has"):
        prepared(tmp_path, tmp_path / "out")


def test_less_memory_is_smaller_pieces_and_more_buckets(table, tmp_path):
    from gnnrec.data import formats

    pd.concat([table] * 2000).to_parquet(tmp_path / "ratings.parquet")
    layouts = [formats.describe(tmp_path / "ratings.parquet", formats.RATINGS_ROLES, {})] * 100
    plans = [plan(layouts, PrepareOptions(memory=memory, workers=2)) for memory in (1.0, 2.0, 8.0)]
    buckets = [each.log_buckets for each in plans]
    assert buckets == sorted(buckets, reverse=True) and buckets[0] > buckets[2]
    assert plans[0].rows_a_piece < plans[2].rows_a_piece


def test_dask_workers_write_the_same_bytes(rough, tmp_path, prepared):
    """On workers that it starts, and on those of a cluster that is there already."""
    from distributed import LocalCluster

    rough.to_csv(tmp_path / "part-0.csv", index=False)
    rough[:50].to_csv(tmp_path / "part-1.csv", index=False)
    first = prepared(tmp_path / "part-*.csv", tmp_path / "stream", engine="stream", protocol="strong")
    same_files(first, prepared(tmp_path / "part-*.csv", tmp_path / "out", engine="dask", protocol="strong", workers=2))
    with LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster:
        options = {"engine": "dask", "protocol": "strong", "scheduler": cluster.scheduler_address}
        same_files(first, prepared(tmp_path / "part-*.csv", tmp_path / "cluster", **options))
        with open(tmp_path / "part-1.csv", "a") as file:
            file.write("3,10,x,100\n")
        with pytest.raises(UserError, match=r"part-1.csv line 52: the rating 'x' is not a number"):
            prepared(tmp_path / "part-*.csv", tmp_path / "bad", **options)


def test_a_scheduler_that_is_not_there(table, tmp_path, prepared, monkeypatch):
    import distributed

    table.to_csv(tmp_path / "ratings.csv", index=False)
    real = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: real(address, timeout=0.5))
    with pytest.raises(UserError, match=r"--scheduler tcp://127.0.0.1:9 does not answer.*check the address"):
        prepared(tmp_path, tmp_path / "out", engine="dask", scheduler="tcp://127.0.0.1:9")
