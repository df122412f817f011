"""A transport that gathers writes: a system call for each of them costs about as much as the scores of a list."""

from __future__ import annotations

import asyncio
from typing import Any


class GatheredTransport:
    """A transport that sends what is written in one turn of the event loop by one system call.

    uvicorn writes the head of an answer, then its body.

    Args:
        transport: The transport.
        loop: The event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop):
        self._transport, self._loop, self._parts = transport, loop, list[bytes]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends bytes at the end of this turn."""
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)

    def get_write_buffer_size(self) -> int:
        """Returns the bytes that are not sent yet."""
        return self._transport.get_write_buffer_size() + sum(map(len, self._parts))

    def write_eof(self) -> None:
        """Ends the writing side after all that was written."""
        self._send()
        self._transport.write_eof()

    def close(self) -> None:
        """Closes the connection after all that was written."""
        self._send()
        self._transport.close()

    def abort(self) -> None:
        """Closes the connection at once."""
        self._parts.clear()
        self._transport.abort()

    def _send(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            self._transport.write(b"".join(parts))
