"""Paths that are no files are named without being opened, and JSON that is none is named."""

from __future__ import annotations

import os
import time

import pytest

from gnnrec.errors import UserError
from gnnrec.utils.stored import check_recorded, check_regular, irregularity, read_json

#: That of ``{"a": 1}``, by sha256sum.
SHA256 = "f9d86028c6e0d64e225186f96acb69338b2c59764df79162107f5c4bb34d1310"


@pytest.fixture
def odd_paths(tmp_path):
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "file").write_text('{"a": 1}')
    (tmp_path / "link").symlink_to("file")
    return tmp_path


def test_every_kind_of_path_is_named(odd_paths):
    started = time.monotonic()
    found = {name: irregularity(odd_paths / name) for name in ("absent", *sorted(os.listdir(odd_paths)))}
    assert found == {
        "absent": "is missing",
        "dangling": "is a link to nothing",
        "directory": "is a directory, not a file",
        "file": None,
        "link": None,
        "loop": "cannot be read (Too many levels of symbolic links)",
        "pipe": "is a pipe, not a file",
    }
    assert time.monotonic() - started < 5  # opening the pipe would wait for ever


def test_the_message_ends_with_the_way_out(odd_paths):
    with pytest.raises(UserError, match=r"pipe is a pipe, not a file: train again$"):
        check_regular(odd_paths / "pipe", "train again")


@pytest.mark.parametrize(
    ("name", "entry", "problem"),
    [
        ("file", {"bytes": 8, "sha256": SHA256}, None),
        ("link", {"bytes": 8, "sha256": SHA256}, None),
        ("file", {"bytes": 9, "sha256": SHA256}, r"file has 8 bytes, not 9: train again"),
        ("file", {"bytes": 8, "sha256": SHA256[::-1]}, r"file does not match its checksum: train again"),
        ("absent", {"bytes": 8, "sha256": SHA256}, r"absent is missing: train again"),
        ("pipe", {"bytes": 0, "sha256": SHA256}, r"pipe is a pipe, not a file: train again"),
    ],
)
def test_a_file_is_the_one_that_was_recorded(odd_paths, name, entry, problem):
    if problem is None:
        check_recorded(odd_paths / name, entry, "train again")
        return
    with pytest.raises(UserError, match=f"{problem}$"):
        check_recorded(odd_paths / name, entry, "train again")


def test_what_was_not_recorded_is_not_taken_for_equal(odd_paths):
    for entry in ({"bytes": 8}, {"sha256": SHA256}):
        with pytest.raises(KeyError):
            check_recorded(odd_paths / "file", entry, "train again")
    with pytest.raises(UserError, match="does not match its checksum: train again$"):
        check_recorded(odd_paths / "file", {"sha256": None}, "train again", sizes=False)


def test_sizes_or_checksums_can_be_left_out(odd_paths):
    check_recorded(odd_paths / "file", {"bytes": 8, "sha256": "another one"}, "train again", sums=False)
    check_recorded(odd_paths / "file", {"bytes": 9, "sha256": SHA256}, "train again", sizes=False)


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '{"a": ' * 100_000])
def test_json_that_is_no_object_is_one_line(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json is damaged \(.*\): train again$") as problem:
        read_json(tmp_path / "a.json", "train again")
    assert "\n" not in str(problem.value)


def test_json_is_read(odd_paths):
    assert read_json(odd_paths / "link", "") == {"a": 1}
