"""Checksums of the files of an export or a delta."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnnrec.utils.stored import check_recorded


def check_sums(directory: Path, manifest: dict[str, Any], beginnings: tuple[str, ...]) -> None:
    """Checks the files that are going to be read; others may be damaged.

    Args:
        directory: The export or delta.
        manifest: Its manifest.
        beginnings: Beginnings of the names of these files.

    Raises:
        UserError: A file is missing, or does not match the manifest.
    """
    for name, entry in manifest["files"].items():
        if name.startswith(beginnings):
            check_recorded(directory / name, entry, "export again", sizes=False)
