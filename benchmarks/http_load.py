"""Load over HTTP from one process: many connections, and latencies from the moment at which a request was due."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import uvloop

#: Seconds to wait for an answer.
_PATIENCE = 30.0
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
        self.transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self._buffer = transport, b""  # type: ignore[assignment]

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
            if closing := b"connection: close" in head:
                self.transport = None
            self.answered(int(head[9:12]), body)
            if not closing:
                self.proceed()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None

    def answered(self, status: int, body: bytes) -> None:
        """Takes an answer."""
        raise NotImplementedError

    def proceed(self) -> None:
        """Goes on behind an answer."""


class _Pooled(_Connection):
    """A connection that a task waits for."""

    answer: asyncio.Future[tuple[int, bytes]] | None = None

    def answered(self, status: int, body: bytes) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((status, body))

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionError("closed"))


class _Pool:
    """Connections that wait for requests, each of which takes the one that waits longest."""

    def __init__(self, port: int):
        self._port, self._free = port, deque[_Pooled]()

    async def fill(self, count: int) -> None:
        """Opens some connections at the same time: one after the other, one process may take all of them."""
        self._free.extend(await asyncio.gather(*(self._opened() for _ in range(count))))

    async def ask(self, request: bytes, again: bool) -> tuple[int, bytes]:
        """Sends a request on a free connection, or on a new one, as those that failed before are.

        Raises:
            OSError: The connection is lost.
        """
        loop = asyncio.get_running_loop()
        while self._free and not again:
            connection = self._free.popleft()
            if connection.transport is not None:
                break
        else:
            connection = await self._opened()
        connection.answer = loop.create_future()
        connection.transport.write(request)
        found = await asyncio.wait_for(connection.answer, _PATIENCE)
        self._free.append(connection)
        return found

    async def _opened(self) -> _Pooled:
        return (await asyncio.get_running_loop().create_connection(_Pooled, "127.0.0.1", self._port))[1]


class _Lane(_Connection):
    """A connection that sends the next request as soon as it has an answer, without a task, which would cost time.

    Args:
        port: Port of the service.
        requests: All requests.
        numbers: Numbers of those that wait.
        check: Judges answers.
        retries: Times that a request that failed is sent again.
        outcome: Outcome to add to.
    """

    #: Attempts that were judged, and when the request that is under way was sent.
    _attempts, _sent = 0, 0.0

    def __init__(
        self, port: int, requests: list[bytes], numbers: Iterator[int], check: Check, retries: int, outcome: Outcome
    ):
        super().__init__()
        self._port, self._requests, self._numbers = port, requests, numbers
        self._check, self._retries, self._outcome = check, retries, outcome
        self._lost: asyncio.Future[None] | None = None
        self._take()

    async def run(self) -> None:
        """Sends requests until there are no more; opens another connection where one is lost."""
        loop = asyncio.get_running_loop()
        while self._number is not None:
            before, self._lost = self._attempts, loop.create_future()
            with contextlib.suppress(OSError):
                await loop.create_connection(lambda: self, "127.0.0.1", self._port)
                await self._lost
            if self._sent or self._attempts == before:
                self._judge(failed=True)

    def end_if_overdue(self) -> None:
        """Ends the connection if an answer takes too long."""
        if self._sent and time.perf_counter() - self._sent > _PATIENCE and self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.proceed()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)

    def answered(self, status: int, body: bytes) -> None:
        self._judge(self._check(self._number, status, body))

    def proceed(self) -> None:
        if self.transport is None:
            return
        if self._number is None:
            self.transport.close()
        else:
            self._sent = time.perf_counter()
            self.transport.write(self._requests[self._number])

    def _take(self) -> None:
        self._number, self._left, self._begun = next(self._numbers, None), self._retries, time.perf_counter()

    def _judge(self, failed: bool) -> None:
        self._attempts, self._sent = self._attempts + 1, 0.0
        if failed and self._left:
            self._left -= 1
            self._outcome.retried += 1
            return
        if failed:
            self._outcome.failed += 1
        else:
            self._outcome.latencies.append(time.perf_counter() - self._begun)
        self._take()


def _without_collections(load: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Runs a load while Python's collector leaves alone what is there: it would stop all requests for 0.2 s."""
    gc.collect()
    gc.freeze()
    try:
        return uvloop.run(load)
    finally:
        gc.unfreeze()


def get(path: str) -> bytes:
    """Returns the bytes of a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """Returns the bytes of a POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def steady(
    port: int, requests: list[bytes], rate: float, check: Check, retries: int = 0, connections: int = 16
) -> Outcome:
    """Sends requests at a fixed rate whether earlier ones are answered or not; latencies are from when each was due.

    Args:
        port: Port of the service.
        requests: The requests.
        rate: Requests a second.
        check: Judges answers.
        retries: Times that a request that failed is sent again.
        connections: Connections that take turns; more are opened where all of them wait.
    """

    async def load() -> Outcome:
        pool, outcome, loop = _Pool(port), Outcome(), asyncio.get_running_loop()
        await pool.fill(connections)
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

    return _without_collections(load())


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
        outcome, numbers = Outcome(), iter(range(len(requests)))
        started = time.perf_counter()
        lanes = [_Lane(port, requests, numbers, check, retries, outcome) for _ in range(connections)]
        runs = asyncio.gather(*(lane.run() for lane in lanes))
        while not (await asyncio.wait([runs], timeout=1.0))[0]:
            for lane in lanes:
                lane.end_if_overdue()
        runs.result()
        outcome.seconds = time.perf_counter() - started
        return outcome

    return _without_collections(load())


async def _judged(
    pool: _Pool, number: int, request: bytes, check: Check, retries: int, due: float, outcome: Outcome
) -> None:
    for attempt in range(retries + 1):
        try:
            status, body = await pool.ask(request, again=attempt > 0)
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
