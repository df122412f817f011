"""Keeps two jobs from writing into one run directory."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from gnnrec.errors import UserError
from gnnrec.utils.stored import read_json

#: File that says which job the directory belongs to; a job that is alive renews its time, and sets it to 0 at its end.
STARTED = "started.json"
#: Seconds between two renewals, and seconds without one after which a job on another machine counts as dead.
RENEWAL, LAPSE = 5.0, 20.0
_PAUSE = 0.2
_WAY_OUT = "remove it, then resume with --resume auto"


class RunLock:
    """Lock on a run directory, which belongs to the job that opened it last: two jobs must not write into one.

    A second job is refused while the first one is alive (:func:`wait_for_lease`). Still a job can lose its directory:
    when torchrun gives up a node that is alive, and restarts the ranks elsewhere.

    Args:
        run: The run directory.
        start: Id of the start that opened it.
        renews: Renew the lease until :meth:`release`, in a thread; on rank 0.
    """

    def __init__(self, run: Path, start: str, renews: bool = False):
        self.run, self.start = run, start
        self._released, self._renews = threading.Event(), renews
        self._thread = threading.Thread(target=self._renew, daemon=True, name="gnnrec-lease")
        if renews:
            self._thread.start()

    def check(self) -> None:
        """Checks that this job holds the lock; called on rank 0 before files are published.

        Raises:
            UserError: Another job has opened the directory since, or it is gone.
        """
        path = self.run / STARTED
        if not path.exists():
            what = path if self.run.is_dir() else self.run
            raise UserError(f"{what} was removed or moved while this job was running: it cannot save, and ends")
        if read_json(path, _WAY_OUT).get("start") != self.start:
            raise UserError(f"{self.run} was taken over by another job: this job ends, and the other one continues")

    def release(self) -> None:
        """Ends the lease, so that another job need not wait; may be called more than once."""
        if self._released.is_set() or not self._renews:
            return
        self._released.set()
        self._thread.join(RENEWAL)  # a renewal that has begun would undo the end
        with contextlib.suppress(OSError, UserError):
            if read_json(self.run / STARTED, "").get("start") == self.start:
                os.utime(self.run / STARTED, (0, 0))  # its contents may be those of another job by now

    def _renew(self) -> None:
        while not self._released.wait(RENEWAL):
            try:
                if read_json(self.run / STARTED, "").get("start") != self.start:
                    return
                os.utime(self.run / STARTED)
            except (OSError, UserError):  # check() reports what is wrong
                continue


def owner() -> dict[str, Any]:
    """Entries of ``started.json`` about this process: host, process and when that was started."""
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": process.pid, "process_started": process.create_time()}


def wait_for_lease(run: Path, seconds: float = LAPSE) -> None:
    """Waits until the job that a run directory belongs to has ended. On rank 0.

    On its own machine a job counts as dead when its process is; on another one when it has not renewed its lease for
    :data:`LAPSE` seconds. Clocks of machines are not compared.

    Args:
        run: The run directory.
        seconds: How long to wait.

    Raises:
        UserError: The job is alive.
    """
    path = run / STARTED
    if not path.exists():
        return
    holder, renewed = read_json(path, _WAY_OUT), _renewed(path)
    if "host" not in holder or not renewed:
        return
    here, deadline = holder["host"] == socket.gethostname(), time.monotonic() + seconds
    while True:
        late = time.monotonic() >= deadline
        if here and not is_alive(holder) or late and not here:
            return
        if here and late or not here and _renewed(path) != renewed:
            raise UserError(
                f"{run} is in use by a job that is alive (host {holder['host']}, process {holder.get('pid')}): "
                "stop it, wait for its end, or choose another --run-dir"
            )
        time.sleep(_PAUSE)


def _renewed(path: Path) -> float:
    """When a lease was last renewed, by the clock of the file system; 0 after its end and without one."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def is_alive(holder: dict[str, Any]) -> bool:
    """Whether the process of a job on this machine is alive, and is not this one.

    Args:
        holder: Entries of :func:`owner`.
    """
    if holder.get("pid") == os.getpid():
        return False
    try:
        process = psutil.Process(holder["pid"])
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - holder["process_started"]) < 1
    except (psutil.Error, KeyError, TypeError):
        return False
