"""Output files and directories, here or at addresses that fsspec opens (``s3://``, ``gs://``, ``https://``).

Results for an address are written here first and then copied, so that nothing incomplete is at the address: a file is
copied when it is complete, and of a directory the manifest last.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.addresses import address_of, cache_directory, opened


@contextlib.contextmanager
def output_file(out: Path, overwrite: bool) -> Iterator[Path]:
    """Writes a file that appears when the block succeeds, or not at all.

    Args:
        out: The final path or address.
        overwrite: Replace an existing file.

    Yields:
        Path to write to.

    Raises:
        UserError: The file exists, or cannot be written.
    """
    address = address_of(out)
    if address is None:
        with files.complete_file(out, overwrite) as aside:
            yield aside
        return
    check_output_file(out, overwrite)
    with tempfile.TemporaryDirectory(prefix="gnnrec-") as directory:
        path = Path(directory) / out.name
        yield path
        with opened(address, "written") as (system, root):
            _put(system, path, root)


def check_output_file(out: Path, overwrite: bool) -> None:
    """Raises early the :class:`UserError` of :func:`output_file` for a file that exists."""
    address = address_of(out)
    if address is None:
        files.check_replaceable_file(out, overwrite)
    elif not overwrite:
        _refuse_existing(address, address)


@contextlib.contextmanager
def output_directory(out: Path, mark: str, overwrite: bool, world: World) -> Iterator[Path]:
    """Writes a directory that is complete when it has its mark.

    For an address the directory is in ``~/.cache/gnnrec/outputs`` until it has been copied, where the same command
    resumes it. With several ranks they must share that directory.

    Args:
        out: The final path or address.
        mark: Name of the file that is written last.
        overwrite: Replace an existing directory.
        world: The ranks; every rank calls this.

    Yields:
        Path of the directory to write.

    Raises:
        UserError: There is a complete directory at the address, or it cannot be written.
    """
    address = address_of(out)
    if address is None:
        yield out
        return
    if not overwrite:
        world.run_on_rank0(lambda: _refuse_existing(f"{address}/{mark}", address))
    place = cache_directory() / "outputs" / hashlib.sha256(address.encode()).hexdigest()[:16]
    yield place
    world.run_on_rank0(lambda: _upload(place, address, mark))
    world.log(f"copied to {address}")


def _refuse_existing(address: str, shown: str) -> None:
    with opened(address, "written") as (system, root):
        if system.exists(root):
            raise UserError(f"{shown} exists already: choose another address or pass --overwrite")


def _upload(place: Path, address: str, mark: str) -> None:
    """Copies a directory, after the removal of an older one with the same mark, and removes it here."""
    names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    names = [name for name in names if name != mark and not name.startswith(".")] + [mark]
    with opened(address, "written") as (system, root):
        root = root.rstrip("/")
        if not address.startswith("http") and system.exists(f"{root}/{mark}"):
            system.rm(f"{root}/{mark}")  # what is there is incomplete from now on
            system.rm(root, recursive=True)
        for name in names:
            _put(system, place / name, f"{root}/{name}")
    shutil.rmtree(place)


def _put(system: Any, path: Path, target: str) -> None:
    options = {"method": "put"} if target.startswith("http") else {}
    system.put_file(str(path), target, **options)
