"""``metrics.jsonl``: one line for each record, even over a full disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.utils.log import logger
from gnnrec.utils.stored import check_regular, irregularity


class MetricsFile:
    """Appends lines to a file. On a full disk they are kept in memory until there is room.

    Args:
        path: The file.
        size: Bytes of the file to keep; later ones are dropped.
        waiting: Lines after these bytes that could not be written before.

    Attributes:
        dropped: Complete lines among the dropped bytes.

    Raises:
        UserError: The path is no file.
    """

    def __init__(self, path: Path, size: int = 0, waiting: str = ""):
        self.path = path
        if irregularity(path) not in (None, "is missing"):
            check_regular(path, "move it away, then resume with --resume auto")
        self._file = open(path, "ab", buffering=0)
        self._waiting, self._warned = waiting.encode(), False
        self.dropped: list[str] = []
        present = self.size
        if present < size:
            # Extending the file would fill it with zeros.
            size, self._waiting = path.read_bytes().rfind(b"\n") + 1, b""
            logger.warning(f"{path} has lost its end; new records follow the last complete one")
        if present > size:
            self.dropped = self.lines(size)
            self._file.truncate(size)
        self._written = self.size

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def waiting(self) -> str:
        """Lines that could not be written yet."""
        return self._waiting.decode()

    def lines(self, start: int = 0) -> list[str]:
        """All complete lines from byte ``start`` on, including those not written yet."""
        content = self.path.read_bytes()[start:] + self._waiting
        return [line.decode() for line in content.split(b"\n")[:-1]]

    def write(self, line: str) -> None:
        """Appends a line, now or when there is room.

        Raises:
            UserError: Another process has changed the file.
        """
        if self.size != self._written:
            raise UserError(f"{self.path}: another job writes to this file, so this job ends")
        self._waiting += line.encode() + b"\n"
        try:
            while self._waiting:
                done = self._file.write(self._waiting)
                self._waiting, self._written = self._waiting[done:], self._written + done
            self._warned = False
        except OSError as error:
            if not self._warned:
                problem = f"cannot write ({error.strerror}); records are kept in memory"
                logger.warning(f"{self.path}: {problem}")
            self._warned = True

    def sync(self) -> None:
        """Waits until the lines written are on the disk: checkpoints rely on them."""
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
