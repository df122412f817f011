"""Exports that are killed, stopped, damaged or refused: what is there is whole, and the same command goes on."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gnnrec.distributed.world import World
from gnnrec.errors import Stopped, UserError
from gnnrec.inference import export as export_module
from gnnrec.inference.export_directory import ExportDirectory
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.inference.exports import content, exported, names

pytestmark = pytest.mark.slow

USERS, MOVIES = 37, 29
OPTIONS = {"part_rows": 10, "chunk": 4}


class Killed(BaseException):
    """Nobody handles it."""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("export-resume")
    dataset = write_dataset(directory, USERS, MOVIES, shards=7)
    train(make_config(dataset.directory, directory / "run", model={"head": "mlp", "head_dim": 3}), World())
    return directory / "run"


@pytest.fixture(scope="module")
def other_run(run) -> Path:
    train(make_config(run.parent / "prepared", run.parent / "other", seed=1, max_steps=1), World())
    return run.parent / "other"


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory) -> dict[str, bytes]:
    """Files of an export that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    exported(run, out, **OPTIONS)
    found = content(out)
    assert len(found) == 4 + 3 + 2
    return found


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int, when: str) -> None:
    """Files get their names by ``os.replace``: dies before or after that of the given number, and cleans nothing."""
    done, replace = [], os.replace

    def replace_or_die(*paths) -> None:
        done.append(paths)
        if len(done) == number and when == "before":
            raise Killed
        replace(*paths)
        if len(done) == number:
            raise Killed

    monkeypatch.setattr(os, "replace", replace_or_die)
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None if missing_ok else unlink(path))


def killed(run: Path, out: Path, number: int, when: str = "before", **options) -> bool:
    with pytest.MonkeyPatch.context() as monkeypatch:
        kill_at(monkeypatch, number, when)
        try:
            exported(run, out, **OPTIONS | options)
        except Killed:
            return True
    return False


@pytest.fixture
def loaded_once(run, monkeypatch) -> None:
    """Half of the time of an export as small as these is that of reading the configuration."""
    loaded = export_module.load_run(run, World())
    monkeypatch.setattr(export_module, "load_run", lambda *arguments: loaded)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_anywhere_it_goes_on_to_the_same_files(run, loaded_once, tmp_path, when):
    options = {"part_rows": 19, "chunk": 100}
    exported(run, tmp_path / "whole", **OPTIONS | options)
    whole, number = content(tmp_path / "whole"), 0
    while killed(run, tmp_path / str(number), number + 1, when, **options):
        out = tmp_path / str(number)
        assert ("manifest.json" in names(out)) == (set(whole) <= set(content(out)))
        exported(run, out, **OPTIONS | options)
        assert content(out) == whole, f"killed {when} file {number + 1}"
        number += 1
    # Of each file the record too; identity; encoder with its record; and the manifest, which has none.
    assert number == 2 * (len(whole) - 1) + 4


def test_killed_again_and_again_it_is_finished(run, whole, loaded_once, tmp_path):
    lives = 1
    while killed(run, tmp_path / "out", 9):
        lives += 1
    assert lives > 2 and content(tmp_path / "out") == whole


def unfinished(run: Path, out: Path) -> None:
    """All parts are there, the manifest is not."""
    assert killed(run, out, 20)
    assert len(list(out.glob("users/*.parquet"))) == 4 and not (out / "manifest.json").exists()


@pytest.mark.parametrize("damage", ["nothing", "cut short", "flipped", "gone", "without record", "record damaged"])
def test_parts_that_are_whole_are_kept_and_others_written_again(run, whole, tmp_path, capsys, damage):
    out, name = tmp_path / "out", "users/part-0000000010.parquet"
    unfinished(run, out)
    path, record = out / name, out / ".unfinished" / "users-part-0000000010.parquet.json"
    data = bytearray(path.read_bytes())
    if damage == "cut short":
        path.write_bytes(data[:-7])
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "gone":
        path.unlink()
    elif damage == "without record":
        record.unlink()
    elif damage == "record damaged":
        record.write_text("[]")
    written, write = [], ExportDirectory.write
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(
            ExportDirectory, "write", lambda self, name, how: written.append(name) or write(self, name, how)
        )
        exported(run, out, **OPTIONS)
    assert content(out) == whole
    users = [each for each in written if each.startswith("users")]
    assert users == ([] if damage == "nothing" else [name])
    assert f"({4 - len(users)} of 4 parts were there)" in capsys.readouterr().out


def test_an_encoder_that_is_damaged_is_made_again(run, whole, tmp_path):
    unfinished(run, tmp_path / "out")
    (tmp_path / "out" / ".unfinished" / "encoder.pt").write_bytes(b"x")
    exported(run, tmp_path / "out", **OPTIONS)
    assert content(tmp_path / "out") == whole


def test_a_complete_one_is_left_alone(run, whole, tmp_path, capsys):
    out = tmp_path / "out"
    first = exported(run, out, **OPTIONS)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    capsys.readouterr()
    assert exported(run, out, **OPTIONS) == first
    assert capsys.readouterr().out == f"{out} is complete: nothing is left to do\n"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("damage", ["cut short", "gone"])
def test_a_complete_one_with_a_bad_file_is_written_again_on_request(run, whole, tmp_path, damage):
    out = tmp_path / "out"
    exported(run, out, **OPTIONS)
    path = out / "movies" / "part-0000000020.parquet"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"movies/part-0000000020.parquet (is missing|has \d+ bytes).*--overwrite"):
        exported(run, out, **OPTIONS)
    exported(run, out, overwrite=True, **OPTIONS)
    assert content(out) == whole


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"part_rows": 11}, "with part_rows 10, not 11"),
        ({"dtype": "float16"}, "with dtype float32, not float16"),
        ({}, r"with model \w{12}, not \w{12}"),
    ],
)
def test_another_export_is_refused_or_replaced(run, other_run, whole, tmp_path, options, said, finished):
    out = tmp_path / "out"
    if finished:
        exported(run, out, **OPTIONS)
    else:
        unfinished(run, out)
    before, source = content(out), run if options else other_run
    with pytest.raises(UserError, match=f"out holds an export {said}: choose another directory or pass --overwrite"):
        exported(source, out, **OPTIONS | options)
    assert content(out) == before
    exported(source, out, overwrite=True, **OPTIONS | options)
    exported(source, tmp_path / "expected", **OPTIONS | options)
    assert content(out) == content(tmp_path / "expected") != whole


def test_a_replacement_that_is_killed_can_be_repeated(run, other_run, tmp_path, whole):
    for number in range(1, 25, 6):
        out = tmp_path / str(number)
        exported(other_run, out)
        assert killed(run, out, number, overwrite=True) == (number <= 20)
        exported(run, out, overwrite=number == 1, **OPTIONS)
        assert content(out) == whole


def test_removal_that_is_killed_can_be_repeated(run, whole, tmp_path, monkeypatch):
    out, removed = tmp_path / "out", []
    exported(run, out, dtype="float16")

    def remove(path: Path) -> None:
        removed.append(path)
        if len(removed) == 2:
            raise Killed
        for file in path.rglob("*"):
            file.unlink()
        path.rmdir()

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("shutil.rmtree", remove)
        exported(run, out, overwrite=True, **OPTIONS)
    assert len(names(out)) == 2
    exported(run, out, overwrite=True, **OPTIONS)
    assert content(out) == whole


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_is_no_export_is_never_touched(run, tmp_path, overwrite):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    prepared = run.parent / "prepared"
    for place, said in [
        (tmp_path / "mine", "holds something else than an export"),
        (prepared, "holds something else than an export"),
        (run, "holds something else than an export"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "below", "cannot write there"),
        (tmp_path / "broken", "is damaged"),
        (Path("/proc/gnnrec"), "cannot write there"),
    ]:
        before = content(place) if place.is_dir() else None
        with pytest.raises(UserError, match=f"{place}.*{said}.*: choose another directory"):
            exported(run, place, overwrite=overwrite)
        assert before is None or content(place) == before


@pytest.fixture
def small_disk() -> Iterator:
    """Files cannot grow beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_got_over(run, whole, tmp_path, small_disk):
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


def test_a_full_disk_in_the_middle_keeps_what_was_written(run, whole, tmp_path, monkeypatch):
    done, write = [], pq.write_table

    def fill(table, path) -> None:
        done.append(path)
        if len(done) in (2, 6):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        write(table, path)

    monkeypatch.setattr(export_module.pq, "write_table", fill)
    for name in ("movies/part-0000000010", "users/part-0000000010"):
        with pytest.raises(UserError, match=f"{name}.parquet: cannot write it .No space left on device.: make room"):
            exported(run, tmp_path / "out", **OPTIONS)
        assert not list((tmp_path / "out").rglob("*.tmp*"))
    exported(run, tmp_path / "out", **OPTIONS)
    assert content(tmp_path / "out") == whole


class StopAfter:
    """Stands for ``ExportDirectory.write``; after some files the rank is told to stop."""

    def __init__(self, world: World, number: int):
        self.world, self.left, self.write = world, number, ExportDirectory.write

    def __call__(self, directory: ExportDirectory, name: str, how) -> None:
        self.write(directory, name, how)
        self.left -= 1
        if self.left == 0:
            self.world.stop._note(signal.SIGTERM, None)


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
def test_stopped_in_the_middle_it_goes_on(run, whole, tmp_path, number):
    assert stop_on_rank(World(), str(run), str(tmp_path / "out"), 0, number) == "by SIGTERM"
    assert not (tmp_path / "out" / "manifest.json").exists()
    exported(run, tmp_path / "out", **OPTIONS)
    assert content(tmp_path / "out") == whole


def test_all_ranks_stop_when_one_is_told_to(run, tmp_path):
    out = tmp_path / "out"
    assert run_on_ranks(2, stop_on_rank, str(run), str(out), 1, 1) == ["by SIGTERM"] * 2
    assert 1 <= len(list(out.glob("users/*"))) < 4
    assert run_on_ranks(2, stop_on_rank, str(run), str(out), 5, 0) == ["", ""]
    run_on_ranks(2, stop_on_rank, str(run), str(tmp_path / "expected"), 5, 0)
    assert content(out) == content(tmp_path / "expected")


def test_other_ranks_go_on_with_the_movies_that_are_there(run, whole, tmp_path):
    """Movie sums of two ranks are rounded in another way, so they are not made again."""
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
        export_module.pq.write_table = fail
    try:
        exported(Path(run), Path(out), world, **OPTIONS)
    except UserError as error:
        return str(error)
    finally:
        export_module.pq.write_table = write
    return ""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_cannot_write_ends_all_with_one_line(run, tmp_path, rank):
    first, second = run_on_ranks(2, fail_on_rank, str(run), str(tmp_path / "out"), rank)
    assert first == second and "\n" not in first
    name = f"users/part-{10 * rank:010d}.parquet"
    assert first.startswith(f"{tmp_path}/out/{name}: cannot write it (Read-only file system)")
    # The other one has done its share.
    assert len(list((tmp_path / "out" / "users").iterdir())) == 2
    assert run_on_ranks(2, fail_on_rank, str(run), str(tmp_path / "out"), 5) == ["", ""]
