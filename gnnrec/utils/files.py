"""Files that are complete or not there at all."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from gnnrec.errors import UserError

#: Opens :func:`complete_directory` for a target that is settled.
Complete = Callable[[], contextlib.AbstractContextManager[Path]]


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's contents."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: BinaryIO) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def reason(error: OSError) -> str:
    """Why the system could not, in its words; Arrow tells the number only."""
    return os.strerror(error.errno) if error.errno else str(error).splitlines()[0]


def sync(path: Path) -> None:
    """Waits until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def complete_directory(target: Path, overwrite: bool = False, mark: str | None = None) -> Iterator[Path]:
    """A directory that appears under its name when the block ends, or not at all.

    Args:
        target: The final path. Its parents are made.
        overwrite: Replace a directory that is there already; without it that is a :class:`UserError`.
        mark: A file that such directories have: one without it is somebody else's, and never replaced.

    Yields:
        An empty directory beside ``target`` to write into. It is removed when the block raises, and by the next call
        when this process was killed.
    """
    target = Path(target)
    check_replaceable(target, overwrite, mark)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        aside = target.parent / f".{target.name}.tmp-{uuid.uuid4().hex[:8]}"
        aside.mkdir()
    except OSError as error:
        raise UserError(f"{target}: cannot write there ({error.strerror}): choose another directory") from error
    try:
        with _locked(aside):
            yield aside
            replace_directory(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_replaceable(target: Path, overwrite: bool, mark: str | None = None) -> None:
    """Refuses a place that :func:`complete_directory` would refuse: work that would be lost at the end is saved."""
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists already: choose another directory or pass --overwrite")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file: choose another directory")
    if mark and target.exists() and any(target.iterdir()) and not (target / mark).exists():
        raise UserError(
            f"{target} holds something else (it has no {mark}), so nothing in it is replaced: choose another directory"
        )


def _remove_leftovers(target: Path) -> None:
    """Removes what killed writers of ``target`` left. The kernel takes their locks away; living ones have theirs."""
    for leftover in glob.glob(f".{glob.escape(target.name)}.tmp-*", root_dir=target.parent):
        with _locked(target.parent / leftover) as dead:
            if dead:
                shutil.rmtree(target.parent / leftover, ignore_errors=True)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[bool]:
    """Holds the lock of a directory; yields False where another process has it, or the file system knows no locks."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except OSError:
            held = False
        yield held
    finally:
        os.close(descriptor)


def replace_directory(aside: Path, target: Path) -> None:
    """Renames ``aside`` to ``target``; what was there is put back when that fails, and removed when it is done."""
    retired = target.with_name(f".{target.name}.old-{uuid.uuid4().hex[:8]}")
    replaced = target.exists()
    if replaced:
        os.rename(target, retired)
    try:
        os.rename(aside, target)
    except OSError:
        if replaced:
            os.rename(retired, target)
        raise
    if replaced:
        shutil.rmtree(retired)


def write_text(path: Path, text: str) -> None:
    """Writes a text file aside, to the disk, and renames it into place."""
    aside = path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        aside.write_text(text, encoding="utf-8")
        sync(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
