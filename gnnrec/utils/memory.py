"""The memory of this process."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys

import psutil
import torch

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


def memory_gib() -> float:
    """GiB held by this rank: on the GPU if it has one, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.memory_allocated() / 2**30
    return psutil.Process().memory_info().rss / 2**30


def peak_memory_gib() -> float:
    """Most GiB that this rank has held so far: on the GPU if it has one, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
