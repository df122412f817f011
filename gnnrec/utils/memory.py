"""Memory of this process: use, peak and allocator settings."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys

import psutil
import torch

#: glibc's mallopt parameters M_TRIM_THRESHOLD and M_MMAP_MAX.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed() -> None:
    """Makes glibc keep memory freed from now on for reuse by the next tensor.

    Otherwise the kernel must map and clear new pages for every large tensor of a step: on the CPU an addition then
    takes three times as long. Memory freed before the call, such as buffers for reading data, is returned to the
    system.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_MMAP_MAX, 0)
            mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def memory_gib() -> float:
    """GiB in use by this rank: allocated on the GPU if it has one, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.memory_allocated() / 2**30
    return psutil.Process().memory_info().rss / 2**30


def peak_memory_gib() -> float:
    """Peak GiB of this rank so far: allocated on the GPU if it has one, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
