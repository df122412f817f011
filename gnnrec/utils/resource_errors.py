"""What a machine can run out of, in one line for its user."""

from __future__ import annotations

import errno
import os

#: What the disk, or the right to write to it, may refuse.
_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def describe_resource_error(error: BaseException) -> str | None:
    """What ran out and what to do about it; None for errors of another kind.

    Places that know better which file or option is meant raise a :class:`~gnnrec.errors.UserError` themselves; this is
    for all others.
    """
    if isinstance(error, OSError) and error.errno in _OF_DISKS:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{os.strerror(error.errno)}: make room, or choose a place that you may write to"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{os.strerror(error.errno)}: raise the limit (ulimit -n)"
    text = str(error).strip().split("\n")[0]
    # torch.OutOfMemoryError, by its name: most commands have no need of torch yet.
    if type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator: can't allocate" in text:
        return (
            f"out of memory ({text}): use more ranks, a smaller --model.dim, or fewer users at a time "
            "(training: --loader.seed_users; other commands: --chunk)"
        )
    if isinstance(error, MemoryError):
        return f"out of memory{f' ({text})' if text else ''}: use a machine with more, or less data"
    return None
