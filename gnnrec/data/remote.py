"""Ratings files at addresses that fsspec opens (``https://``, ``s3://``, ``gs://`` and others).

Files are copied to the directory of downloads first. A copy is used again as long as the size and the version (entity
tag or time of change) of the file are the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.log import logger
from gnnrec.utils.resource_errors import reraise_out_of_memory

#: A path keeps one slash of the two.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")
#: Fields of fsspec's information about a file that change with its contents.
_VERSIONS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "created", "md5Hash")
_BLOCK = 1 << 20


def is_remote(path: Path) -> bool:
    """Returns whether a path is an address such as ``s3://bucket/ratings.csv``."""
    return _ADDRESS.fullmatch(str(path)) is not None


def local_copy(path: Path, directory: Path) -> Path:
    """Returns a path itself, or copies the files at an address and returns the path of the copies.

    Args:
        path: A file, directory or pattern, here or at an address.
        directory: Directory of downloads.

    Raises:
        UserError: No package for this kind of address, no such file, or no connection.
    """
    match = _ADDRESS.fullmatch(str(path))
    if match is None:
        return path
    address = f"{match[1]}://{match[2]}"
    try:
        import fsspec

        system, root = fsspec.core.url_to_fs(address)
        return _copy(system, root, address, Path(directory).expanduser() / "remote")
    except ImportError as error:
        raise UserError(f"{address} needs a package that is not installed ({error}): install it") from None
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{address} does not exist: check the address") from None
    except Exception as error:  # each file system has errors of its own
        reraise_out_of_memory(error)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{address} cannot be read ({reason[:120]}): check the address and your credentials") from None


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
