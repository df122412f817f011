"""Opens the vectors of an export or a run; for an export neither torch nor pandas is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec.errors import UserError
from gnnrec.inference.export_directory import MANIFEST
from gnnrec.inference.export_vectors import ExportVectors, read_manifest
from gnnrec.inference.source_options import SourceOptions
from gnnrec.inference.vector_source import VectorSource
from gnnrec.utils.stored import read_json

if TYPE_CHECKING:
    from gnnrec.distributed.world import World


def open_source(path: Path, options: SourceOptions, world: World | None = None) -> VectorSource:
    """Opens the vectors of an export or a run.

    Raises:
        UserError: The path is neither.
    """
    if is_export(path):
        file = options.file
        if file is not None and encodes_users(path):
            from gnnrec.inference.encoded_users import EncodedUsers

            return EncodedUsers(ExportVectors(path, options.data), file)
        return ExportVectors(path, options.data, file)
    from gnnrec.distributed.world import World
    from gnnrec.inference.run_vectors import RunVectors

    return RunVectors(path, world or World(), options.checkpoint, options.data, options.chunk, options.file)


def encodes_users(path: Path) -> bool:
    """Returns whether users of files can be encoded with an export, which was not made for the users of a file."""
    manifest = read_manifest(Path(path))
    return "encoder" in manifest and "ratings" not in manifest


def is_export(path: Path) -> bool:
    """Returns whether a path is an export; otherwise it is a run.

    Raises:
        UserError: The path is neither, or an unfinished export.
    """
    path = Path(path)
    if (path / "config.yaml").exists():
        return False
    if (path / MANIFEST).exists():
        return True
    if (path / "users").is_dir() and (path / "movies").is_dir():
        raise UserError(f"{path} has no {MANIFEST}: run the same gnnrec export again to finish it")
    if not path.exists():
        raise UserError(f"{path} does not exist: pass a run directory or an export")
    if (path / "current.json").exists():
        newest = read_json(path / "current.json", "pass an export in it").get("export", "")
        raise UserError(f"{path} is a directory of generations: pass its newest export, {path / newest}")
    raise UserError(f"{path} is not a run directory (it has no config.yaml), and not an export (no {MANIFEST})")
