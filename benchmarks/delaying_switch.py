"""A switch that forwards frames with a delay, for kernels that are built without ``netem``.

    python delaying_switch.py MILLISECONDS PORT [PORT ...]

The ports are network devices. Frames are read as Linux has them in memory, up to 64 KiB at once, so a core can switch
some Gbit/s. It has real-time priority, since a frame must not wait for a core, and takes that time from the processes
that compute.
"""

from __future__ import annotations

import collections
import contextlib
import os
import select
import socket
import struct
import sys
import time

# Constants of linux/if_packet.h and asm/socket.h, which Python does not name.
_SOL_PACKET, _VNET_HEADER, _IGNORE_OUTGOING = 263, 15, 23
_RECEIVE_BUFFER_FORCE, _SEND_BUFFER_FORCE = 33, 32
_ALL_PROTOCOLS = 3
#: Bytes before a frame that tell how it is to be cut into packets (struct virtio_net_hdr), and of a hardware address.
_HEADER, _ADDRESS = 10, 6
#: Bytes of a frame: 64 KiB and its own header.
_LONGEST = 65536 + 14
_BUFFER = 16 << 20
#: Frames that are read from one port before others have their turn.
_TURN = 8


def main(delay: float, names: list[str]) -> None:
    """Switches until it is killed; ``delay`` in seconds."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    ports = [_open(name) for name in names]
    behind: dict[bytes, socket.socket] = {}
    waiting: collections.deque[tuple[float, bytes, socket.socket]] = collections.deque()
    print("ready", flush=True)
    while True:
        pause = max(0.0, waiting[0][0] - time.perf_counter()) if waiting else None
        for port in select.select(ports, [], [], pause)[0]:
            with contextlib.suppress(BlockingIOError):
                for _ in range(_TURN):
                    frame = port.recv(_HEADER + _LONGEST)
                    behind[frame[_HEADER + _ADDRESS : _HEADER + 2 * _ADDRESS]] = port
                    waiting.append((time.perf_counter() + delay, frame, port))
        while waiting and waiting[0][0] <= time.perf_counter():
            _, frame, came_from = waiting.popleft()
            port = behind.get(frame[_HEADER : _HEADER + _ADDRESS])
            for each in [port] if port else [port for port in ports if port is not came_from]:
                # Like any switch, it drops frames that a port has no room for.
                with contextlib.suppress(BlockingIOError, OSError):
                    each.send(frame)


def _open(name: str) -> socket.socket:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
    for option in (_VNET_HEADER, _IGNORE_OUTGOING):
        port.setsockopt(_SOL_PACKET, option, struct.pack("i", 1))
    for option in (_RECEIVE_BUFFER_FORCE, _SEND_BUFFER_FORCE):
        port.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    port.bind((name, 0))
    port.setblocking(False)
    return port


if __name__ == "__main__":
    main(float(sys.argv[1]) / 1e3, sys.argv[2:])
