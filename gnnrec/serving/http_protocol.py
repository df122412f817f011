"""uvicorn's HTTP protocol with limits of time and size for each connection, and errors in JSON."""

from __future__ import annotations

import asyncio
import json
import math
import resource
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gnnrec.serving.gathered_transport import GatheredTransport

#: Bytes of the request line and the headers.
MOST_HEAD = 65_536
_TOO_LARGE = f"the head of the request has more than {MOST_HEAD} bytes: send less"
#: Seconds in which a client that was refused may read the answer.
_LINGER = 1.0
#: Seconds that a connection may wait for its next request.
_IDLE = 60.0
#: Most seconds between two looks at all connections: their limits of time are kept to this.
_TICK = 0.5
#: Most connections of a process, and the share of the files that it may open.
_MOST, _SHARE = 10_000, 0.75


#: The route of ``at_once`` of an application, and headers of requests that are answered in the general way.
AT_ONCE = b"/recommend"
_NOT_AT_ONCE = (b"content-length", b"transfer-encoding", b"expect", b"connection", b"upgrade")


class _AnsweredCycle:
    """Stands for uvicorn's cycle of a request that was answered at once."""

    response_complete = True

    def __init__(self) -> None:
        self.message_event = asyncio.Event()


_ANSWERED: Any = _AnsweredCycle()


def limited_protocol(
    seconds: float, idle: float = _IDLE, most: int = _MOST, counted: Callable[[int], None] | None = None
) -> type[asyncio.Protocol]:
    """Returns a protocol class.

    Args:
        seconds: Seconds in which the head of a request has to arrive, from its first byte, or from the connection on;
            the rest of a request that was answered before it was there; and in which a client has to read an answer.
        idle: Seconds that a connection may wait for its next request.
        most: Connections at a time.
        counted: Called with the number of connections whenever it changes.
    """
    open_connections: set[LimitedProtocol] = set()
    tick, timers = min(seconds / 5, _TICK), list[asyncio.TimerHandle]()

    def look_at_all(loop: asyncio.AbstractEventLoop) -> None:
        """Ends what is overdue. One timer for all connections costs less than some for each request."""
        timers.clear()
        now = loop.time()
        for connection in list(open_connections):
            connection.end_if_overdue(now)
        if open_connections:
            timers.append(loop.call_later(tick, look_at_all, loop))

    class LimitedProtocol(HttpToolsProtocol):
        """Closes connections whose requests do not arrive, or whose answers are not read."""

        _refused = False
        #: Whether a head is awaited, bytes of it that were parsed, and bytes that arrived since it was.
        _waiting, _head, _received = True, 0, 0
        #: Whether the last request that began has arrived as a whole.
        _whole = False
        #: When to end the connection if nothing else happens, and if bytes are still unsent.
        _due, _unread_due = math.inf, math.inf

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            transport = GatheredTransport(transport, self.loop)  # type: ignore[assignment]
            super().connection_made(transport)
            if not timers:
                timers.append(self.loop.call_later(tick, look_at_all, self.loop))
            open_connections.add(self)
            if counted is not None:
                counted(len(open_connections))
            self._wait_for_head()
            if len(open_connections) > most:
                self._answer(503, "too many connections at a time: try again")
                transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            open_connections.discard(self)
            if counted is not None:
                counted(len(open_connections))
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._refused:  # what a client was sending meanwhile
                return
            if self._waiting and self._received > MOST_HEAD:
                self._refuse(431, _TOO_LARGE)
            elif not self.transport.is_closing():
                super().data_received(data)
                self._received += len(data)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._unread_due = math.inf

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._whole = False
            self._wait_for_head()

        def on_url(self, url: bytes) -> None:
            super().on_url(url)
            self._add(len(url))

        def on_header(self, name: bytes, value: bytes) -> None:
            super().on_header(name, value)
            self._add(len(name) + len(value))

        def on_headers_complete(self) -> None:
            self._waiting, self._due = False, math.inf  # the application has limits for the body
            if not self._answer_at_once():
                super().on_headers_complete()

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._whole = True
            if self.cycle.response_complete:
                self._due = self.loop.time() + idle

        def on_response_complete(self) -> None:
            if self.pipeline:
                super().on_response_complete()
                return
            # As the method of uvicorn, without its timer.
            self.server_state.total_requests += 1
            if self.transport.is_closing():
                return
            self.flow.resume_reading()
            if not self._waiting:  # else the next request has begun
                self._due = self.loop.time() + (idle if self._whole else seconds)

        def send_400_response(self, msg: str) -> None:
            if self._head > MOST_HEAD:
                self._refuse(431, _TOO_LARGE)
            else:
                self._refuse(400, "this is no HTTP request that can be read: see /openapi.json")

        def _answer_at_once(self) -> bool:
            """Answers a request without a body if its turn is now and the application can; returns whether."""
            path, _, query = self.url.partition(b"?")
            if path != AT_ONCE or self.parser.get_method() != b"GET" or not hasattr(self.app, "at_once"):
                return False
            if not self.parser.should_keep_alive() or self.parser.should_upgrade() or self.root_path:
                return False
            if any(name in _NOT_AT_ONCE for name, _ in self.headers) or self.flow.write_paused:
                return False
            if self.pipeline or (self.cycle is not None and not self.cycle.response_complete):
                return False
            body = self.app.at_once(query.decode("latin-1"))
            if body is None:
                return False
            self.cycle = _ANSWERED
            self.server_state.total_requests += 1
            head = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
            self.transport.write(
                b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\ncontent-type: application/json\r\n\r\n%b"
                % (head, len(body), body)
            )
            return True

        def end_if_overdue(self, now: float) -> None:
            """Ends the connection if nothing happened for too long; closing would wait until all bytes are sent."""
            if not self.transport.get_write_buffer_size():
                self._unread_due = math.inf
            elif self._unread_due == math.inf:
                self._unread_due = now + seconds
            elif now >= self._unread_due:
                self.transport.abort()
                return
            if now < self._due or self.transport.is_closing():
                return
            if self._waiting:
                self._refuse(408, f"the head of the request did not arrive within {seconds:g} seconds")
            else:
                self.transport.close()

        def _add(self, size: int) -> None:
            self._head += size
            if self._head > MOST_HEAD:
                raise ValueError(_TOO_LARGE)  # the parser stops, and calls send_400_response

        def _wait_for_head(self) -> None:
            self._waiting, self._head, self._received = True, 0, 0
            self._due = self.loop.time() + seconds

        def _refuse(self, status: int, text: str) -> None:
            """Answers with an error, unless an answer is under way, and closes the connection."""
            self._due = math.inf
            if self.transport.is_closing() or self._refused:
                return
            self._refused = True
            if self.cycle is None or self.cycle.response_complete:
                self._answer(status, text)
                # Closed at once, the connection would be reset before the client has read the answer.
                self.transport.write_eof()
                self.loop.call_later(_LINGER, self.transport.close)
            else:
                self.transport.close()

        def _answer(self, status: int, text: str) -> None:
            body = json.dumps({"error": text}).encode()
            line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            self.transport.write(f"{line}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)

    return LimitedProtocol


def most_connections() -> int:
    """Returns the connections that this process may have: some of the files that it may open stay free."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if files == resource.RLIM_INFINITY else max(1, min(_MOST, int(_SHARE * files)))


def uvicorn_options(seconds: float, counted: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Returns the options of :class:`uvicorn.Config` that serve with these limits.

    Args:
        seconds, counted: See :func:`limited_protocol`.
    """
    return {
        "http": limited_protocol(seconds, most=most_connections(), counted=counted),
        "proxy_headers": False,  # nothing asks for the address of a client
        "ws": "none",
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": 5,
    }
