"""The directory of an export: what is in it, what is missing, and whose it is."""

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

FORMAT, FORMAT_VERSION = "gnnrec-export", 2
MANIFEST = "manifest.json"
#: Here a part leaves its checksum while the export is under way.
_STATE = ".unfinished"
_IDENTITY = "identity.json"


@dataclasses.dataclass(frozen=True)
class ExportPart:
    """One file.

    Attributes:
        name: Path in the export.
        rows: Global rows in it.
    """

    name: str
    rows: range


def parts_of(kind: str, rows: int, part_rows: int) -> list[ExportPart]:
    """The files of users or movies: ``part_rows`` rows each, at multiples of ``part_rows``.

    Args:
        kind: ``users`` or ``movies``.
        rows: All rows.
        part_rows: Rows of a file.
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
        format: What the manifest calls it.
        holds: What it is in words.
        folders: Where files are.
    """

    format: ClassVar[str] = FORMAT
    holds: ClassVar[str] = "an export"
    folders: ClassVar[tuple[str, ...]] = ("users", "movies")

    def __init__(self, path: Path):
        self.path, self._state = Path(path), Path(path) / _STATE

    def open(self, identity: dict, overwrite: bool) -> bool:
        """Makes the directory, or goes on with what an interrupted export of the same left. On rank 0.

        Args:
            identity: What makes two exports the same.
            overwrite: Replace one that is complete, or of something else.

        Returns:
            Whether the export is complete.

        Raises:
            UserError: The directory holds something else, or cannot be written.
        """
        identity = {"format": self.format, **identity}
        try:
            if self.path.exists() and not self.path.is_dir():
                raise UserError(f"{self.path} is a file: choose another directory")
            found = self._identity()
            occupied = self.path.is_dir() and any(path != self._state for path in self.path.iterdir())
            if occupied and found is None:
                raise UserError(f"{self.path} holds something else than {self.holds}: choose another directory")
            if found is not None and (found != identity or self.is_complete):
                if overwrite:
                    self._clear()
                elif found != identity:
                    different = next(name for name in identity if found.get(name) != identity[name])
                    raise UserError(
                        f"{self.path} holds {self.holds} with {different} {_short(found.get(different))}, "
                        f"not {_short(identity[different])}: choose another directory or pass --overwrite"
                    )
                else:
                    self._check_sizes()
                    shutil.rmtree(self._state, ignore_errors=True)  # if it was killed just before its end
                    return True
            self._state.mkdir(parents=True, exist_ok=True)
            if not (self._state / _IDENTITY).exists():  # before anything else: it tells whose the directory is
                files.write_text(self._state / _IDENTITY, json.dumps(identity) + "\n")
            for name in self.folders:
                (self.path / name).mkdir(exist_ok=True)
            for left in [*self.path.rglob("*.tmp"), *self.path.rglob(".*.tmp-*")]:
                left.unlink()
        except OSError as error:
            raise UserError(f"{self.path}: cannot write there ({error.strerror}): choose another directory") from None
        return False

    @property
    def is_complete(self) -> bool:
        """The manifest, which comes last, is there."""
        return (self.path / MANIFEST).exists()

    @property
    def is_unfinished(self) -> bool:
        """An interrupted one is there."""
        return self._state.is_dir() and not self.is_complete

    def manifest(self) -> dict:
        """That of a complete export."""
        return json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))

    def has(self, name: str) -> bool:
        """A file was written and is what it was then."""
        record, path = self._record(name), self.path / name
        try:
            known = json.loads(record.read_text(encoding="utf-8"))
            return path.stat().st_size == known["bytes"] and files.sha256(path) == known["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def write(self, name: str, writer: Callable[[Path], None]) -> None:
        """A file that is complete or not there.

        Args:
            name: Path in the export.
            writer: Writes the file that it is given.

        Raises:
            UserError: It cannot be written.
        """
        path = self.path / name
        aside = path.with_name(f"{path.name}.tmp")
        try:
            writer(aside)
            files.sync(aside)
            record = {"bytes": aside.stat().st_size, "sha256": files.sha256(aside)}
            os.replace(aside, path)
            files.write_text(self._record(name), json.dumps(record) + "\n")
        except OSError as error:
            reason = error.strerror or str(error).splitlines()[0]
            raise UserError(f"{path}: cannot write it ({reason}): make room, and run the same command again") from None
        finally:
            aside.unlink(missing_ok=True)

    def finish(self, names: list[str], manifest: dict) -> dict:
        """Writes the manifest with the checksums of all files, and removes what only an unfinished export needs.

        Args:
            names: All files, paths in the export.
            manifest: Everything else.

        Raises:
            UserError: A file is missing, or the manifest cannot be written.
        """
        try:
            records = {name: json.loads(self._record(name).read_text(encoding="utf-8")) for name in names}
            identity = json.loads((self._state / _IDENTITY).read_text(encoding="utf-8"))
            manifest = {"format": self.format, "format_version": FORMAT_VERSION, **manifest, "id_embedding": identity}
            manifest["files"] = records
            for folder in {(self.path / name).parent for name in [*names, MANIFEST]}:
                files.sync(folder)
            files.write_text(self.path / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path}: cannot finish it ({error}): run the same command again") from None
        shutil.rmtree(self._state, ignore_errors=True)
        return manifest

    def state_file(self, name: str) -> str:
        """Path in the export of a file that only an unfinished export needs."""
        return f"{_STATE}/{name}"

    def _identity(self) -> dict | None:
        """Of a complete or an unfinished export; None where there is none."""
        for path in (self.path / MANIFEST, self._state / _IDENTITY):
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except ValueError as error:
                raise UserError(f"{path} is damaged ({error}): choose another directory") from None
            if not isinstance(content, dict) or content.get("format") != self.format:
                return None
            return content.get("id_embedding", {}) if path.name == MANIFEST else content
        return None

    def _check_sizes(self) -> None:
        """All files of a complete export are there, as long as they were."""
        for name, known in self.manifest()["files"].items():
            path = self.path / name
            found = path.stat().st_size if path.exists() else None
            if found != known["bytes"]:
                what = "is missing" if found is None else f"has {found} bytes, not {known['bytes']}"
                raise UserError(f"{path} {what}: pass --overwrite to write all again")

    def _clear(self) -> None:
        """Removes everything; last of all what tells that it was an export, in case that this is interrupted."""
        for path in sorted(self.path.iterdir(), key=lambda path: (path.name in (MANIFEST, _STATE), path.name)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _record(self, name: str) -> Path:
        return self._state / (name.removeprefix(f"{_STATE}/").replace("/", "-") + ".json")


def _short(value: object) -> str:
    """Fingerprints are long."""
    return str(value)[: 12 if len(str(value)) == 64 else None]
