"""What is printed while work goes on."""

from __future__ import annotations

import sys
from typing import TextIO


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints a line at once. It may get lost: a log on a full disk must not end the work that it tells about.

    Args:
        text: The line.
        stream: By default the standard output.

    Raises:
        BrokenPipeError: Whoever read it has gone.
    """
    try:
        print(text, file=stream or sys.stdout, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        pass
