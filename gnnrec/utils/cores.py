"""Number of CPU cores available to this process."""

from __future__ import annotations

import os
import sys


def usable_cores() -> int:
    """Counts the cores in this process's affinity mask on Linux, and all cores of the machine elsewhere."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
