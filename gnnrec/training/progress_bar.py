"""The steps of a run on a terminal."""

from __future__ import annotations

import sys

from tqdm import tqdm

from gnnrec.utils.log import say


class ProgressBar:
    """Steps of the run on a terminal; only lines when the output goes to a file. Ranks other than 0 show nothing."""

    def __init__(self, total: int, active: bool, done: int = 0):
        self._active = active
        self._bar = tqdm(
            total=total, initial=done, unit="step", leave=False, disable=not (active and sys.stderr.isatty())
        )

    def update(self, values: dict[str, str]) -> None:
        """Shows that a step is done, with figures beside the bar."""
        self._bar.set_postfix(values, refresh=False)
        self._bar.update()

    def write(self, line: str) -> None:
        """Prints a line above the bar."""
        if not self._active:
            return
        if self._bar.disable:
            say(line)
        else:
            self._bar.write(line)

    def close(self) -> None:
        self._bar.close()
