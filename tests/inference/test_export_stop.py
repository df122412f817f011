"""Exports on a full disk, and exports that are stopped or fail on some ranks, are finished by the same command."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gnnrec.distributed.world import World
from gnnrec.errors import Stopped, UserError
from gnnrec.inference.export_directory import ExportDirectory
from tests.distributed.ranks import run_on_ranks
from tests.inference.exports import OPTIONS, content, exported

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(mlp_run) -> Path:
    return mlp_run


@pytest.fixture
def small_disk() -> Iterator:
    """Limits the size of files, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_an_error_and_the_export_can_be_finished(run, whole, tmp_path, small_disk):
    out = tmp_path / "out"
    for size, name in [(50, ""), (600, "/.unfinished/encoder.pt"), (30_000, None)]:
        small_disk(size)
        if name is not None:
            with pytest.raises(UserError, match=f"out{name}: cannot write.*File too large") as problem:
                exported(run, out, **OPTIONS)
            assert "\n" not in str(problem.value)
            assert not list(out.rglob("*.tmp*"))
        else:
            exported(run, out, **OPTIONS)
    small_disk(None)
    assert content(out) == whole


def test_a_full_disk_in_the_middle_keeps_finished_parts(run, whole, tmp_path, monkeypatch):
    done, write = [], pq.write_table

    def fill(table, path) -> None:
        done.append(path)
        if len(done) in (2, 6):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        write(table, path)

    monkeypatch.setattr(pq, "write_table", fill)
    for name in ("movies/part-0000000010", "users/part-0000000010"):
        with pytest.raises(UserError, match=f"{name}.parquet: cannot write it .No space left on device.: make room"):
            exported(run, tmp_path / "out", **OPTIONS)
        assert not list((tmp_path / "out").rglob("*.tmp*"))
    exported(run, tmp_path / "out", **OPTIONS)
    assert content(tmp_path / "out") == whole


class StopAfter:
    """Replaces ``ExportDirectory.write``; requests a stop of the rank after some files."""

    def __init__(self, world: World, number: int):
        self.world, self.left, self.write = world, number, ExportDirectory.write

    def __call__(self, directory: ExportDirectory, name: str, how) -> None:
        self.write(directory, name, how)
        self.left -= 1
        if self.left == 0:
            self.world.stop._record(signal.SIGTERM, None)


def stop_on_rank(world: World, run: str, out: str, rank: int, number: int) -> str:
    if world.rank == rank:
        stop = StopAfter(world, number)
        ExportDirectory.write = lambda self, name, how: stop(self, name, how)
    try:
        exported(Path(run), Path(out), world, **OPTIONS)
    except Stopped as stopped:
        return str(stopped)
    finally:
        if world.rank == rank:
            ExportDirectory.write = stop.write
    return ""


@pytest.mark.parametrize("number", [1, 3, 6, 8])
def test_a_stopped_export_is_resumed(run, whole, tmp_path, number):
    assert stop_on_rank(World(), str(run), str(tmp_path / "out"), 0, number) == "by SIGTERM"
    assert not (tmp_path / "out" / "manifest.json").exists()
    exported(run, tmp_path / "out", **OPTIONS)
    assert content(tmp_path / "out") == whole


def test_all_ranks_stop_with_one(run, tmp_path):
    out = tmp_path / "out"
    assert run_on_ranks(2, stop_on_rank, str(run), str(out), 1, 1) == ["by SIGTERM"] * 2
    assert 1 <= len(list(out.glob("users/*"))) < 4
    assert run_on_ranks(2, stop_on_rank, str(run), str(out), 5, 0) == ["", ""]
    run_on_ranks(2, stop_on_rank, str(run), str(tmp_path / "expected"), 5, 0)
    assert content(out) == content(tmp_path / "expected")


def test_another_number_of_ranks_keeps_the_written_movies(run, whole, tmp_path):
    """Sums of two ranks are rounded differently, so movies are not embedded again."""
    stop_on_rank(World(), str(run), str(tmp_path / "out"), 0, 6)
    run_on_ranks(2, stop_on_rank, str(run), str(tmp_path / "out"), 5, 0)
    assert content(tmp_path / "out") == whole


def fail_on_rank(world: World, run: str, out: str, rank: int) -> str:
    write = pq.write_table

    def fail(table, path) -> None:
        if "/users/" in str(path):
            raise OSError(30, "Read-only file system")
        write(table, path)

    if world.rank == rank:
        pq.write_table = fail
    try:
        exported(Path(run), Path(out), world, **OPTIONS)
    except UserError as error:
        return str(error)
    finally:
        pq.write_table = write
    return ""


@pytest.mark.parametrize("rank", [0, 1])
def test_all_ranks_fail_with_the_one_that_cannot_write(run, tmp_path, rank):
    first, second = run_on_ranks(2, fail_on_rank, str(run), str(tmp_path / "out"), rank)
    assert first == second and "\n" not in first
    name = f"users/part-{10 * rank:010d}.parquet"
    assert first.startswith(f"{tmp_path}/out/{name}: cannot write it (Read-only file system)")
    # The other rank has written its parts.
    assert len(list((tmp_path / "out" / "users").iterdir())) == 2
    assert run_on_ranks(2, fail_on_rank, str(run), str(tmp_path / "out"), 5) == ["", ""]
