"""Progress bar over the steps of a run."""

from __future__ import annotations

import sys

from tqdm import tqdm

from gnnrec.utils.log import logger


class ProgressBar(tqdm):
    """Bar of steps on a terminal; without a terminal, only the lines are printed. Ranks other than 0 print nothing.

    Args:
        total: Steps of the run.
        active: Whether this rank prints.
        done: Steps taken before.
    """

    def __init__(self, total: int, active: bool, done: int = 0):
        self._active = active
        shown = active and sys.stderr.isatty()
        super().__init__(total=total, initial=done, unit="step", leave=False, disable=not shown)

    def write_line(self, line: str) -> None:
        """Logs a line, above the bar."""
        if not self._active:
            return
        if self.disable:
            logger.info(line)
        else:
            with self.external_write_mode():
                logger.info(line)
