"""Failures of W&B and TensorBoard become warnings and never end a run."""

from __future__ import annotations

from types import TracebackType

from gnnrec.utils.log import logger


class best_effort:
    """Warns about the first exception and suppresses the rest.

    Args:
        name: Name of the service, for the warning.
    """

    def __init__(self, name: str):
        self.name, self._warned = name, False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self._warned:
            logger.warning(f"{self.name}: {one_line(error)}; the run continues without it")
        self._warned = True
        return True


def one_line(error: Exception) -> str:
    """Message of an error in one line, or its name if the message is empty."""
    return " ".join(str(error).split()) or type(error).__name__
