"""When to open another version of something: at once if it is new, and after pauses if it could not be opened."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable, Iterator

#: Seconds until a version that could not be opened is tried again: at first, and at most.
FIRST_PAUSE, MOST_PAUSE = 5.0, 300.0


class Attempts:
    """Attempts to open versions, of which one is tried at a time.

    Attributes:
        refused: Versions that could not be opened.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._opened: Hashable = None
        self._tried: Hashable = None
        self._due, self._pause = 0.0, FIRST_PAUSE

    def due(self, version: Hashable) -> bool:
        """Returns whether to try a version, which is None while there is none."""
        if version is None or version == self._opened:
            return False
        return version != self._tried or time.monotonic() >= self._due

    def begin(self, version: Hashable) -> None:
        """Notes that a version is tried."""
        if version != self._tried:
            self._tried, self._pause = version, FIRST_PAUSE
        self._due = float("inf")

    def succeed(self) -> None:
        """Notes that it was opened."""
        self._opened, self._due = self._tried, 0.0

    def forget(self) -> bool:
        """Notes that what was opened is lost and has to be opened again; returns whether that is new."""
        known, self._opened = self._opened is not None, None
        return known

    def fail(self) -> None:
        """Notes that it could not be opened: it is tried again, after longer and longer pauses."""
        self.refused += self._pause == FIRST_PAUSE
        self._due = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, MOST_PAUSE)

    @contextlib.contextmanager
    def trying(self, version: Hashable) -> Iterator[None]:
        """Notes an attempt, which succeeds unless the block raises."""
        self.begin(version)
        try:
            yield
        except BaseException:
            self.fail()
            raise
        self.succeed()
