"""Ratings files at addresses that fsspec opens (``https://``, ``s3://``, ``gs://`` and others).

Files are copied to the directory of downloads first. A copy is used again as long as the size and the version (entity
tag or time of change) of the file are the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.addresses import address_of, opened
from gnnrec.utils.log import logger

#: Fields of fsspec's information about a file that change with its contents.
_VERSIONS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "created", "md5Hash")
_BLOCK = 1 << 20


def is_remote(path: Path) -> bool:
    """Returns whether a path is an address such as ``s3://bucket/ratings.csv``."""
    return address_of(path) is not None


def local_copy(path: Path, directory: Path) -> Path:
    """Returns a path itself, or copies the files at an address and returns the path of the copies.

    Args:
        path: A file, directory or pattern, here or at an address.
        directory: Directory of downloads.

    Raises:
        UserError: No package for this kind of address, no such file, or no connection.
    """
    address = address_of(path)
    if address is None:
        return path
    with opened(address, "read") as (system, root):
        return _copy(system, root, address, Path(directory).expanduser() / "remote")


def _copy(system: Any, root: str, address: str, directory: Path) -> Path:
    target = directory / hashlib.sha256(address.encode()).hexdigest()[:16]
    if "*" in root:
        base = root.split("*")[0].rpartition("/")[0]
        names, last = sorted(system.glob(root)), root[len(base) + 1 :]
    elif not address.startswith("http") and system.isdir(root):  # a page is read to find out whether it lists files
        names, base, last = sorted(system.find(root)), root.rstrip("/"), ""
    else:
        names, (base, _, last) = [root], root.rpartition("/")
    if not names:
        raise FileNotFoundError
    for name in names:
        relative = PurePosixPath(name.removeprefix(base).lstrip("/"))
        if ".." in relative.parts:
            raise UserError(f"{address}: unsafe name {relative}: rename the file")
        _copy_file(system, name, target / relative)
    return target / last


def _blocks(system: Any, name: str) -> Iterator[bytes]:
    """Yields the contents of a file. Errors of its system are not taken for those of the disk."""
    try:
        with system.open(name, "rb") as source:
            while block := source.read(_BLOCK):
                yield block
    except OSError as error:
        raise RuntimeError(str(error) or type(error).__name__) from error


def _copy_file(system: Any, name: str, path: Path) -> None:
    info = system.info(name)
    version = json.dumps([info.get("size"), *(str(info.get(field)) for field in _VERSIONS)])
    note = path.with_name(f".{path.name}.version")
    if path.exists() and note.exists() and note.read_text(encoding="utf-8") == version:
        return
    with files.complete_file(path, overwrite=True) as aside, open(aside, "wb") as copy:
        for block in _blocks(system, name):
            copy.write(block)
    note.write_text(version, encoding="utf-8")
    logger.info(f"copied {name} to {path}")
