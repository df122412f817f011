"""Extracts named members of a zip file without trusting the paths in it."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from gnnrec.errors import UserError


def extract(archive: Path, folder: str, members: tuple[str, ...], target: Path) -> None:
    """Writes ``folder/member`` of the zip file to ``target/member`` for each member that exists.

    Args:
        archive: A zip file.
        folder: Folder in the archive that holds the members.
        members: Base names; the first one is required.
        target: An existing directory. Nothing is ever written outside it.

    Raises:
        UserError: The archive is damaged, contains an unsafe path or link, or lacks the first member.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            for entry in content.infolist():
                _refuse_unsafe(archive, entry)
            names = set(content.namelist())
            if f"{folder}/{members[0]}" not in names:
                raise UserError(
                    f"{archive} has no {folder}/{members[0]}: it is not the published archive, check the server"
                )
            for member in members:
                if f"{folder}/{member}" in names:
                    with content.open(f"{folder}/{member}") as source, open(target / member, "wb") as copy:
                        shutil.copyfileobj(source, copy, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{archive} is damaged ({error}): run the command again") from None


def _refuse_unsafe(archive: Path, entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
    if outside or stat.S_ISLNK(entry.external_attr >> 16):
        raise UserError(
            f"{archive}: unsafe entry {name!r} (it points outside the archive): nothing was unpacked, check the server"
        )
