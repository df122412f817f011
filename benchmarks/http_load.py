"""Load over HTTP from one process: many connections, and latencies from the moment at which a request was due."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np
import uvloop

#: Returns whether a request failed, from its number, status and body.
Check = Callable[[int, int, bytes], bool]


@dataclasses.dataclass
class Outcome:
    """Outcome of a load.

    Attributes:
        latencies: Seconds of each request that was answered, from when it was due.
        failed: Requests that failed, after their retries.
        retried: Requests that were sent once more.
        seconds: Seconds of the whole load.
    """

    latencies: list[float] = dataclasses.field(default_factory=list)
    failed: int = 0
    retried: int = 0
    seconds: float = 0.0

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of latencies in milliseconds."""
        return round(float(np.percentile(self.latencies, 99)) * 1000, 2)

    @property
    def per_second(self) -> float:
        """Requests that were answered a second."""
        return round(len(self.latencies) / self.seconds, 1)


class _Connection(asyncio.Protocol):
    """One request at a time, with keep-alive."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        place = head.find(b"content-length:")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(self._buffer) >= end + 4 + length:
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            if self.answer is not None and not self.answer.done():
                self.answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionError("closed"))


class _Pool:
    """Connections that wait for requests."""

    def __init__(self, port: int):
        self._port, self._free = port, list[_Connection]()

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Sends a request on a free connection, or a new one; raises an OSError if the connection is lost."""
        loop = asyncio.get_running_loop()
        while self._free:
            connection = self._free.pop()
            if connection.transport is not None:
                break
        else:
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        connection.answer = loop.create_future()
        connection.transport.write(request)
        found = await asyncio.wait_for(connection.answer, 30)
        self._free.append(connection)
        return found


def get(path: str) -> bytes:
    """Returns the bytes of a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """Returns the bytes of a POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def steady(port: int, requests: list[bytes], rate: float, check: Check, retries: int = 0) -> Outcome:
    """Sends requests at a fixed rate whether earlier ones are answered or not; latencies are from when each was due.

    Args:
        port: Port of the service.
        requests: The requests.
        rate: Requests a second.
        check: Judges answers.
        retries: Times that a request that failed is sent again.
    """

    async def load() -> Outcome:
        pool, outcome, loop = _Pool(port), Outcome(), asyncio.get_running_loop()
        started = time.perf_counter() + 0.05

        async def one(number: int, due: float) -> None:
            await _judged(pool, number, requests[number], check, retries, due, outcome)

        tasks = []
        for number in range(len(requests)):
            due = started + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.append(loop.create_task(one(number, due)))
        await asyncio.gather(*tasks)
        outcome.seconds = time.perf_counter() - started
        return outcome

    return uvloop.run(load())


def saturating(port: int, requests: list[bytes], connections: int, check: Check, retries: int = 0) -> Outcome:
    """Sends requests on some connections, each the next one as soon as it has an answer.

    Args:
        port: Port of the service.
        requests: The requests.
        connections: Requests under way at a time.
        check: Judges answers.
        retries: Times that a request that failed is sent again.
    """

    async def load() -> Outcome:
        pool, outcome = _Pool(port), Outcome()
        numbers: Iterator[int] = iter(range(len(requests)))

        async def work() -> None:
            for number in numbers:
                await _judged(pool, number, requests[number], check, retries, time.perf_counter(), outcome)

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(connections)))
        outcome.seconds = time.perf_counter() - started
        return outcome

    return uvloop.run(load())


async def _judged(
    pool: _Pool, number: int, request: bytes, check: Check, retries: int, due: float, outcome: Outcome
) -> None:
    for attempt in range(retries + 1):
        try:
            status, body = await pool.ask(request)
            failed = check(number, status, body)
        except (OSError, asyncio.TimeoutError):
            failed = True
        if not failed:
            outcome.latencies.append(time.perf_counter() - due)
            return
        if attempt < retries:
            outcome.retried += 1
    outcome.failed += 1


def is_error(number: int, status: int, body: bytes) -> bool:
    """Judges answers by their status alone."""
    return status != 200


def wait_until_ready(port: int, path: str, seconds: float = 60) -> float:
    """Asks until there is an answer with status 200; returns the seconds that it took."""
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        if not saturating(port, [get(path)], 1, is_error).failed:
            return time.perf_counter() - started
        time.sleep(0.01)
    raise TimeoutError(f"no answer on port {port} within {seconds} s")
