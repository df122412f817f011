"""``metrics.jsonl``: one line for each record, whatever happens to the disk."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.utils.log import say


class MetricsFile:
    """A file of lines that only grows. On a full disk lines wait in memory until there is room.

    Args:
        path: The file.
        size: Bytes to go on from; what follows is dropped.
        waiting: What belongs behind them and was not on the disk yet.

    Attributes:
        dropped: Whole lines that followed.
    """

    def __init__(self, path: Path, size: int = 0, waiting: str = ""):
        self.path = path
        self._file = open(path, "ab", buffering=0)
        self._waiting, self._warned = waiting.encode(), False
        self.dropped: list[str] = []
        there = self.size
        if there < size:
            # A file that is made longer would be filled with zeros.
            size, self._waiting = path.read_bytes().rfind(b"\n") + 1, b""
            say(f"warning: {path} has lost its end; records go on behind it", sys.stderr)
        if there > size:
            self.dropped = self.lines(size)
            self._file.truncate(size)
        self._written = self.size

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def waiting(self) -> str:
        """What belongs behind them and could not be written yet."""
        return self._waiting.decode()

    def lines(self, start: int = 0) -> list[str]:
        """All lines that are whole, from byte ``start`` on, those that wait included."""
        content = self.path.read_bytes()[start:] + self._waiting
        return [line.decode() for line in content.split(b"\n")[:-1]]

    def write(self, line: str) -> None:
        """Adds a line, now or when there is room.

        Raises:
            UserError: Somebody else has changed the file.
        """
        if self.size != self._written:
            raise UserError(f"{self.path}: another job writes to it, so this one does no more")
        self._waiting += line.encode() + b"\n"
        try:
            while self._waiting:
                done = self._file.write(self._waiting)
                self._waiting, self._written = self._waiting[done:], self._written + done
            self._warned = False
        except OSError as error:
            if not self._warned:
                problem = f"cannot write ({error.strerror}); records wait in memory"
                say(f"warning: {self.path}: {problem}", sys.stderr)
            self._warned = True

    def sync(self) -> None:
        """Waits until what was written is on the disk: a checkpoint counts on it."""
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
