"""The steps of a run on a terminal."""

from __future__ import annotations

import sys

from tqdm import tqdm

from gnnrec.utils.log import say


class ProgressBar(tqdm):
    """A bar of steps on a terminal; without one, only the lines. Ranks other than 0 show nothing.

    Args:
        total: Steps of the run.
        active: Show anything.
        done: Steps that were taken before.
    """

    def __init__(self, total: int, active: bool, done: int = 0):
        self._active = active
        shown = active and sys.stderr.isatty()
        super().__init__(total=total, initial=done, unit="step", leave=False, disable=not shown)

    def write_line(self, line: str) -> None:
        """Prints a line above the bar."""
        if not self._active:
            return
        if self.disable:
            say(line)
        else:
            self.write(line)
