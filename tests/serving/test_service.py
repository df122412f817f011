"""The real service: several processes, connections that misbehave, workers that are killed, exports that change."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serve_fuzz import random_bytes
from gnnrec.errors import UserError
from gnnrec.serving.convert import converted_path
from gnnrec.serving.serve import ServeOptions, serve
from tests.end_to_end.commands import GNNREC, fail_with_one_line, succeed
from tests.serving.float_export import make_float_export
from tests.serving.service import Service, served
from tests.serving.test_swaps import link, point  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.processes]


def send(service: Service, content: bytes, seconds: float = 20) -> bytes:
    """Sends bytes on a connection; returns what comes back until the first answer or the connection ends."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=seconds) as connection:
        connection.sendall(content)
        answer = b""
        while part := connection.recv(65536):
            answer += part
            head, end, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            if end and length and len(body) >= int(length[1]):
                break
        return answer


@contextlib.contextmanager
def loaded(ask: Callable[[], Any], clients: int = 1) -> Iterator[list[Any]]:
    """Asks again and again in threads meanwhile; yields the answers, and raises what was raised there."""
    answers, stop = list[Any](), threading.Event()

    def load() -> None:
        while not stop.is_set():
            answers.append(ask())

    with ThreadPoolExecutor(clients) as pool:
        tasks = [pool.submit(load) for _ in range(clients)]
        try:
            yield answers
        finally:
            stop.set()
    for task in tasks:
        task.result()


def refused(service: Service) -> int:
    """Returns the count of exports that were refused, of the metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/metrics") as answer:
        found = re.search(r'gnnrec_exports\{result="refused"\} (\d+)', answer.read().decode())
    return int(found[1])


def check_refusal(answer: bytes, status: int) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) and b"application/json" in head, answer
    assert list(json.loads(body)) == ["error"]


def test_connections_that_misbehave(export):
    with served(export, "--timeout", "1", "--max-body", "5000", "--workers", "2") as service:
        check_refusal(send(service, b"GARBAGE\r\n\r\n"), 400)
        check_refusal(send(service, b"GET /health HTTP/1.1\r\nHost: x\r\n"), 408)
        check_refusal(send(service, b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"), 408)
        check_refusal(send(service, b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n{"), 413)
        check_refusal(send(service, b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"), 431)
        many = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(100))
        check_refusal(send(service, b"GET /health HTTP/1.1\r\n" + many + b"\r\n"), 431)
        check_refusal(send(service, b"GET /health HTTP/1.1\r\nX: " + b"a" * 300_000), 431)
        chunk = b"fff\r\n" + b" " * 0xFFF + b"\r\n"
        head = b"POST /recommend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        check_refusal(send(service, head + 2 * chunk + b"0\r\n\r\n"), 413)
        started = time.monotonic()
        check_refusal(send(service, b""), 408)
        assert time.monotonic() - started < 10
        for seed in range(60):
            answer = send(service, random_bytes(seed))
            assert answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4")), seed
        assert service.ask("/health")[0] == 200


@pytest.mark.timing
def test_a_killed_worker_is_replaced_and_one_retry_is_enough(export):
    with served(export, "--workers", "2") as service:
        wanted = service.ask("/recommend?user=7")
        assert wanted[0] == 200

        def ask_twice() -> Any:
            try:
                return service.ask("/recommend?user=7")
            except (OSError, http.client.HTTPException):
                return service.ask("/recommend?user=7")

        with loaded(ask_twice, clients=3) as answers:
            for _ in range(3):
                time.sleep(1.2)
                before, counted = service.workers(), len(answers)
                os.kill(before[0], signal.SIGKILL)
                deadline = time.monotonic() + 30
                while len(service.workers()) < 2 or before[0] in service.workers():
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                while len(answers) < counted + 20:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
        assert len(answers) > 60 and all(answer == wanted for answer in answers)


@pytest.mark.timing
def test_no_answer_fails_or_is_mixed_while_exports_are_swapped(link):  # noqa: F811
    for number in (1, 2):
        succeed([*GNNREC, "serve", link.parent / str(number), "--convert-only", "--port", 0])
    with served(link, "--workers", "2") as service:
        generations = {number: converted_path(link.parent / number).name[:12] for number in ("1", "2")}
        with loaded(lambda: service.ask("/recommend", {"users": [{"user": 7}, {"user": 10}]})) as answers:
            for target in ("2", "1", "2", "1"):
                counted = len(answers)
                point(link, target)
                service.wait_for_generation(generations[target])
                assert len(answers) > counted
        assert {status for status, _ in answers} == {200}
        different = {json.dumps(answer) for _, answer in answers}
        assert len(different) == 2
        assert {json.loads(text)["generation"] for text in different} == set(generations.values())
        damaged = link.parent / "2" / "movies" / "part-0000000000.parquet"
        for arrays in (link.parent / ".2.served").iterdir():
            (arrays / "served.json").unlink()
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
        current = service.ask("/health")[1]["generation"]
        assert refused(service) == 0
        point(link, "2")
        deadline = time.monotonic() + 20
        while refused(service) == 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert refused(service) == 1 and service.ask("/health")[1]["generation"] == current


def test_neither_torch_nor_numba_nor_pandas_nor_arrow_datasets_are_imported_to_answer(export, tmp_path):
    succeed([*GNNREC, "serve", export, "--convert-only", "--port", 0, "--cache-dir", tmp_path])
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from gnnrec.serving.app import create_app\n"
        "from tests.serving.client import ask, get\n"
        "app = create_app(Path(sys.argv[1]), cache_dir=Path(sys.argv[2]))\n"
        "assert [ask(app, get(*path)).status for path in [['/health']]] == [200]\n"
        "assert ask(app, get('/recommend', user=7, top=3)).status == 200\n"
        "print([m for m in ('torch', 'numba', 'pandas', 'scipy', 'sklearn', 'faiss', 'pyarrow.dataset')\n"
        "       if m in sys.modules])\n"
    )
    words = [sys.executable, "-c", code, str(export), str(tmp_path)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_tokens_and_read_only_exports(dataset, tmp_path):
    out = make_float_export(dataset, tmp_path / "place" / "export")
    (tmp_path / "token").write_text("s3cret\n")
    for path in (tmp_path / "place").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (tmp_path / "place").chmod(0o555)
    options = ["--token-file", str(tmp_path / "token"), "--cache-dir", str(tmp_path / "cache")]
    with served(out, *options) as service:
        assert service.ask("/recommend?user=7")[0] == 401
        assert service.ask("/recommend?user=7", headers={"Authorization": "Bearer s3cret"})[0] == 200
        assert service.ask("/health")[0] == 200
    assert sorted(path.name for path in (tmp_path / "place").iterdir()) == ["export"]


def test_what_cannot_be_served_is_refused_with_one_line(export, tmp_path):
    assert "is not a complete export" in fail_with_one_line([*GNNREC, "serve", tmp_path, "--port", "0"])
    (tmp_path / "token").write_text("\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        serve(export, ServeOptions(port=port, convert_only=True))  # beside a service
        for options, says in (
            (ServeOptions(token_file=tmp_path / "token"), "has no token"),
            (ServeOptions(workers=0), "--workers 0"),
            (ServeOptions(port=port), f"--port {port}: cannot listen there"),
            (ServeOptions(host="no.such.host.invalid"), "cannot listen there"),
        ):
            with pytest.raises(UserError, match=says):
                serve(export, options)


def test_connections_that_are_opened_one_by_one_are_shared(export):
    with served(export, "--workers", "2") as service:
        assert service.ask("/health")[0] == 200

        def shares() -> list[int]:
            found = []
            for worker in service.workers():
                links = [os.readlink(entry) for entry in Path(f"/proc/{worker}/fd").iterdir() if entry.is_symlink()]
                found.append(sum(link.startswith("socket:") for link in links))
            return found

        def opened(count: int) -> list[socket.socket]:
            connections = []
            for _ in range(count):
                connections.append(socket.create_connection(("127.0.0.1", service.port)))
                time.sleep(0.01)  # as long as a worker needs to wait again
            time.sleep(0.1)
            return connections

        def extra(count: int) -> list[int]:
            time.sleep(0.1)
            before = shares()
            connections = opened(count)
            found = [after - first for after, first in zip(shares(), before)]
            for connection in connections:
                connection.close()
            return found

        deadline = time.monotonic() + 20
        while extra(4) != [2, 2]:  # the second worker begins after the first one
            assert time.monotonic() < deadline
        found = extra(20)
        assert sum(found) == 20 and min(found) >= 8
        os.kill(service.workers()[0], signal.SIGSTOP)  # what the others leave to it is not lost
        connections = opened(6)
        for connection in connections:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            connection.close()
        os.kill(service.workers()[0], signal.SIGCONT)


def test_workers_end_with_a_supervisor_that_is_killed(export):
    with served(export, "--workers", "2") as service:
        assert service.ask("/health")[0] == 200
        workers = service.workers()
        service.process.kill()
        deadline = time.monotonic() + 15
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert len(workers) == 2 and time.monotonic() < deadline
            time.sleep(0.05)


def test_a_service_that_is_asked_to_stop_leaves_nothing(export: Path, tmp_path):
    with served(export, environment={"TMPDIR": str(tmp_path)}) as service:
        assert service.ask("/health")[0] == 200
        workers = service.workers()
        assert len(workers) == 1
        assert list(tmp_path.iterdir()) != []
    assert service.process.returncode == 0
    assert list(tmp_path.iterdir()) == [] and not Path(f"/proc/{workers[0]}").exists()
