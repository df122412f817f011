"""The cores that this process may use."""

from __future__ import annotations

import os
import sys


def usable_cores() -> int:
    """Their number: on Linux those it is bound to, elsewhere those of the machine."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
