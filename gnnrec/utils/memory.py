"""The memory of this process."""

from __future__ import annotations

import contextlib
import ctypes
import sys

#: glibc's names for what :func:`keep_freed` sets.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed() -> None:
    """Makes the C library keep memory that is freed from now on for the next tensor.

    Otherwise every large tensor of a step is new memory whose pages the kernel must find and clear: on the CPU an
    addition then takes three times as long. What a process frees before the call, such as what reading data took, goes
    back to the system.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_MMAP_MAX, 0)
            mallopt(_TRIM_THRESHOLD, 2**31 - 1)
