"""Reads files that other programs, or accidents, may have changed: what is no plain file is named in one line."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError
from gnnrec.utils import files

_KINDS = {
    stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}  # fmt: skip


def irregularity(path: Path) -> str | None:
    """Says why a path is no file that can be read: ``is missing``, ``is a pipe, not a file``; None if it is one.

    Opening a pipe waits until another program writes to it, so nothing is opened here.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "is missing" if not path.is_symlink() else "is a link to nothing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not stat.S_ISREG(mode):
        return f"is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file"
    return None if os.access(path, os.R_OK) else "cannot be read (Permission denied)"


def check_regular(path: Path, way_out: str) -> None:
    """Raises a :class:`UserError` that ends with ``way_out`` if a path is no file that can be read."""
    if (problem := irregularity(path)) is not None:
        raise UserError(f"{path} {problem}: {way_out}")


def check_recorded(path: Path, entry: dict[str, Any], way_out: str, sizes: bool = True, sums: bool = True) -> None:
    """Checks a file against what was recorded of it when it was written.

    Args:
        path: The file.
        entry: ``bytes``, its size, and ``sha256``, its checksum.
        way_out: End of the message about a file that is another one.
        sizes: Compare the size.
        sums: Read the whole file, and compare its checksum.

    Raises:
        KeyError: The entry lacks what is compared.
        UserError: It is no file that can be read, or has another size or checksum.
    """
    check_regular(path, way_out)
    try:
        if sizes and (size := path.stat().st_size) != entry["bytes"]:
            raise UserError(f"{path} has {size} bytes, not {entry['bytes']}: {way_out}")
        if sums and files.sha256(path) != entry["sha256"]:
            raise UserError(f"{path} does not match its checksum: {way_out}")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {way_out}") from None


def read_text(path: Path, way_out: str) -> str:
    """Reads a text file.

    Args:
        path: The file.
        way_out: End of the message about a file that cannot be read.

    Raises:
        UserError: It is no file, or not UTF-8.
    """
    check_regular(path, way_out)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {way_out}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged ({error}): {way_out}") from None


def read_json(path: Path, way_out: str) -> dict[str, Any]:
    """Reads a JSON object; arguments and errors as those of :func:`read_text`."""
    text = read_text(path, way_out)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): {way_out}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged (it holds no JSON object): {way_out}")
    return content
