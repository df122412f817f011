"""Preparing in bounded memory writes the same bytes as in memory, for all splits, files and engines."""

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
def small_splits(monkeypatch) -> None:
    """Input splits of about 37 rows, and four buckets."""
    monkeypatch.setattr(prepare, "plan", lambda layouts, options: Plan(37, 2))


@pytest.fixture(scope="module")
def rough(table) -> pd.DataFrame:
    """The table with duplicates, some of them with equal timestamps, in random order."""
    duplicates = table.sample(60, random_state=0).assign(rating=0.5)
    duplicates["timestamp"] -= np.arange(60) % 2 * 1000
    return pd.concat([table, duplicates]).sample(frac=1, random_state=1)


def assert_same_files(first: PreparedDataset, second: PreparedDataset, ignore: str = "") -> None:
    names = sorted(path.name for path in first.directory.iterdir())
    assert names == sorted(path.name for path in second.directory.iterdir()) and "movie.npy" in names
    for name in names:
        if name != ignore:
            assert filecmp.cmp(first.directory / name, second.directory / name, shallow=False), name


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("ids", ["integers", "text", "late text"])
def test_stream_writes_the_same_bytes_as_memory(rough, tmp_path, prepared, small_splits, protocol, ids):
    options = {"protocol": protocol, "shards": 4, "seed": 3, "test": 0.2, "validation": 0.2, "relevant": 2.5}
    if ids == "text":
        rough = rough.assign(userId="ü" + rough["userId"].astype(str), movieId="m" + rough["movieId"].astype(str))
    if ids == "late text":
        options |= {"user_column": "userId"}
        last = rough["userId"].isin(rough["userId"].unique()[-2:])
        rough = rough.assign(userId=rough["userId"].astype(str).where(~last, "x" + rough["userId"].astype(str)))
    rough.to_csv(tmp_path / "ratings.csv", index=False)
    engines = ("memory", "stream")
    first, second = (prepared(tmp_path, tmp_path / engine, engine=engine, **options) for engine in engines)
    assert_same_files(first, second)
    assert second.manifest.counts["duplicates_dropped"] == 60
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_many_files_of_different_formats_give_the_same_bytes_as_one(rough, tmp_path, prepared, small_splits):
    """Covers quoted commas and line breaks, gzip, Parquet, ids of other types and an empty file."""
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
    assert_same_files(one, prepared(many, tmp_path / "out", **options), ignore="manifest.json")
    assert_same_files(one, prepared(many / "*[a-e].*", tmp_path / "pattern", **options), ignore="manifest.json")
    assert len(PreparedDataset(tmp_path / "out").manifest.source["files"]) == 5


@pytest.mark.slow
def test_buckets_without_users_are_skipped(rough, tmp_path, prepared, monkeypatch):
    monkeypatch.setattr(prepare, "plan", lambda layouts, options: Plan(100, 7))
    rough.to_csv(tmp_path / "ratings.csv", index=False)
    for protocol in ("random", "strong"):
        options = {"protocol": protocol, "shards": 4, "overwrite": True}
        engines = ("memory", "stream")
        assert_same_files(*(prepared(tmp_path, tmp_path / engine, engine=engine, **options) for engine in engines))


def test_users_have_the_row_groups_of_a_table_written_at_once(rough, tmp_path, prepared, small_splits, monkeypatch):
    monkeypatch.setattr(assemble, "ROW_GROUP", 16)
    rough.to_csv(tmp_path / "ratings.csv", index=False)
    data = prepared(tmp_path, tmp_path / "out", engine="stream")
    data.users.to_parquet(tmp_path / "at_once.parquet", index=False, row_group_size=16)
    assert filecmp.cmp(tmp_path / "at_once.parquet", tmp_path / "out" / "users.parquet", shallow=False)


def test_a_full_disk_is_not_blamed_on_the_input(rough, tmp_path, prepared, small_splits, monkeypatch):
    """It fills up while the rows of a file are read and written to their buckets."""
    rough.to_csv(tmp_path / "ratings.csv", index=False)

    def disk_full(*columns):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(partition_by_user, "_write", disk_full)
    with pytest.raises(UserError, match=r"out: cannot write there \(No space left on device\): make room") as problem:
        prepared(tmp_path, tmp_path / "out", engine="stream", workers=1)
    assert "ratings.csv" not in str(problem.value)


@pytest.mark.parametrize("ids", ["integers", "text"])
def test_interrupted_run_resumes(rough, tmp_path, prepared, small_splits, monkeypatch, ids):
    if ids == "text":
        rough = rough.assign(userId="u" + rough["userId"].astype(str))
    rough.to_csv(tmp_path / "ratings.csv", index=False)
    first = prepared(tmp_path, tmp_path / "memory", engine="memory")
    original_write, written, original_sort = partition_by_user._write, [], sort_bucket.edges.sort_edges

    def recording_write(job, path, *columns):
        written.append(path.name)
        original_write(job, path, *columns)

    def disk_full(*columns):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(partition_by_user, "_write", recording_write)
    monkeypatch.setattr(sort_bucket.edges, "sort_edges", disk_full)
    with pytest.raises(UserError, match="No space left on device.*make room"):
        prepared(tmp_path, tmp_path / "out", engine="stream", workers=1)
    assert len(set(written)) > 10 and not (tmp_path / "out").exists()
    written_before, scratch = written.copy(), tmp_path / ".out.parts"
    (scratch / "input-000003.json").unlink()  # as if the run had been killed in the middle of this split
    monkeypatch.setattr(sort_bucket.edges, "sort_edges", original_sort)
    monkeypatch.setattr(prepare, "plan", lambda layouts, options: Plan(500, 0))  # less memory is free now
    assert_same_files(first, prepared(tmp_path, tmp_path / "out", engine="stream"))
    assert [name[:12] for name in written[len(written_before) :]] == ["input-000003"]
    assert not scratch.exists()


def test_scratch_of_other_input_is_discarded(rough, tmp_path, prepared, small_splits, monkeypatch):
    rough[:300].to_csv(tmp_path / "ratings.csv", index=False)
    with monkeypatch.context() as context, pytest.raises(RuntimeError, match="killed"):
        context.setattr(assemble, "write_users", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        prepared(tmp_path, tmp_path / "out", engine="stream")
    rough.to_csv(tmp_path / "ratings.csv", index=False)
    engines = ("memory", "stream")
    assert_same_files(*(prepared(tmp_path, tmp_path / engine, engine=engine) for engine in engines))


@pytest.mark.slow
def test_killed_run_can_be_started_again(rough, tmp_path, prepared):
    pd.concat([rough] * 100).to_csv(tmp_path / "ratings.csv", index=False)
    command = [sys.executable, "-m", "gnnrec", "prepare", str(tmp_path / "out"), "--ratings", str(tmp_path)]
    command += ["--engine", "stream"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None and not (tmp_path / ".out.parts").exists():
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first = prepared(tmp_path, tmp_path / "memory", engine="memory")
    assert_same_files(first, PreparedDataset(tmp_path / "out", verify=True))


def test_a_run_killed_before_its_first_marker_can_be_started_again(rough, tmp_path, prepared):
    rough.to_csv(tmp_path / "ratings.csv", index=False)
    (tmp_path / ".out.parts").mkdir()
    (tmp_path / ".out.parts" / "job.tmp").write_text('{"finger')
    first = prepared(tmp_path, tmp_path / "out", engine="stream")
    assert_same_files(first, prepared(tmp_path, tmp_path / "memory", engine="memory"))
    assert not (tmp_path / ".out.parts").exists()
    (tmp_path / ".other.parts").mkdir()
    (tmp_path / ".other.parts" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        prepared(tmp_path, tmp_path / "other", engine="stream")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("3,10,x,100", r"part-1.csv line 152: the rating 'x' is not a number"),
        ("3,,4.0,100", r"part-1.csv line 152: the movie id is missing"),
        ("3,10,9,100", r"part-1.csv line 152: the rating 9 is off the scale 0.5 to 5"),
        ("3,10,4.0", r"part-1.csv line 152: malformed row"),
        ("x3,10,4.0,100", r"part-1.csv line 152: the user id 'x3' is not an integer"),
    ],
)
def test_bad_row_is_reported_with_file_and_line(table, tmp_path, prepared, small_splits, row, message):
    for number in range(2):
        table[150 * number : 150 * number + 150].to_csv(tmp_path / f"part-{number}.csv", index=False)
    with open(tmp_path / "part-1.csv", "a") as file:
        file.write(row + "\n")
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-0.csv", "part-1.csv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "metis", "engine": "stream"}, "--order metis needs all ratings in memory"),
        ({"memory": 0.1}, "--memory 0.1: must be at least 1 gigabytes, or 0"),
        ({"workers": 0}, "--workers 0: must be at least 1"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "--scheduler needs --engine dask"),
        ({"engine": "spark"}, "--engine spark is unknown: choose auto or memory or stream or dask"),
        ({"ratings": "*.tsv"}, "no file matches: check the pattern"),
    ],
)
def test_bad_options_are_refused(table, tmp_path, options, message):
    for name in ("a.csv", "b.csv"):
        table.to_csv(tmp_path / name, index=False)
    options = {"ratings": tmp_path / options.pop("ratings", ""), **options}
    with pytest.raises(UserError, match=message):
        prepare_command(tmp_path / "out", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


def prepare_command(out: Path, **options) -> None:
    from gnnrec.data.prepare import prepare

    prepare(out, PrepareOptions(**options))


def test_scratch_with_other_files_is_refused_untouched(table, tmp_path, prepared):
    table.to_csv(tmp_path / "ratings.csv", index=False)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds something else: pass an empty directory with --scratch"):
        prepared(tmp_path, tmp_path / "out", engine="stream", scratch=other)
    assert (other / "thesis.txt").read_text() == "precious"


def test_files_with_different_columns_are_refused(table, tmp_path, prepared):
    table.to_csv(tmp_path / "a.csv", index=False)
    table.drop(columns="timestamp").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(UserError, match=r"b.csv has no timestamp column, but .*a.csv has one: give all"):
        prepared(tmp_path, tmp_path / "out")


def test_less_memory_means_smaller_splits_and_more_buckets(table, tmp_path):
    from gnnrec.data import formats

    pd.concat([table] * 2000).to_parquet(tmp_path / "ratings.parquet")
    layouts = [formats.detect_layout(tmp_path / "ratings.parquet", formats.RATINGS_ROLES, {})] * 100
    plans = [plan(layouts, PrepareOptions(memory=memory, workers=2)) for memory in (1.0, 2.0, 8.0)]
    buckets = [plan.log_buckets for plan in plans]
    assert buckets == sorted(buckets, reverse=True) and buckets[0] > buckets[2]
    assert plans[0].rows_per_split < plans[2].rows_per_split


@pytest.mark.slow
def test_dask_workers_write_the_same_bytes(rough, tmp_path, prepared):
    """Covers workers started by prepare and an existing cluster."""
    from distributed import LocalCluster

    rough.to_csv(tmp_path / "part-0.csv", index=False)
    rough[:50].to_csv(tmp_path / "part-1.csv", index=False)
    first = prepared(tmp_path / "part-*.csv", tmp_path / "stream", engine="stream", protocol="strong")
    assert_same_files(
        first, prepared(tmp_path / "part-*.csv", tmp_path / "out", engine="dask", protocol="strong", workers=2)
    )
    with LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster:
        options = {"engine": "dask", "protocol": "strong", "scheduler": cluster.scheduler_address}
        assert_same_files(first, prepared(tmp_path / "part-*.csv", tmp_path / "cluster", **options))
        with open(tmp_path / "part-1.csv", "a") as file:
            file.write("3,10,x,100\n")
        with pytest.raises(UserError, match=r"part-1.csv line 52: the rating 'x' is not a number"):
            prepared(tmp_path / "part-*.csv", tmp_path / "bad", **options)


def test_unreachable_scheduler_is_reported(table, tmp_path, prepared, monkeypatch):
    import distributed

    table.to_csv(tmp_path / "ratings.csv", index=False)
    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: client(address, timeout=0.5))
    with pytest.raises(UserError, match=r"--scheduler tcp://127.0.0.1:9 does not answer.*check the address"):
        prepared(tmp_path, tmp_path / "out", engine="dask", scheduler="tcp://127.0.0.1:9")
