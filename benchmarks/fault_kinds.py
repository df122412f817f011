"""Kinds of faults: damage of files, disks that are full or read-only, and a limit of memory."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from gnnrec.utils import resource_errors


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

#: Flags of unshare(2) and mount(2).
_NEW_MOUNTS = 0x20000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18


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


class SmallMemory:
    """Lets a program allocate no more than this beyond its libraries: called in the process of a program.

    The libraries are loaded, so limits that are too low for loading them are not refused.

    Args:
        size: Bytes.
    """

    def __init__(self, size: int):
        self.size = size

    def __call__(self) -> None:
        resource_errors.LEAST_MEMORY = 0
        kib = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
        limit = int(kib) * 1024 + self.size
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


class ReadOnlyDisk:
    """Makes a directory read-only for a program, at its start or later: called in the process of a program, as root.

    The process gets its own table of mounts, in which the directory is mounted once more, read-only. Files that are
    open for writing stay writable.

    Args:
        directory: The directory.
        after: Seconds after the start.
    """

    def __init__(self, directory: Path, after: float):
        self.directory, self.after = os.fsencode(directory), after

    def __call__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._call(self._libc.unshare, _NEW_MOUNTS)
        self._call(self._libc.mount, None, b"/", None, _RECURSIVE | _PRIVATE, None)
        if self.after > 0:
            timer = threading.Timer(self.after, self._mount)
            timer.daemon = True
            timer.start()
        else:
            self._mount()

    def _mount(self) -> None:
        self._call(self._libc.mount, self.directory, self.directory, None, _BIND, None)
        self._call(self._libc.mount, None, self.directory, None, _BIND | _REMOUNT | _READ_ONLY, None)

    @staticmethod
    def _call(function: Callable[..., int], *arguments: object) -> None:
        if function(*arguments):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def contents(directory: Path) -> dict[str, bytes]:
    """Path -> contents of the plain files in a directory."""
    found = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def copy(source: Path, target: Path) -> Path:
    """Replaces a directory by a copy of another one."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target, symlinks=True))
