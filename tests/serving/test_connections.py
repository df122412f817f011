"""Connections that a client holds on to are ended: uvicorn's protocol with limits, in this process."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState

from gnnrec.serving.gathered_transport import GatheredTransport
from gnnrec.serving.http_protocol import limited_protocol, most_connections, uvicorn_options

#: Seconds of the limits, and seconds in which a connection has ended that is over one.
LIMIT, ENDED = 0.1, 5.0
pytestmark = pytest.mark.timing
LARGE = b"x" * 16_000_000
Client = Callable[[str, int], Awaitable[Any]]


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answers without reading a body."""
    body = LARGE if scope["path"] == "/large" else b"{}"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def with_server(
    client: Client, factory: Callable[[], asyncio.AbstractEventLoop], seconds: float = LIMIT, **limits: Any
) -> Any:
    """Runs a client, given host and port, next to a server."""

    async def run() -> Any:
        options = uvicorn_options(LIMIT) | {"http": limited_protocol(seconds, **limits)}
        config, state = uvicorn.Config(answer, **options), ServerState()
        config.load()
        loop = asyncio.get_running_loop()
        protocol = config.http_protocol_class
        server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)  # type: ignore[call-arg]
        try:
            found = await client(*server.sockets[0].getsockname())
            for _ in range(int(ENDED / 0.02)):
                if not state.connections:
                    return found
                await asyncio.sleep(0.02)
            raise AssertionError("the server holds a connection")
        finally:
            server.close()

    loop = factory()
    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


@pytest.mark.parametrize("factory", [uvloop.new_event_loop, asyncio.new_event_loop])
@pytest.mark.parametrize("rest", [b"x", b"xx", b"", b"GET / HT", b"\r\n"])
def test_a_client_that_sends_little_and_waits(factory, rest):
    """Sends one byte of a body that was answered without it, the end of it, none, half a head, or an empty line."""

    async def client(host: str, port: int) -> bytes:
        reader, writer = await asyncio.open_connection(host, port)
        head = b"GET / HTTP/1.1\r\nHost: x\r\n"
        writer.write(head + (b"Content-Length: 2\r\n\r\n" if rest in (b"x", b"xx", b"") else b"\r\n"))
        answered = await reader.readuntil(b"{}")
        writer.write(rest)
        rest_of_it = await asyncio.wait_for(reader.read(), ENDED)
        writer.close()
        assert (b" 408 " in rest_of_it) == (rest == b"GET / HT")
        return answered

    assert with_server(client, factory, idle=0.2).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("factory", [uvloop.new_event_loop, asyncio.new_event_loop])
@pytest.mark.parametrize("head", [b"", b"Connection: close\r\n"])
def test_a_client_that_reads_no_answer_is_cut_off(factory, head):
    async def client(host: str, port: int) -> None:
        with socket.create_connection((host, port)) as connection:
            connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
            await asyncio.sleep(3 * LIMIT)
            connection.settimeout(ENDED)
            size = 0
            with pytest.raises(ConnectionResetError):
                while part := connection.recv(1 << 20):
                    size += len(part)
                raise ConnectionResetError if size < len(LARGE) else AssertionError("all of it is there")

    with_server(client, factory)


def test_a_client_that_reads_large_answers_gets_all_of_them():
    async def client(host: str, port: int) -> int:
        reader, writer = await asyncio.open_connection(host, port)
        size = 0
        for _ in range(3):
            writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            size += len(await reader.readexactly(len(LARGE)))
        writer.close()
        return size

    assert with_server(client, uvloop.new_event_loop, seconds=ENDED) == 3 * len(LARGE)


def test_pipelined_requests_are_answered_in_order_and_the_connection_stays():
    async def client(host: str, port: int) -> bytes:
        reader, writer = await asyncio.open_connection(host, port)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
            for _ in range(5):
                last = await reader.readuntil(b"{}")
            await asyncio.sleep(1.5 * LIMIT)  # longer than a head may take
        writer.close()
        return last

    assert with_server(client, uvloop.new_event_loop, idle=ENDED).startswith(b"HTTP/1.1 200 OK")


def test_connections_that_come_and_go_share_one_timer():
    async def client(host: str, port: int) -> int:
        for _ in range(20):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b"{}")
            writer.close()
            await asyncio.sleep(0.001)
        timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        return sum("look_at_all" in repr(timer) for timer in timers if not timer.cancelled())

    assert with_server(client, asyncio.new_event_loop, seconds=ENDED) <= 1


def test_more_connections_than_there_may_be_are_told_so():
    async def client(host: str, port: int) -> list[bytes]:
        streams = [await asyncio.open_connection(host, port) for _ in range(3)]
        answers = []
        for reader, writer in streams:
            answers.append(await asyncio.wait_for(reader.read(), ENDED))
            writer.close()
        return answers

    answers = with_server(client, uvloop.new_event_loop, most=2)
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 408"] * 2 + [b"HTTP/1.1 503"]
    assert list(json.loads(answers[2].partition(b"\r\n\r\n")[2])) == ["error"]
    assert 1 <= most_connections() <= 10_000


class Recorded:
    """A transport that keeps what is sent through it."""

    def __init__(self) -> None:
        self.sent, self.ended, self.aborted = list[bytes](), list[str](), False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def write_eof(self) -> None:
        self.ended.append("eof")

    def close(self) -> None:
        self.ended.append("close")

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 7

    def is_closing(self) -> bool:
        return bool(self.ended)


def test_what_is_written_in_one_turn_is_sent_at_once():
    async def run() -> None:
        inner = Recorded()
        gathered = GatheredTransport(inner, asyncio.get_running_loop())  # type: ignore[arg-type]
        gathered.write(b"head ")
        gathered.write(b"body")
        assert not inner.sent and gathered.get_write_buffer_size() == 7 + 9 and not gathered.is_closing()
        await asyncio.sleep(0)
        assert inner.sent == [b"head body"] and gathered.get_write_buffer_size() == 7
        gathered.write(b"more")
        gathered.write_eof()
        gathered.write(b"last")
        gathered.close()
        await asyncio.sleep(0)
        assert inner.sent == [b"head body", b"more", b"last"] and inner.ended == ["eof", "close"]
        gathered.write(b"never")
        gathered.abort()
        await asyncio.sleep(0)
        assert inner.aborted and len(inner.sent) == 3

    asyncio.run(run())
