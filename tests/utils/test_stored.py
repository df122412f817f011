"""Paths that are no files are named without being opened, and JSON that is none is named."""

from __future__ import annotations

import os
import time

import pytest

from gnnrec.errors import UserError
from gnnrec.utils.stored import check_regular, irregularity, read_json


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


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '{"a": ' * 100_000])
def test_json_that_is_no_object_is_one_line(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json is damaged \(.*\): train again$") as problem:
        read_json(tmp_path / "a.json", "train again")
    assert "\n" not in str(problem.value)


def test_json_is_read(odd_paths):
    assert read_json(odd_paths / "link", "") == {"a": 1}
