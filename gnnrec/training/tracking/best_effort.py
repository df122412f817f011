"""What cannot be told to W&B or TensorBoard costs a warning, never the run."""

from __future__ import annotations

import sys
from types import TracebackType

from gnnrec.utils.log import say


class best_effort:
    """A context in which failing is no failure: the first one is said, and the run goes on.

    Args:
        name: Of what may fail.
    """

    def __init__(self, name: str):
        self.name, self._warned = name, False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self._warned:
            say(f"warning: {self.name}: {one_line(error)}; the run goes on without", sys.stderr)
        self._warned = True
        return True


def one_line(error: Exception) -> str:
    """What an error says, or its name where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
