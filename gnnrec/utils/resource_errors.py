"""One-line messages for errors of the machine: disk, memory, file handles."""

from __future__ import annotations

import errno
import os

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_DISK_ERRORS = {*_FULL_DISK, errno.EACCES, errno.EPERM}


def is_full_disk(error: BaseException) -> bool:
    """Whether an error can come only from writing: no space, a quota, a limit of sizes, or a disk that is read-only."""
    return isinstance(error, OSError) and error.errno in _FULL_DISK


def describe_resource_error(error: BaseException) -> str | None:
    """Names the exhausted resource and the way out; returns None for other errors.

    Code that knows the file or option concerned raises a :class:`~gnnrec.errors.UserError` itself; this is the
    fallback.
    """
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{os.strerror(error.errno)}: make room or choose a writable directory"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{os.strerror(error.errno)}: raise the limit (ulimit -n)"
    text = str(error).strip().split("\n")[0]
    # torch.OutOfMemoryError is matched by name because most commands have not imported torch yet.
    if type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator: can't allocate" in text:
        return (
            f"out of memory ({text}): use more ranks, a smaller --model.dim, or fewer users at a time "
            "(training: --loader.seed-users; other commands: --chunk)"
        )
    if isinstance(error, MemoryError):
        return f"out of memory{f' ({text})' if text else ''}: use a machine with more memory, or less data"
    return None
