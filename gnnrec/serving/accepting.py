"""Connections of a socket that several processes share: each of them gets about as many.

The kernel wakes the process that began to wait last, which would have nearly all connections of a client that opens
them one after the other, and answer them with one core. A process that has more connections than another one leaves a
new connection to it for a moment.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
from collections.abc import Callable

import numpy as np
import uvicorn

#: Seconds that a new connection is left to processes with fewer, and that accepting pauses without free files.
_LEFT, _PAUSE = 0.002, 1.0
#: Number of connections of a process that is not there.
_ABSENT = 2**30


class ConnectionCounts:
    """Numbers of connections of some processes, in memory that they share.

    Args:
        processes: Processes, each of which has a place.
    """

    def __init__(self, processes: int):
        self._counts = np.frombuffer(mmap.mmap(-1, 4 * processes), np.int32)
        self._counts[:] = _ABSENT

    def set(self, place: int, connections: int) -> None:
        """Sets the number of the process at a place."""
        self._counts[place] = connections

    def remove(self, place: int) -> None:
        """Notes that a process has ended: no connection is left to it."""
        self._counts[place] = _ABSENT

    def is_least(self, place: int) -> bool:
        """Returns whether no other process has fewer connections."""
        return bool(self._counts[place] <= self._counts.min())


class SharingServer(uvicorn.Server):
    """A server that shares a socket with other processes.

    Args:
        config: Its configuration.
        listening: The socket.
        is_least: Returns whether no other process has fewer connections.
    """

    def __init__(self, config: uvicorn.Config, listening: socket.socket, is_least: Callable[[], bool]):
        super().__init__(config)
        self._listening, self._is_least = listening, is_least
        self._opening: set[asyncio.Task] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept connections."""
        await super().startup(sockets=[])
        self._listen(self._accept_or_leave)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers what was begun, and ends."""
        asyncio.get_running_loop().remove_reader(self._listening)
        await super().shutdown(sockets=[self._listening])

    def _listen(self, accept: Callable[[], None]) -> None:
        if not self.should_exit:
            asyncio.get_running_loop().add_reader(self._listening, accept)

    def _accept_or_leave(self) -> None:
        if self._is_least():
            self._accept()
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening)
        loop.call_later(_LEFT, self._accept_what_is_left)

    def _accept_what_is_left(self) -> None:
        self._listen(self._accept_or_leave)
        self._accept()

    def _accept(self) -> None:
        if self.should_exit:  # the socket may be closed
            return
        loop = asyncio.get_running_loop()
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another process has it, or it is gone
            return
        except OSError:  # no file is free
            loop.remove_reader(self._listening)
            loop.call_later(_PAUSE, self._listen, self._accept_or_leave)
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
