"""Atomic writes of files and directories, checksums, and messages of OS errors."""

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
from typing import BinaryIO, TextIO

from gnnrec.errors import UserError

#: Opens :func:`complete_directory` for a fixed target.
DirectoryOpener = Callable[[], contextlib.AbstractContextManager[Path]]


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's contents."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: BinaryIO) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def error_text(error: OSError) -> str:
    """The system's text for an error; Arrow's own message contains the number only."""
    return os.strerror(error.errno) if error.errno else str(error).splitlines()[0]


def sync(path: Path) -> None:
    """Flushes a file, or the entries of a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def complete_directory(target: Path, overwrite: bool = False, mark: str | None = None) -> Iterator[Path]:
    """Writes a directory atomically: it appears as ``target`` when the block succeeds, or not at all.

    Args:
        target: The final path. Its parents are created.
        overwrite: Replace an existing directory; otherwise an existing one is a :class:`UserError`.
        mark: A file that such directories contain. A directory without it was not written by gnnrec and is never
            replaced.

    Yields:
        An empty temporary directory next to ``target``. It is removed when the block raises, and by the next call if
        this process was killed.
    """
    target = Path(target)
    check_replaceable(target, overwrite, mark)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent, glob.escape(target.name))
        temporary = target.parent / f".{target.name}.tmp-{uuid.uuid4().hex[:8]}"
        temporary.mkdir()
    except OSError as error:
        raise UserError(f"{target}: cannot write there ({error.strerror}): choose another directory") from error
    try:
        with _locked(temporary):
            yield temporary
            replace_directory(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_replaceable(target: Path, overwrite: bool, mark: str | None = None) -> None:
    """Raises early the :class:`UserError` that :func:`complete_directory` would raise after all the work."""
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists already: choose another directory or pass --overwrite")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file: choose another directory")
    if mark and target.exists() and any(target.iterdir()) and not (target / mark).exists():
        raise UserError(
            f"{target} holds something else (it has no {mark}) and is not replaced: choose another directory"
        )


@contextlib.contextmanager
def complete_file(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """Writes a file atomically: it appears as ``target`` when the block succeeds, or not at all.

    Args:
        target: The final path. Its parents are created.
        overwrite: Replace an existing file; otherwise an existing one is a :class:`UserError`.

    Yields:
        An empty temporary file next to ``target``. It is removed when the block raises, and by the next call if this
        process was killed.

    Raises:
        UserError: The file exists, or cannot be written.
    """
    target = Path(target)
    check_replaceable_file(target, overwrite)
    temporary = target.parent / f".{target.name}.tmp-{uuid.uuid4().hex[:8]}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent, glob.escape(target.name))
        temporary.touch()
        with _locked(temporary):
            yield temporary
            sync(temporary)
            os.replace(temporary, target)
    except OSError as error:
        reason = error_text(error)
        raise UserError(f"{target}: cannot write it ({reason}): make room or choose another file") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_replaceable_file(target: Path, overwrite: bool) -> None:
    """Raises early the :class:`UserError` that :func:`complete_file` would raise after all the work."""
    if target.is_dir():
        raise UserError(f"{target} is a directory: choose a file")
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists already: choose another file or pass --overwrite")


def remove_leftovers(place: Path, names: str = "*") -> None:
    """Removes temporary results of killed writers. The kernel released their locks; live writers hold theirs.

    Args:
        place: Directory of the results.
        names: Pattern of their names.
    """
    for leftover in glob.glob(f".{names}.tmp-*", root_dir=place):
        path = place / leftover
        with _locked(path) as acquired:
            if acquired and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif acquired:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Locks a file or directory; yields False if another process holds the lock or the file system has no locks."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            acquired = True
        except OSError:
            acquired = False
        yield acquired
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_directory(path: Path) -> Iterator[None]:
    """Creates a directory and locks it; waits while another process has locked it.

    On a file system without locks it is not locked.
    """
    path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def lock_file(path: Path, shared: bool = False) -> TextIO | None:
    """Opens and locks a file; the system releases the lock when the process ends.

    On a file system without locks the file is not locked.

    Args:
        path: The file.
        shared: Other processes may lock it too, if their lock is shared.

    Returns:
        The open file, or None if another process has locked it.
    """
    file = open(path, "a")  # noqa: SIM115
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        pass
    return file


def replace_directory(temporary: Path, target: Path) -> None:
    """Renames ``temporary`` to ``target``; an old ``target`` is restored on failure and removed on success."""
    retired = target.with_name(f".{target.name}.old-{uuid.uuid4().hex[:8]}")
    existed = target.exists()
    if existed:
        os.rename(target, retired)
    try:
        os.rename(temporary, target)
    except OSError:
        if existed:
            os.rename(retired, target)
        raise
    if existed:
        shutil.rmtree(retired)


def write_text(path: Path, text: str) -> None:
    """Replaces a text file atomically: writes and flushes a temporary file, then renames it."""
    temporary = path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_text(text, encoding="utf-8")
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
