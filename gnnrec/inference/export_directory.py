"""The directory of an export: its files, which of them are missing, and the run that they belong to."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.stored import check_recorded, check_regular, irregularity, read_json

FORMAT, FORMAT_VERSION = "gnnrec-export", 3
MANIFEST = "manifest.json"
#: Ids, titles and genres of the movies that are not in the dataset.
NEW_MOVIES_FILE = "new_movies.parquet"
#: Directory with the checksum of each finished part while the export is unfinished.
_STATE = ".unfinished"
_IDENTITY = "identity.json"


@dataclasses.dataclass(frozen=True)
class ExportPart:
    """One Parquet file of an export.

    Attributes:
        name: Path in the export.
        rows: Global rows in it.
    """

    name: str
    rows: range


def split_into_parts(kind: str, rows: int, part_rows: int) -> list[ExportPart]:
    """Splits users or movies into files of ``part_rows`` rows each.

    Args:
        kind: ``users`` or ``movies``.
        rows: Number of users or movies.
        part_rows: Rows in a file.
    """
    starts = range(0, rows, part_rows)
    return [
        ExportPart(f"{kind}/part-{start:010d}.parquet", range(start, min(start + part_rows, rows))) for start in starts
    ]


class ExportDirectory:
    """An export that may be unfinished.

    Args:
        path: The directory.

    Attributes:
        format: Name of the format in the manifest.
        holds: Description of the content for error messages.
        folders: Subdirectories with the parts.
    """

    format: ClassVar[str] = FORMAT
    holds: ClassVar[str] = "an export"
    folders: ClassVar[tuple[str, ...]] = ("users", "movies")

    def __init__(self, path: Path):
        self.path, self._state = Path(path), Path(path) / _STATE

    def open(self, identity: dict, overwrite: bool) -> bool:
        """Creates the directory, or resumes an interrupted export with the same identity. On rank 0.

        Args:
            identity: Values that are equal in two calls of the same export.
            overwrite: Replace an export that is complete or has another identity.

        Returns:
            Whether the export is complete.

        Raises:
            UserError: The directory has other content, or cannot be written.
        """
        identity = {"format": self.format, **identity}
        try:
            if self.path.exists() and not self.path.is_dir():
                raise UserError(f"{self.path} is a file: choose another directory")
            existing = self._identity()
            occupied = self.path.is_dir() and any(path != self._state for path in self.path.iterdir())
            if occupied and existing is None:
                raise UserError(f"{self.path} holds something else than {self.holds}: choose another directory")
            if existing is not None and (existing != identity or self.is_complete):
                if overwrite:
                    self._clear()
                elif existing != identity:
                    names = {**identity, **existing}
                    different = next(name for name in names if existing.get(name) != identity.get(name))
                    raise UserError(
                        f"{self.path} holds {self.holds} with {different} {_short(existing.get(different))}, "
                        f"not {_short(identity.get(different))}: choose another directory or pass --overwrite"
                    )
                else:
                    self._check_sizes()
                    shutil.rmtree(self._state, ignore_errors=True)  # left by a process killed near its end
                    return True
            self._state.mkdir(parents=True, exist_ok=True)
            if not (self._state / _IDENTITY).exists():  # first: it identifies the owner of the directory
                files.write_text(self._state / _IDENTITY, json.dumps(identity) + "\n")
            for name in self.folders:
                (self.path / name).mkdir(exist_ok=True)
            for leftover in [*self.path.rglob("*.tmp"), *self.path.rglob(".*.tmp-*")]:
                leftover.unlink()
        except OSError as error:
            raise UserError(f"{self.path}: cannot write there ({error.strerror}): choose another directory") from None
        return False

    @property
    def is_complete(self) -> bool:
        """Whether the manifest exists; it is written last."""
        return (self.path / MANIFEST).exists()

    @property
    def is_unfinished(self) -> bool:
        """Whether the directory has an interrupted export."""
        return self._state.is_dir() and not self.is_complete

    def manifest(self) -> dict:
        """Reads the manifest of a complete export."""
        return read_json(self.path / MANIFEST, "choose another directory")

    def has(self, name: str) -> bool:
        """Returns whether a file was written completely and has not changed since."""
        record, path = self._record(name), self.path / name
        try:
            expected = read_json(record, "")
            check_regular(path, "")
            return path.stat().st_size == expected["bytes"] and files.sha256(path) == expected["sha256"]
        except (UserError, OSError, KeyError):
            return False

    def write(self, name: str, writer: Callable[[Path], None]) -> None:
        """Writes a file atomically: it is complete or absent.

        Args:
            name: Path in the export.
            writer: Function that writes to the path that it receives.

        Raises:
            UserError: The file cannot be written.
        """
        path = self.path / name
        aside = path.with_name(f"{path.name}.tmp")
        try:
            writer(aside)
            files.sync(aside)
            record = {"bytes": aside.stat().st_size, "sha256": files.sha256(aside)}
            os.replace(aside, path)
            files.write_text(self._record(name), json.dumps(record) + "\n")
        except FileNotFoundError:
            raise UserError(
                f"{self.path} was finished or removed by another program: check it with gnnrec export --verify"
            ) from None
        except OSError as error:
            reason = error.strerror or str(error).splitlines()[0]
            raise UserError(f"{path}: cannot write it ({reason}): make room, and run the same command again") from None
        finally:
            aside.unlink(missing_ok=True)

    def finish(self, names: list[str], manifest: dict) -> dict:
        """Writes the manifest with the checksums of all files, and removes the state of the unfinished export.

        Args:
            names: Paths of all files in the export.
            manifest: All other entries of the manifest.

        Raises:
            UserError: A file is missing, or the manifest cannot be written.
        """
        try:
            again = "run the same command again"
            records = {name: read_json(self._record(name), again) for name in names}
            identity = read_json(self._state / _IDENTITY, again)
            manifest = {"format": self.format, "format_version": FORMAT_VERSION, **manifest, "identity": identity}
            manifest["files"] = records
            for folder in {(self.path / name).parent for name in [*names, MANIFEST]}:
                files.sync(folder)
            files.write_text(self.path / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path}: cannot finish the export ({error}): run the same command again") from None
        shutil.rmtree(self._state, ignore_errors=True)
        return manifest

    def state_file(self, name: str) -> str:
        """Returns the path, within the export, of a file that is removed when the export is finished."""
        return f"{_STATE}/{name}"

    def _identity(self) -> dict | None:
        """Reads the identity of a complete or unfinished export; None without one."""
        for path in (self.path / MANIFEST, self._state / _IDENTITY):
            if irregularity(path) == "is missing":
                continue
            content = read_json(path, "choose another directory")
            if content.get("format") != self.format:
                return None
            return content.get("identity", {}) if path.name == MANIFEST else content
        return None

    def _check_sizes(self) -> None:
        """Raises a UserError where a file of a complete export is missing or has another size."""
        for name, expected in self.manifest()["files"].items():
            check_recorded(self.path / name, expected, "pass --overwrite to write the export again", sums=False)

    def _clear(self) -> None:
        """Removes everything. The files that identify an export go last, in case this is interrupted."""
        for path in sorted(self.path.iterdir(), key=lambda path: (path.name in (MANIFEST, _STATE), path.name)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _record(self, name: str) -> Path:
        return self._state / (name.removeprefix(f"{_STATE}/").replace("/", "-") + ".json")


def _short(value: object) -> str:
    """Shortens a fingerprint."""
    return str(value)[: 12 if len(str(value)) == 64 else None]
