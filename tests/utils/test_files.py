"""Files and directories are written completely or not at all."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal

import pytest

from gnnrec.errors import UserError
from gnnrec.utils import files


def names(directory) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_sha256_of_a_file(tmp_path):
    content = bytes(range(256)) * 9000  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert files.sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    with open(tmp_path / "file", "rb") as file:
        assert files._digest(file) == hashlib.sha256(content).hexdigest()


def test_directory_appears_when_complete(tmp_path):
    target = tmp_path / "some" / "where" / "out"
    with files.complete_directory(target) as temporary:
        assert temporary.parent == target.parent and names(temporary) == []
        (temporary / "part").write_text("x")
        assert not target.exists()
    assert names(target.parent) == ["out"]
    assert (target / "part").read_text() == "x"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_failed_block_leaves_no_files(tmp_path, failure):
    with pytest.raises(failure):
        with files.complete_directory(tmp_path / "out") as temporary:
            (temporary / "part").write_text("x")
            raise failure
    assert names(tmp_path) == []


def test_existing_directory_is_refused_untouched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(UserError, match="out exists already: .*--overwrite"):
        with files.complete_directory(tmp_path / "out"):
            pytest.fail("the block must not run")
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["mine"]


def test_overwrite_replaces_everything(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    with files.complete_directory(tmp_path / "out", overwrite=True) as temporary:
        (temporary / "new").write_text("y")
        assert names(tmp_path / "out") == ["old"]
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["new"]


def test_failed_overwrite_keeps_the_old_directory(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    with pytest.raises(ValueError):
        with files.complete_directory(tmp_path / "out", overwrite=True) as temporary:
            (temporary / "new").write_text("y")
            raise ValueError
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["old"]


def test_overwrite_also_creates_a_new_directory(tmp_path):
    with files.complete_directory(tmp_path / "out", overwrite=True) as temporary:
        (temporary / "new").write_text("y")
    assert names(tmp_path) == ["out"]


def test_unwritable_target_is_named_in_the_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file/out: cannot write there"):
        with files.complete_directory(tmp_path / "file" / "out"):
            pytest.fail("the block must not run")


def test_file_is_not_replaced_by_a_directory(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file is a file"):
        with files.complete_directory(tmp_path / "file", overwrite=True):
            pytest.fail("the block must not run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "x"


def test_old_directory_is_restored_when_the_rename_fails(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    with pytest.raises(FileNotFoundError):
        files.replace_directory(tmp_path / "missing", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and (tmp_path / "out" / "old").read_text() == "x"


def test_a_file_appears_when_complete_and_leftovers_are_removed(tmp_path):
    (tmp_path / ".out.csv.tmp-12345678").write_text("of a killed writer")
    with files.complete_file(tmp_path / "sub" / ".." / "out.csv") as temporary:
        temporary.write_text("new")
        assert sorted(tmp_path.iterdir()) == [temporary.resolve(), tmp_path / "sub"]
    assert (tmp_path / "out.csv").read_text() == "new"
    with pytest.raises(UserError, match="out.csv exists already: choose another file or pass --overwrite"):
        with files.complete_file(tmp_path / "out.csv"):
            pytest.fail("the block must not run")


@pytest.mark.parametrize("failure", [ValueError("no"), OSError(28, "No space left on device")])
def test_a_failed_file_keeps_the_old_one(tmp_path, failure):
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(UserError if isinstance(failure, OSError) else ValueError, match="make room|no"):
        with files.complete_file(tmp_path / "out.csv", overwrite=True) as temporary:
            temporary.write_text("new")
            raise failure
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_text_is_replaced_completely(tmp_path):
    path = tmp_path / "summary.json"
    files.write_text(path, "first, and longer")
    files.write_text(path, "zweite Fassung: größer")
    assert path.read_bytes() == "zweite Fassung: größer".encode()
    assert names(tmp_path) == ["summary.json"]


def test_failed_write_keeps_the_old_text(tmp_path):
    path = tmp_path / "summary.json"
    files.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "x" * 10_000_000 + "\ud800")
    assert path.read_text() == "old" and names(tmp_path) == ["summary.json"]


def begin_and_die(target: str) -> None:
    manager = files.complete_directory(target)
    (manager.__enter__() / "part").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)


def test_leftovers_of_killed_writers_are_removed_and_those_of_live_ones_kept(tmp_path):
    killed = multiprocessing.get_context("fork").Process(target=begin_and_die, args=(str(tmp_path / "out"),))
    killed.start()
    killed.join()
    (leftover,) = names(tmp_path)
    assert leftover.startswith(".out.tmp-")
    with files.complete_directory(tmp_path / "out") as first:
        assert leftover not in names(tmp_path)
        with files.complete_directory(tmp_path / "out", overwrite=True) as second:
            assert names(tmp_path) == sorted([first.name, second.name])
        (first / "part").write_text("y")
        (tmp_path / "out").rename(tmp_path / "other")
    assert names(tmp_path) == ["other", "out"] and names(tmp_path / "out") == ["part"]
