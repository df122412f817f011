"""Starts services for ``benchmarks.serve``: ours, and the programs that it is compared with."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks import http_load, record


class Running:
    """A service that runs.

    Attributes:
        port: Its port.
        ready_s: Seconds from its start to its first answer.
    """

    def __init__(self, words: list[str], path: str, **environment: str):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        words = [word.replace("PORT", str(self.port)) for word in words]
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        started = time.perf_counter()
        self._process = subprocess.Popen(
            words, env=record.environment_with(**environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            http_load.wait_until_ready(self.port, path)
        except BaseException:
            self._process.kill()
            raise
        self.ready_s = time.perf_counter() - started

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        self._process.kill()
        self._process.wait()

    def workers(self) -> list[int]:
        """Returns the process ids of the workers."""
        own = self._process.pid
        return [int(child) for child in Path(f"/proc/{own}/task/{own}/children").read_text().split()]

    def memory(self) -> int:
        """Returns the bytes of all processes, each page shared among those that map it (PSS)."""
        total = 0
        for process in (self._process.pid, *self.workers()):
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return total * 1024

    def ask(self, path: str) -> bytes:
        """Returns the body of an answer."""
        return self.send(http_load.get(path))

    def send(self, request: bytes) -> bytes:
        """Returns the body of the answer to a request."""
        bodies: list[bytes] = []

        def keep(number: int, status: int, body: bytes) -> bool:
            bodies.append(body)
            return False

        http_load.saturating(self.port, [request], 1, keep)
        return bodies[0]

    def statuses(self, requests: Iterable[bytes]) -> list[int]:
        """Sends requests, each on a connection of its own; returns their statuses, 0 for no answer."""
        found = []
        for request in requests:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                with contextlib.suppress(OSError):
                    connection.sendall(request)
                answer = b""
                with contextlib.suppress(OSError):
                    answer = connection.recv(4096)
            found.append(int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0)
        return found


def service(path: Path, cache: Path, workers: int) -> Running:
    """Starts ``gnnrec serve``."""
    words = [sys.executable, "-m", "gnnrec", "serve", str(path), "--cache-dir", str(cache)]
    return Running([*words, "--workers", str(workers), "--port", "PORT", "--timeout", "2"], "/health")


def peer(name: str, arrays: Path, workers: int) -> Running:
    """Starts the program around ``implicit`` or ``faiss`` (:mod:`benchmarks.serve_peer`)."""
    words = [sys.executable, "-m", "uvicorn", "benchmarks.serve_peer:app", "--workers", str(workers)]
    options = ["--port", "PORT", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error"]
    place = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return Running([*words, *options], "/ready", PEER=name, ARRAYS=str(arrays), PYTHONPATH=place)
