"""Exports that are killed, damaged or refused have only complete files, and the same command resumes them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference import export as export_module
from gnnrec.inference.export_directory import ExportDirectory
from gnnrec.training.run import train
from tests.configs import make_config
from tests.inference.exports import OPTIONS, content, exported, names

pytestmark = pytest.mark.slow


class Killed(BaseException):
    """Stands for the death of the process: no handler catches it."""


@pytest.fixture(scope="module")
def run(mlp_run) -> Path:
    return mlp_run


@pytest.fixture(scope="module")
def other_run(run) -> Path:
    train(make_config(run.parent / "prepared", run.parent / "other", seed=1, max_steps=1), World())
    return run.parent / "other"


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int, when: str) -> None:
    """Dies before or after the ``os.replace`` of the given number, which names a file, without cleaning up."""
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
    """Loads the run once, since reading its configuration takes half of the time of so small an export."""
    loaded = export_module.load_run(run, World())
    monkeypatch.setattr(export_module, "load_run", lambda *arguments: loaded)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_export_killed_anywhere_is_resumed_to_the_same_files(run, loaded_once, tmp_path, when):
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


def test_an_export_killed_repeatedly_is_finished(run, whole, loaded_once, tmp_path):
    lives = 1
    while killed(run, tmp_path / "out", 9):
        lives += 1
    assert lives > 2 and content(tmp_path / "out") == whole


def unfinished(run: Path, out: Path) -> None:
    """Makes an export with all parts and without manifest."""
    assert killed(run, out, 26)
    assert len(list(out.glob("users/*.parquet"))) == 4 and not (out / "manifest.json").exists()


@pytest.mark.parametrize("damage", ["nothing", "cut short", "flipped", "gone", "without record", "record damaged"])
def test_undamaged_parts_are_kept_and_others_rewritten(run, whole, tmp_path, capsys, damage):
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
    assert f"({4 - len(users)} of 4 parts were already written)" in capsys.readouterr().out


def test_a_damaged_encoder_is_computed_again(run, whole, tmp_path):
    unfinished(run, tmp_path / "out")
    (tmp_path / "out" / ".unfinished" / "encoder.pt").write_bytes(b"x")
    exported(run, tmp_path / "out", **OPTIONS)
    assert content(tmp_path / "out") == whole


def test_a_complete_export_is_not_changed(run, whole, tmp_path, capsys):
    out = tmp_path / "out"
    first = exported(run, out, **OPTIONS)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    capsys.readouterr()
    assert exported(run, out, **OPTIONS) == first
    assert capsys.readouterr().out == f"{out} is already complete\n"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("damage", ["cut short", "gone"])
def test_a_damaged_complete_export_is_rewritten_on_request(run, whole, tmp_path, damage):
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
def test_another_export_is_refused_or_overwritten(run, other_run, whole, tmp_path, options, said, finished):
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


def test_a_killed_replacement_can_be_repeated(run, other_run, tmp_path, whole):
    for number in range(1, 25, 6):
        out = tmp_path / str(number)
        exported(other_run, out)
        assert killed(run, out, number, overwrite=True) == (number <= 20)
        exported(run, out, overwrite=number == 1, **OPTIONS)
        assert content(out) == whole


def test_a_killed_removal_can_be_repeated(run, whole, tmp_path, monkeypatch):
    out, removed = tmp_path / "out", []
    exported(run, out, dtype="float16")

    def remove(path: Path) -> None:
        removed.append(path)
        if len(removed) == 3:
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
def test_other_directories_are_never_changed(run, tmp_path, overwrite):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    prepared = run.parent / "prepared"
    for place, message in [
        (tmp_path / "mine", "holds something else than an export"),
        (prepared, "holds something else than an export"),
        (run, "holds something else than an export"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "below", "cannot write there"),
        (tmp_path / "broken", "is damaged"),
        (Path("/proc/gnnrec"), "cannot write there"),
    ]:
        before = content(place) if place.is_dir() else None
        with pytest.raises(UserError, match=f"{place}.*{message}.*: choose another directory"):
            exported(run, place, overwrite=overwrite)
        assert before is None or content(place) == before


def test_the_loser_of_two_exports_learns_what_has_happened(tmp_path):
    """The other one has finished, and removed the records of parts."""
    directory = ExportDirectory(tmp_path / "out")
    directory.open({"model": "a"}, overwrite=False)
    shutil.rmtree(directory.path / ".unfinished")
    with pytest.raises(UserError, match=r"out was finished or removed by another program: check it with .* --verify$"):
        directory.write("movies.txt", lambda path: path.write_text("x") and None)
