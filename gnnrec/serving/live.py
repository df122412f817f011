"""The snapshot that answers: a new export takes the place of the old one between two requests."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from gnnrec.errors import UserError
from gnnrec.inference.export_directory import MANIFEST
from gnnrec.serving.attempts import Attempts
from gnnrec.serving.convert import convert, remove_old
from gnnrec.serving.errors import RequestError
from gnnrec.serving.snapshot import Snapshot
from gnnrec.tools.updating.generations import Generations
from gnnrec.utils.log import logger
from gnnrec.utils.stored import read_json

#: Seconds between two looks at the export.
PERIOD = 0.2
#: Seconds that a request waits for a snapshot of another generation.
_OPENED_WITHIN = 2.0


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
    """Returns values that change with the export that a path names; None while there is none that can be looked at."""
    try:
        export = find_export(path)
        stat = (export / MANIFEST).stat()
    except Exception:  # a link to itself, a damaged file: whatever it is, it is no export
        return None
    return str(export), stat.st_mtime_ns, stat.st_ino


class Watched(Protocol):
    """A place of snapshots."""

    def changed(self) -> bool:
        """Returns whether there is another snapshot to open than the last one; takes microseconds."""

    def open(self) -> Snapshot:
        """Opens the snapshot that is there now.

        Raises:
            UserError: It is damaged.
        """

    @property
    def refused(self) -> int:
        """Exports that were refused as damaged."""


class WatchedExport:
    """An export that is converted in this process.

    Args:
        path: See :func:`find_export`.
        cache: Directory of converted exports; by default beside the export.
        data: The prepared dataset, if it has moved since the export.
    """

    def __init__(self, path: Path, cache: Path | None = None, data: Path | None = None):
        self._path, self._cache, self._data = Path(path), cache, data
        self._attempts, self._arrays = Attempts(), list[Path]()

    def changed(self) -> bool:
        """Returns whether the path names another export, or its manifest was written anew."""
        return self._attempts.due(signature(self._path))

    def open(self) -> Snapshot:
        """Converts and opens the export.

        Raises:
            UserError: It is damaged.
        """
        with self._attempts.trying(signature(self._path)):
            arrays = convert(find_export(self._path), self._cache, self._data)
            snapshot = _opened(arrays)
        self._arrays = remove_old([*self._arrays, arrays], self._cache) if self._arrays else [arrays]
        return snapshot

    @property
    def refused(self) -> int:
        """Exports that were refused."""
        return self._attempts.refused


class WatchedPointer:
    """A file that names converted arrays, which another process writes.

    Args:
        path: The file, JSON with ``arrays``, and ``refused``, the number of exports that could not be converted.
    """

    def __init__(self, path: Path):
        self._path, self._attempts = path, Attempts()

    def changed(self) -> bool:
        """Returns whether the file was replaced."""
        return self._attempts.due(self._version())

    def open(self) -> Snapshot:
        """Opens the arrays.

        Raises:
            UserError: They are damaged.
        """
        with self._attempts.trying(self._version()):
            return _opened(Path(self._read()["arrays"]))

    @property
    def refused(self) -> int:
        """Exports that were refused by the other process, or here."""
        try:
            return self._attempts.refused + self._read()["refused"]
        except UserError:
            return self._attempts.refused

    def _version(self) -> int | None:
        with contextlib.suppress(OSError):
            return self._path.stat().st_mtime_ns
        return None

    def _read(self) -> dict[str, Any]:
        return read_json(self._path, "start the service again")


def _opened(arrays: Path) -> Snapshot:
    snapshot = Snapshot(arrays)
    snapshot.warm()
    return snapshot


class Live:
    """The current snapshot, and the one before it for pages that began there.

    Args:
        watched: The place of snapshots.

    Attributes:
        current: The snapshot of new requests.
        swaps: Snapshots that took the place of another one.

    Raises:
        UserError: The first snapshot is damaged.
    """

    def __init__(self, watched: Watched):
        self._watched = watched
        self._previous: Snapshot | None = None
        self.swaps = 0
        self.current = watched.open()
        self._task: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None

    @property
    def refused(self) -> int:
        """Exports that were damaged."""
        return self._watched.refused

    async def snapshot(self, generation: str | None) -> Snapshot:
        """Returns the current snapshot, or that of a generation, which may be one that is about to be opened.

        Raises:
            RequestError: The generation is gone.
        """
        found = self._find(generation)
        if found is None and self._watched.changed():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.refresh(), _OPENED_WITHIN)
            found = self._find(generation)
        if found is None:
            raise RequestError(409, f"generation {str(generation)[:60]} is gone: ask for the first page again")
        return found

    def _find(self, generation: str | None) -> Snapshot | None:
        for snapshot in (self.current, self._previous):
            if snapshot is not None and generation in (None, snapshot.generation):
                return snapshot
        return None

    def watch(self) -> None:
        """Starts looking for other snapshots, in the running event loop; further calls do nothing."""
        if not _runs_here(self._task):
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            if self._watched.changed():
                await self.refresh()

    async def refresh(self) -> None:
        """Opens the snapshot that is there now; a damaged one is refused, and the current one goes on."""
        if not _runs_here(self._opening):
            self._opening = asyncio.get_running_loop().create_task(self._refresh())
        await asyncio.shield(self._opening)  # a request that ends does not end it

    async def _refresh(self) -> None:
        try:
            snapshot = await asyncio.to_thread(self._watched.open)
        except Exception as error:  # whatever is wrong with it, the current one answers
            logger.warning(f"the new export is not served: {error or type(error).__name__}")
            return
        if snapshot.generation != self.current.generation:
            self.current, self._previous = snapshot, self.current
            self.swaps += 1


def _runs_here(task: asyncio.Task[None] | None) -> TypeGuard[asyncio.Task[None]]:
    """Returns whether a task is under way in the running event loop."""
    return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()
