"""Kinds of faults: damage of files, a disk that is full, and signals."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path


def flip(path: Path, chance: random.Random) -> None:
    """Flips one bit."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def zero(path: Path, chance: random.Random) -> None:
    """Fills a part with zeros."""
    content = bytearray(path.read_bytes())
    first = chance.randrange(len(content))
    content[first : first + 4096] = bytes(len(content[first : first + 4096]))
    path.write_bytes(content)


def truncate(path: Path, chance: random.Random) -> None:
    """Cuts the end off."""
    os.truncate(path, chance.randrange(path.stat().st_size))


def garble(path: Path, chance: random.Random) -> None:
    """Writes something else of the same length."""
    path.write_bytes(chance.randbytes(path.stat().st_size))


def remove(path: Path, chance: random.Random) -> None:
    path.unlink()


def make_directory(path: Path, chance: random.Random) -> None:
    """Puts a directory in its place."""
    path.unlink()
    path.mkdir()


def make_pipe(path: Path, chance: random.Random) -> None:
    """Puts a pipe in its place, from which nothing comes."""
    path.unlink()
    os.mkfifo(path)


def make_loop(path: Path, chance: random.Random) -> None:
    """Puts a link to itself in its place."""
    path.unlink()
    path.symlink_to(path.name)


#: Name -> damage. The first four change contents.
CONTENT: dict[str, Callable[[Path, random.Random], None]] = {
    "a flipped bit": flip, "zeros": zero, "a cut end": truncate, "other contents": garble,
}  # fmt: skip
PLACE: dict[str, Callable[[Path, random.Random], None]] = {
    "removed": remove, "a directory": make_directory, "a pipe": make_pipe, "a loop of links": make_loop,
}  # fmt: skip


class SmallDisk:
    """Lets no file grow beyond a size, as a disk does that is full: called in the process of a program.

    Args:
        size: Bytes.
    """

    def __init__(self, size: int):
        self.size = size

    def __call__(self) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing then fails with an error
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))


def contents(directory: Path) -> dict[str, bytes]:
    """Path -> contents of the plain files in a directory."""
    found = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def copy(source: Path, target: Path) -> Path:
    """Replaces a directory by a copy of another one."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target, symlinks=True))
