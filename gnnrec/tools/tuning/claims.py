"""Claims on trials of a study that several jobs make at once, on file systems that they share.

A claim is a file with its job's host and process, whose time the job renews. Clocks of machines are not compared: the
claim of another machine counts as given up when this job has seen its time unchanged for a while.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from gnnrec.training.run_lock import LAPSE, RENEWAL, is_alive, owner
from gnnrec.utils import files


class TrialClaims:
    """Claims in a directory, of which this job has at most one. Its methods are called under a lock of all jobs.

    Args:
        directory: The directory; created if missing.
    """

    def __init__(self, directory: Path):
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self._mine: Path | None = None
        self._seen: dict[str, tuple[float, float]] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="gnnrec-claims")
        self._thread.start()

    def taken(self) -> set[int]:
        """Returns the numbers of trials that other jobs make; claims of dead jobs are removed."""
        numbers = set()
        for path in self.directory.glob("*.json"):
            if path == self._mine:
                continue
            if self._is_dead(path):
                path.unlink(missing_ok=True)
            else:
                numbers.add(int(path.stem))
        return numbers

    def take(self, number: int) -> None:
        """Claims a trial that no other job makes."""
        path = self.directory / f"{number:06d}.json"
        files.write_text(path, json.dumps(owner()) + "\n")
        self._mine = path

    def release(self) -> None:
        """Gives up the claim of this job, if it has one."""
        path, self._mine = self._mine, None
        if path is not None and _holder(path) == owner():
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Gives up the claim and ends the thread that renews it."""
        self._closed.set()
        self._thread.join(RENEWAL)
        self.release()

    def _is_dead(self, path: Path) -> bool:
        holder = _holder(path)
        if holder.get("host") == socket.gethostname():
            return not is_alive(holder)
        try:
            renewed = path.stat().st_mtime
        except OSError:
            return False
        before, since = self._seen.get(path.name, (None, 0.0))
        if renewed != before:
            self._seen[path.name] = renewed, time.monotonic()
            return False
        return time.monotonic() - since > LAPSE

    def _renew(self) -> None:
        while not self._closed.wait(RENEWAL):
            path = self._mine
            if path is not None and _holder(path) == owner():
                with contextlib.suppress(OSError):
                    os.utime(path)


def _holder(path: Path) -> dict[str, Any]:
    """The job of a claim; empty if the file is gone or damaged."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}
