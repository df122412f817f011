"""The snapshot that answers: a new export takes the place of the old one between two requests."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Protocol

from gnnrec.errors import UserError
from gnnrec.inference.export_directory import MANIFEST
from gnnrec.serving.convert import convert, remove_old
from gnnrec.serving.errors import RequestError
from gnnrec.serving.snapshot import Snapshot
from gnnrec.tools.updating.generations import Generations
from gnnrec.utils.log import logger
from gnnrec.utils.stored import read_json

#: Seconds between two looks at the export.
PERIOD = 0.2


def find_export(path: Path) -> Path:
    """Returns the export that a path names now.

    Args:
        path: An export, a link to one, or a directory of ``gnnrec update``, of which it is the current generation.

    Raises:
        UserError: There is no such export.
    """
    generations = Generations(path)
    return generations.current().export.resolve() if generations.exists else Path(path).resolve()


def signature(path: Path) -> tuple[str, int, int] | None:
    """Returns values that change with the export that a path names; None while there is none."""
    try:
        export = find_export(path)
        stat = (export / MANIFEST).stat()
    except (OSError, UserError):
        return None
    return str(export), stat.st_mtime_ns, stat.st_ino


class Watched(Protocol):
    """A place of snapshots."""

    def changed(self) -> bool:
        """Returns whether there may be another snapshot than the last one that was opened; takes microseconds."""

    def open(self) -> Snapshot:
        """Opens the snapshot that is there now.

        Raises:
            UserError: It is damaged.
        """


class WatchedExport:
    """An export that is converted in this process.

    Args:
        path: See :func:`find_export`.
        cache: Directory of converted exports; by default beside the export.
        data: The prepared dataset, if it has moved since the export.
    """

    def __init__(self, path: Path, cache: Path | None = None, data: Path | None = None):
        self._path, self._cache, self._data = Path(path), cache, data
        self._arrays: list[Path] = []
        self._seen: tuple[str, int, int] | None = None

    def changed(self) -> bool:
        """Returns whether the path names another export, or its manifest was written anew."""
        now = signature(self._path)
        return now is not None and now != self._seen

    def open(self) -> Snapshot:
        """Converts and opens the export.

        Raises:
            UserError: It is damaged.
        """
        self._seen = signature(self._path)
        arrays = convert(find_export(self._path), self._cache, self._data)
        snapshot = Snapshot(arrays)
        self._arrays = remove_old([*self._arrays, arrays], self._cache) if self._arrays else [arrays]
        return snapshot


class WatchedPointer:
    """A file that names converted arrays, which another process writes.

    Args:
        path: The file, JSON with ``arrays``.
    """

    def __init__(self, path: Path):
        self._path, self._seen = path, 0

    def changed(self) -> bool:
        """Returns whether the file was replaced."""
        with contextlib.suppress(OSError):
            return self._path.stat().st_mtime_ns != self._seen
        return False

    def open(self) -> Snapshot:
        """Opens the arrays.

        Raises:
            UserError: They are damaged.
        """
        self._seen = self._path.stat().st_mtime_ns
        return Snapshot(Path(read_json(self._path, "start the service again")["arrays"]))


class Live:
    """The current snapshot, and the one before it for pages that began there.

    Args:
        watched: The place of snapshots.

    Attributes:
        current: The snapshot of new requests.
        swaps: Snapshots that took the place of another one.
        refused: Snapshots that were damaged.

    Raises:
        UserError: The first snapshot is damaged.
    """

    def __init__(self, watched: Watched):
        self._watched = watched
        self._previous: Snapshot | None = None
        self.swaps = self.refused = 0
        self.current = self._open()
        self._task: asyncio.Task[None] | None = None

    def _open(self) -> Snapshot:
        snapshot = self._watched.open()
        snapshot.warm()
        return snapshot

    def snapshot(self, generation: str | None) -> Snapshot:
        """Returns the current snapshot, or that of a generation.

        Raises:
            RequestError: The generation is gone.
        """
        for snapshot in (self.current, self._previous):
            if snapshot is not None and generation in (None, snapshot.generation):
                return snapshot
        raise RequestError(409, f"generation {str(generation)[:60]} is gone: ask for the first page again")

    def watch(self) -> None:
        """Starts looking for other snapshots, in the running event loop; further calls do nothing."""
        if self._task is None or self._task.done() or self._task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            if self._watched.changed():
                await self.refresh()

    async def refresh(self) -> None:
        """Opens the snapshot that is there now; a damaged one is refused, and the current one goes on."""
        try:
            snapshot = await asyncio.to_thread(self._open)
        except (UserError, OSError, ValueError, KeyError) as error:
            self.refused += 1
            logger.warning(f"the new export is not served: {error}")
            return
        if snapshot.generation != self.current.generation:
            self.current, self._previous = snapshot, self.current
            self.swaps += 1
