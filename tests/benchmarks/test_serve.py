"""The benchmark of serving on few requests, and its load generator against a server that misbehaves."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from benchmarks import http_load
from benchmarks.serve import Bench
from benchmarks.serve_million import write_million
from gnnrec.serving.snapshot import Snapshot
from tests.inference.made_export import make_dataset
from tests.serving.float_export import make_float_export

pytestmark = [pytest.mark.slow, pytest.mark.processes]


class Misbehaving:
    """Answers every third request with an error, closes at every fifth one, and waits before each answer.

    Args:
        seconds: Seconds to wait.
        well: Misbehave in no other way than by waiting.
    """

    def __init__(self, seconds: float, well: bool = False):
        self.listening, self.seconds, self.served = socket.create_server(("127.0.0.1", 0)), seconds, 0
        self.well, self.shares = well, list[int]()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return self.listening.getsockname()[1]

    def _accept(self) -> None:
        while True:
            threading.Thread(target=self._serve, args=(self.listening.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        share = len(self.shares)
        self.shares.append(0)
        while connection.recv(65536):
            self.served += 1
            self.shares[share] += 1
            if self.served % 5 == 0 and not self.well:
                return connection.close()
            time.sleep(self.seconds)
            status = b"500 No" if self.served % 3 == 0 and not self.well else b"200 OK"
            connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nok")


def test_failures_are_counted_and_retried():
    server = Misbehaving(0)
    once = http_load.saturating(server.port, [http_load.get("/")] * 60, 1, http_load.is_error)
    assert (once.failed, len(once.latencies), once.retried) == (28, 32, 0)  # of 60 in a row: 12 closed, 16 errors more
    more = http_load.saturating(server.port, [http_load.get("/")] * 60, 1, http_load.is_error, retries=5)
    assert more.failed == 0 and len(more.latencies) == 60 and more.retried > 20


@pytest.mark.parametrize("rate", [None, 1000.0])
def test_connections_take_turns(rate):
    """Every connection has its share of the requests, one at a time, in the order of the requests."""
    server = Misbehaving(0, well=True)
    requests = [http_load.get(f"/{number}") for number in range(200)]
    bodies: dict[int, bytes] = {}

    def check(number: int, status: int, body: bytes) -> bool:
        bodies[number] = body
        return status != 200

    if rate is None:
        found = http_load.saturating(server.port, requests, 4, check)
    else:
        found = http_load.steady(server.port, requests, rate, check, connections=4)
    assert found.failed == 0 and len(found.latencies) == len(bodies) == 200 == server.served
    assert all(bodies[number] == b"ok" for number in range(200))
    assert len(server.shares) >= 4 and sorted(server.shares)[-4] >= 20


def test_latencies_count_from_when_a_request_was_due():
    """One slow answer after another, on as many connections as needed: none waits for another."""
    server = Misbehaving(0.05)
    found = http_load.steady(server.port, [http_load.get("/")] * 20, 100, lambda number, status, body: False, retries=2)
    assert found.failed == 0 and min(found.latencies) >= 0.045


def test_swaps_kills_and_random_requests(tmp_path):
    dataset = make_dataset(tmp_path / "data")
    bench = Bench(make_float_export(dataset, tmp_path / "export"), tmp_path, workers=2, quick=True)
    swapped, killed, fuzzed = bench.swaps(), bench.kills(), bench.fuzz()
    assert swapped["requests"] >= 1000 and swapped["failed"] == swapped["mixed"] == 0 and swapped["hot_swaps"] >= 2
    assert killed["killed_requests"] == 150 and killed["killed_failed"] == 0
    assert fuzzed["fuzzed_alive"] and sum(fuzzed["fuzzed_statuses"].values()) == fuzzed["fuzzed"] == 200
    assert fuzzed["fuzzed_statuses"]["5xx"] == 0


def test_made_arrays_are_those_of_the_service(tmp_path):
    snapshot = Snapshot(write_million(tmp_path / "export", 300, 20, 8))
    rows = snapshot.movies.titles.search("movie 000012", 20)
    assert rows == list(range(120, 130)) and snapshot.movies.describe(120) == {"movie": 120, "title": "movie 0000120"}
    assert len(snapshot.movies) == 300 and snapshot.find_user("19") == 19
