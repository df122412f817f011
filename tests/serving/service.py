"""``gnnrec serve`` in processes of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.end_to_end.commands import GNNREC, ROOT


class Service:
    """A service that runs.

    Args:
        process: Its supervisor.
        port: Its port.
    """

    def __init__(self, process: subprocess.Popen[str], port: int):
        self.process, self.port = process, port

    def ask(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Returns status and decoded body of one request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            content = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", path, content, headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def workers(self) -> list[int]:
        """Returns the process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(child) for child in children]

    def wait_for_generation(self, generation: str, seconds: float = 20) -> None:
        """Waits until all of ten answers in a row are of a generation."""
        deadline, hits = time.monotonic() + seconds, 0
        while hits < 10:
            assert time.monotonic() < deadline, f"{generation} is not served"
            hits = hits + 1 if self.ask("/health")[1]["generation"] == generation else 0
            time.sleep(0 if hits else 0.05)


@contextlib.contextmanager
def served(path: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[Service]:
    """Starts a service on a free port, and stops it."""
    words = [*GNNREC, "serve", str(path), *options, "--port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | (environment or {})
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            line = process.stdout.readline()
            port = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            assert port, line + process.communicate(timeout=30)[0]
            yield Service(process, int(port[1]))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
