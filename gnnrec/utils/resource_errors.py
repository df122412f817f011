"""One-line messages for errors of the machine: disk, memory, file handles."""

from __future__ import annotations

import errno
import mmap
import os
import resource

from gnnrec.errors import UserError

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_DISK_ERRORS = {*_FULL_DISK, errno.EACCES, errno.EPERM}

#: Texts of errors where a thread cannot be started: of Python, Arrow and C++.
_NO_THREAD = ("can't start new thread", "Failed to launch worker thread", "Resource temporarily unavailable")
#: Texts of errors where memory cannot be allocated, or a shared library not be loaded because of it.
_NO_MEMORY = (
    *_NO_THREAD, "DefaultCPUAllocator: can't allocate", "annot allocate memory", "std::bad_alloc", "not enough memory",
    "cannot map zero-fill pages", "failed to map segment from shared object",
)  # fmt: skip

#: Bytes below which libraries end the process, or wait without end, while they are imported.
LEAST_MEMORY = 512 * 2**20
#: Bytes that threads need to start: their stacks, and room for their first objects.
_ROOM_FOR_THREADS = 64 * 2**20


def check_memory_limit() -> None:
    """Checks that the limits of memory of this process allow its libraries to be imported.

    Raises:
        UserError: A limit is too low.
    """
    for kind, option in ((resource.RLIMIT_DATA, "-d"), (resource.RLIMIT_AS, "-v")):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY and limit < LEAST_MEMORY:
            raise UserError(
                f"this process may use only {limit / 1e6:,.0f} MB of memory (ulimit {option}), and its libraries alone "
                f"need {LEAST_MEMORY / 1e6:,.0f} MB or more: raise the limit"
            )


def is_full_disk(error: BaseException) -> bool:
    """Whether an error can come only from writing: no space, a quota, a limit of sizes, or a disk that is read-only."""
    return isinstance(error, OSError) and error.errno in _FULL_DISK


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one during whose handling it was raised, is a failed allocation of memory or of a thread."""
    seen: BaseException | None = error
    known: set[int] = set()
    # An error may be its own cause: findings/pymilvus_error_is_its_own_cause.sh
    while seen is not None and id(seen) not in known:
        known.add(id(seen))
        if isinstance(seen, MemoryError) or isinstance(seen, OSError) and seen.errno == errno.ENOMEM:
            return True
        # Errors of libraries are matched by name and text because most commands have not imported them.
        if type(seen).__name__ == "OutOfMemoryError":
            return True
        if not isinstance(seen, OSError) and any(text in str(seen) for text in _NO_MEMORY):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def reraise_out_of_memory(error: BaseException) -> None:
    """Raises an error of reading a file again if it says nothing about the file, but that memory was short."""
    if is_out_of_memory(error):
        raise error


def reserve_for_threads() -> None:
    """Checks that threads have room to start.

    Python waits without end for a thread that ends before its first line because there is no memory.

    Raises:
        OSError: There is no room (``ENOMEM``).
    """
    mmap.mmap(-1, _ROOM_FOR_THREADS, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()  # costs nothing: not written


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
    if not is_out_of_memory(error):
        return None
    text = str(error).strip().split("\n")[0]
    problem = f"out of memory{f' ({text})' if text else ''}"
    if type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator: can't allocate" in text:
        return (
            f"{problem}: use more ranks, a smaller --model.dim, or fewer users at a time "
            "(training: --loader.seed-users; other commands: --chunk)"
        )
    if any(text in str(error) for text in _NO_THREAD):
        return f"{problem}: allow more memory or more processes (ulimit -u), or use fewer threads (OMP_NUM_THREADS=1)"
    return f"{problem}: use a machine with more memory, or less data"
