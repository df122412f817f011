"""uvicorn's HTTP protocol with a time limit and a size limit for the head of a request, and errors in JSON."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes of the request line and the headers.
MOST_HEAD = 65_536
_TOO_LARGE = f"the head of the request has more than {MOST_HEAD} bytes: send less"
#: Seconds in which a client that was refused may read the answer.
_LINGER = 1.0


def limited_protocol(seconds: float) -> type[asyncio.Protocol]:
    """Returns a protocol class.

    Args:
        seconds: Seconds in which the head of a request has to arrive, from its first byte, or from the connection on.
    """

    class LimitedProtocol(HttpToolsProtocol):
        """Closes connections whose requests do not arrive."""

        _timer: asyncio.TimerHandle | None = None
        _refused = False
        #: Whether a head is awaited, bytes of it that were parsed, and bytes that arrived since it was.
        _waiting, _head, _received = True, 0, 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait_for_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._refused:  # what a client was sending meanwhile
                return
            if self._waiting and self._received > MOST_HEAD:
                self._refuse(431, _TOO_LARGE)
            elif not self.transport.is_closing():
                super().data_received(data)
                self._received += len(data)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._wait_for_head()

        def on_url(self, url: bytes) -> None:
            super().on_url(url)
            self._add(len(url))

        def on_header(self, name: bytes, value: bytes) -> None:
            super().on_header(name, value)
            self._add(len(name) + len(value))

        def on_headers_complete(self) -> None:
            self._waiting = False
            self._stop_timer()
            super().on_headers_complete()

        def send_400_response(self, msg: str) -> None:
            if self._head > MOST_HEAD:
                self._refuse(431, _TOO_LARGE)
            else:
                self._refuse(400, "this is no HTTP request that can be read: see /openapi.json")

        def _add(self, size: int) -> None:
            self._head += size
            if self._head > MOST_HEAD:
                raise ValueError(_TOO_LARGE)  # the parser stops, and calls send_400_response

        def _wait_for_head(self) -> None:
            self._stop_timer()
            self._waiting, self._head, self._received = True, 0, 0
            text = f"the head of the request did not arrive within {seconds:g} seconds"
            self._timer = self.loop.call_later(seconds, self._refuse, 408, text)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _refuse(self, status: int, text: str) -> None:
            """Answers with an error, unless an answer is under way, and closes the connection."""
            self._stop_timer()
            if self.transport.is_closing() or self._refused:
                return
            self._refused = True
            if self.cycle is None or self.cycle.response_complete:
                body = json.dumps({"error": text}).encode()
                line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
                self.transport.write(f"{line}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
                # Closed at once, the connection would be reset before the client has read the answer.
                self.transport.write_eof()
                self.loop.call_later(_LINGER, self.transport.close)
            else:
                self.transport.close()

    return LimitedProtocol


def uvicorn_options(seconds: float) -> dict[str, Any]:
    """Returns the options of :class:`uvicorn.Config` that serve with these limits.

    Args:
        seconds: See :func:`limited_protocol`.
    """
    return {
        "http": limited_protocol(seconds),
        "ws": "none",
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": 60,
        "timeout_graceful_shutdown": 5,
    }
