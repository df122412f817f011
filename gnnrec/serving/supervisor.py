"""Worker processes that answer on one socket: a lost one is replaced, and a new export is converted beside them."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from gnnrec.errors import UserError
from gnnrec.serving.attempts import Attempts
from gnnrec.serving.convert import convert, is_converted, remove_old
from gnnrec.serving.live import PERIOD, WatchedPointer, find_export, signature
from gnnrec.utils import files
from gnnrec.utils.log import logger

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SIGNALS = (*_STOPS, signal.SIGCHLD)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
#: Seconds after which a worker that ended is started again, if it ended soon after its start.
_PAUSE = 1.0
#: Seconds for workers to answer what they have begun.
_GRACE = 10.0

#: Answers on a socket until it is asked to stop; the snapshots are those of a pointer. The last one is the place of the
#: worker, from 0, which no other one has.
Work = Callable[[socket.socket, WatchedPointer, int], None]


class Supervisor:
    """The parent of the workers; it answers nothing itself.

    Args:
        path: Export, link to one, or directory of generations.
        cache: Directory of converted exports; by default beside the export.
        data: The prepared dataset, if it has moved since the export.
        workers: Number of workers.
        work: Their function.
        ended: Called with the place of each worker that has ended.
    """

    def __init__(
        self,
        path: Path,
        cache: Path | None,
        data: Path | None,
        workers: int,
        work: Work,
        ended: Callable[[int], None] = lambda place: None,
    ):
        self._ended, self._places = ended, dict[int, int]()
        self._path, self._cache, self._data, self._work = path, cache, data, work
        self._count, self._workers, self._due = workers, dict[int, float](), [0.0] * workers
        self._conversion: tuple[multiprocessing.process.BaseProcess, Connection] | None = None
        self._arrays: list[Path] = []
        self._attempts, self._retry = Attempts(), 0.0
        self._listening: socket.socket | None = None
        self._pointed = ""

    def prepare(self, listening: socket.socket | None = None) -> Path:
        """Converts the export, in a process of its own, so that its memory is free again; returns the arrays.

        Args:
            listening: The socket, which conversions close.

        Raises:
            UserError: There is no complete export, or it is damaged.
        """
        self._listening = listening
        try:
            self._begin_conversion()
        except OSError as error:
            raise UserError(f"{self._path} cannot be converted ({files.error_text(error)}): make room") from None
        return self._end_conversion()

    def run(self, listening: socket.socket) -> None:
        """Serves the arrays of :meth:`prepare` until SIGTERM or SIGINT.

        Args:
            listening: The socket.
        """
        with tempfile.TemporaryDirectory(prefix="gnnrec-serve-") as folder:
            pointer = Path(folder) / "current.json"
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            previous = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            try:
                self._supervise(listening, pointer)
            finally:
                self._stop()
                signal.pthread_sigmask(signal.SIG_SETMASK, previous)

    def _supervise(self, listening: socket.socket, pointer: Path) -> None:
        received = None
        while received is None or received.si_signo not in _STOPS:
            self._go_on(listening, pointer)
            received = signal.sigtimedwait(_SIGNALS, PERIOD)

    def _go_on(self, listening: socket.socket, pointer: Path) -> None:
        """Does what is due: looks for lost workers and another export, and starts workers."""
        self._reap()
        self._look_for_another()
        if self._retry > time.monotonic():
            return
        try:
            self._point(pointer)
            self._start_workers(listening, pointer)
        except Exception as error:  # no memory for another process, a full disk: the workers that live go on
            self._retry = time.monotonic() + _PAUSE
            logger.warning(f"workers are started later ({type(error).__name__}: {error})")

    def _start_workers(self, listening: socket.socket, pointer: Path) -> None:
        """Starts the workers that are missing; arrays that were removed are written again before."""
        now = time.monotonic()
        if len(self._workers) == self._count or self._due[0] > now:
            return
        if not is_converted(self._arrays[-1]):
            if self._attempts.forget():
                logger.warning(f"{self._arrays[-1]} is gone: workers are started when it is written again")
            return
        while len(self._workers) < self._count and self._due[0] <= now:
            place = next(place for place in range(self._count) if place not in self._places.values())
            worker = self._fork(listening, pointer, place)
            self._places[worker] = place
            self._workers[worker] = now
            self._due.pop(0)

    def _fork(self, listening: socket.socket, pointer: Path, place: int) -> int:
        parent = os.getpid()
        process = os.fork()
        if process:
            return process
        status = 1
        try:
            _become_child(parent)
            self._work(listening, WatchedPointer(pointer), place)
            status = 0
        except UserError as error:
            logger.warning(str(error))
        except BaseException:
            traceback.print_exc()
        finally:
            _leave(status)

    def _reap(self) -> None:
        """Notes workers that have ended; others take their places, after a pause if they ended at once."""
        for process in list(self._workers):
            if os.waitpid(process, os.WNOHANG)[0] == 0:
                continue
            started = self._workers.pop(process)
            self._ended(self._places.pop(process))
            now = time.monotonic()
            self._due.append(now if now - started > _PAUSE else now + _PAUSE)
            self._due.sort()
            logger.warning(f"worker {process} ended and is replaced")

    def _look_for_another(self) -> None:
        """Begins or ends a conversion; one that fails is tried again later."""
        try:
            if self._conversion is None:
                if self._attempts.due(signature(self._path)):
                    self._begin_conversion()
            elif self._conversion[1].poll() or not self._conversion[0].is_alive():
                before = self._arrays[-1]
                if self._end_conversion() != before:
                    self._arrays = remove_old(self._arrays, self._cache)
                    logger.info(f"another export of {self._path} is served now")
        except Exception as error:
            logger.warning(f"the new export is not served: {error or type(error).__name__}")

    def _begin_conversion(self) -> None:
        self._attempts.begin(signature(self._path))
        try:
            context = multiprocessing.get_context("fork")
            receiver, sender = context.Pipe(duplex=False)
            with sender:
                arguments = os.getpid(), self._listening, sender, self._path, self._cache, self._data
                process = context.Process(target=_convert, args=arguments, name="conversion", daemon=True)
                process.start()
        except OSError:
            self._attempts.fail()
            raise
        self._conversion = process, receiver

    def _end_conversion(self) -> Path:
        assert self._conversion is not None
        process, receiver = self._conversion
        self._conversion = None
        try:
            succeeded, text = receiver.recv()
        except (EOFError, OSError):
            succeeded, text = False, f"converting {self._path} was killed: make room in memory and start again"
        receiver.close()
        process.join()
        if not succeeded:
            self._attempts.fail()
            raise UserError(text)
        self._attempts.succeed()
        self._arrays.append(Path(text))
        return self._arrays[-1]

    def _point(self, pointer: Path) -> None:
        """Writes the file that workers look at, if it is of another export or was removed, as from /tmp after days."""
        content = json.dumps({"arrays": str(self._arrays[-1]), "refused": self._attempts.refused})
        if content != self._pointed or not pointer.exists():
            pointer.parent.mkdir(parents=True, exist_ok=True)
            files.write_text(pointer, content)
            self._pointed = content

    def _stop(self) -> None:
        """Asks the workers to stop, and ends those that do not."""
        deadline = time.monotonic() + _GRACE
        for process in self._workers:
            os.kill(process, signal.SIGTERM)
        while self._workers:
            for process in list(self._workers):
                if time.monotonic() > deadline:
                    os.kill(process, signal.SIGKILL)
                if os.waitpid(process, os.WNOHANG)[0]:
                    del self._workers[process]
            time.sleep(0.01)
        if self._conversion is not None:
            self._conversion[0].kill()


def _convert(
    parent: int,
    listening: socket.socket | None,
    sender: Connection,
    path: Path,
    cache: Path | None,
    data: Path | None,
) -> None:
    if listening is not None:
        listening.close()  # the port is free as soon as the service has ended
    _become_child(parent)
    os.nice(10)  # workers answer meanwhile
    try:
        sender.send((True, str(convert(find_export(path), cache, data))))
    except UserError as error:
        sender.send((False, str(error)))
    except Exception as error:
        logging.getLogger(__name__).debug("conversion failed", exc_info=True)
        sender.send((False, f"{path} cannot be converted ({type(error).__name__}: {error}): export again"))


def _become_child(parent: int) -> None:
    """Takes signals as a new process does, and asks Linux for SIGTERM when the parent ends, even if it is killed."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def _leave(status: int) -> NoReturn:
    """Ends a worker without the exit handlers of its parent."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
