"""Several hosts on one machine: network namespaces of Linux at a switch, each behind a link of limited speed.

Every host has its own host name, ``/etc/hosts``, loopback and network interface, so programs find each other as on a
cluster. Processors, memory and files are those of the machine. Everything is made with iproute2, and needs root. The
network of the machine itself does not change: the switch has its own namespace.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gnnrec.errors import UserError

#: Prefix of the namespaces. No other program uses it, so those that exist were left by a killed run.
_PREFIX = "gnnrec-host-"
_SWITCH = _PREFIX + "switch"
_NETWORK = "10.77.0."
#: ``ip netns exec`` shows a host the files of ``/etc/netns/NAME`` in the place of those in ``/etc``.
_FILES = Path("/etc/netns")
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
#: Bytes that a link accepts at once, and the longest wait in its queue: those of a usual switch.
_BURST, _QUEUE = "128kb", "50ms"
#: A refused connection takes one message each way. The measuring process does not wait for a core, if permitted.
_ROUND_TRIP = """
import os, socket, statistics, sys, time
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
except PermissionError:
    pass
def refused():
    began = time.perf_counter()
    with socket.socket() as one:
        assert one.connect_ex((sys.argv[1], 9))
    return time.perf_counter() - began
print(statistics.median(refused() for _ in range(51)))
"""


class Hosts:
    """A context in which the hosts exist. At its end, processes on them are killed and the hosts removed.

    Args:
        count: Number of hosts.
        bandwidth: Mbit/s of each host's link, each way.
        delay: Delay of a message from one host to another, in ms.

    Attributes:
        delay_by: ``netem`` of the kernel or, if it has none, a ``program`` (:mod:`benchmarks.delaying_switch`).

    Raises:
        UserError: This machine has no namespaces, no iproute2, no root, or a kernel without what the link needs.
    """

    def __init__(self, count: int, bandwidth: float, delay: float) -> None:
        self.count, self.bandwidth, self.delay, self.delay_by = count, bandwidth, delay, "none"
        self._stack = contextlib.ExitStack()
        self._switch: subprocess.Popen | None = None

    def __enter__(self) -> Hosts:
        require()
        with self._stack as stack:
            stack.enter_context(_alone())
            stack.callback(self._wait_for_switch)
            stack.callback(remove)
            remove()
            self._make()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _make(self) -> None:
        _ip("netns", "add", _SWITCH)
        _ip("-n", _SWITCH, "link", "add", "name", "switch", "type", "bridge")
        _ip("-n", _SWITCH, "link", "set", "switch", "up")
        self.delay_by = "none" if not self.delay else "netem" if _has_netem() else "program"
        names = "127.0.0.1 localhost\n" + "".join(f"{_NETWORK}{i} {self.name(i)}\n" for i in range(1, self.count + 1))
        for number in range(1, self.count + 1):
            name, port = self.name(number), f"port{number}"
            (_FILES / name).mkdir(parents=True)
            (_FILES / name / "hosts").write_text(names, encoding="utf-8")
            _ip("netns", "add", name)
            _ip("link", "add", "name", "eth0", "netns", name, "type", "veth", "peer", "name", port, "netns", _SWITCH)
            of_kernel = [] if self.delay_by == "program" else ["master", "switch"]
            _ip("-n", _SWITCH, "link", "set", port, *of_kernel, "up")
            _ip("-n", name, "address", "add", f"{_NETWORK}{number}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
            _limit(name, "eth0", self.bandwidth)
            _limit(_SWITCH, port, self.bandwidth)
            if self.delay_by == "netem":
                words = ["parent", "1:1", "handle", "10:", "netem", "delay", f"{self.delay:g}ms", "limit", "10000"]
                _run("tc", "-n", _SWITCH, "qdisc", "add", "dev", port, *words)
        if self.delay_by == "program":
            self._start_switch()

    def _start_switch(self) -> None:
        ports = [f"port{number}" for number in range(1, self.count + 1)]
        program = str(Path(__file__).with_name("delaying_switch.py"))
        command = [_program("ip"), "netns", "exec", _SWITCH, sys.executable, program, str(self.delay), *ports]
        self._switch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        if self._switch.stdout.readline() != "ready\n":
            raise UserError("the switch that delays messages did not start; run with --delay 0, which needs none")

    def _wait_for_switch(self) -> None:
        """Waits for the switch, which has been killed with all processes on hosts."""
        if self._switch is not None:
            self._switch.communicate()

    @staticmethod
    def name(number: int) -> str:
        """Name of a host, from 1."""
        return f"{_PREFIX}{number}"

    def command(self, number: int, *words: str) -> list[str]:
        """A command line that runs another one on a host."""
        named = ["unshare", "--uts", "sh", "-c", f'hostname {self.name(number)} && exec "$@"', "sh"]
        return [_program("ip"), "netns", "exec", self.name(number), *named, *words]

    def sent(self, number: int) -> tuple[int, int]:
        """Bytes that a host has sent so far: as its interface counts them, and as they are on a wire.

        Linux hands an interface up to 64 KiB at once, with one header; a wire would have seen a header for each packet.
        """
        (link,) = json.loads(_ip("-n", self.name(number), "-s", "-j", "link", "show", "eth0"))
        queues = json.loads(_run("tc", "-n", self.name(number), "-s", "-j", "qdisc", "show", "dev", "eth0"))
        return link["stats64"]["tx"]["bytes"], next(queue["bytes"] for queue in queues if queue["kind"] == "tbf")

    def round_trip(self) -> float:
        """Milliseconds from host 2 to host 1 and back, with nothing else on the links."""
        command = self.command(2, sys.executable, "-c", _ROUND_TRIP, f"{_NETWORK}1")
        return 1e3 * float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def require() -> None:
    """Raises a :class:`UserError` if hosts cannot be made."""
    if sys.platform != "linux":
        raise UserError("hosts on one machine are network namespaces of Linux: run this on Linux")
    for program, package in {
        "ip": "iproute2",
        "tc": "iproute2",
        "unshare": "util-linux",
        "hostname": "hostname",
    }.items():
        if shutil.which(program, path=_PATH) is None:
            raise UserError(f"{program} is missing, which makes hosts on one machine: apt-get install {package}")
    if os.geteuid():
        raise UserError("only root may make hosts on one machine: start it with sudo")


def remove() -> None:
    """Kills processes on hosts, and removes the hosts and all that belongs to them, also those of other runs."""
    names = sorted(line.split()[0] for line in _ip("netns", "list").splitlines() if line.startswith(_PREFIX))
    deadline = time.monotonic() + 10
    while pids := [pid for name in names for pid in _ip("netns", "pids", name).split()]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if time.monotonic() > deadline:
            raise UserError(f"processes on hosts cannot be killed: {', '.join(pids)}")
        time.sleep(0.02)
    for name in names:
        _ip("netns", "delete", name)
    for directory in _FILES.glob(_PREFIX + "*"):
        shutil.rmtree(directory)
    with contextlib.suppress(OSError):
        _FILES.rmdir()  # if it is empty


def _limit(name: str, device: str, bandwidth: float) -> None:
    limit = ["rate", f"{bandwidth:g}mbit", "burst", _BURST, "latency", _QUEUE]
    _run("tc", "-n", name, "qdisc", "add", "dev", device, "root", "handle", "1:", "tbf", *limit)


def _has_netem() -> bool:
    """Whether this kernel can delay messages; the smallest ones cannot."""
    try:
        _run("tc", "-n", _SWITCH, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    except UserError as problem:
        if "qdisc kind is unknown" not in str(problem):
            raise
        return False
    return True


@contextlib.contextmanager
def _alone():
    """Holds a lock, since only one run at a time can have hosts; a second one waits."""
    with open(Path(tempfile.gettempdir()) / "gnnrec-hosts.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run to remove its hosts", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _program(name: str) -> str:
    return shutil.which(name, path=_PATH) or name


def _ip(*words: str) -> str:
    return _run("ip", *words)


def _run(program: str, *words: str) -> str:
    """Runs a command and returns its output."""
    result = subprocess.run([_program(program), *words], capture_output=True, text=True)
    if result.returncode:
        said = result.stderr.strip().splitlines() or ["no reason given"]
        raise UserError(f"{program} {' '.join(words)}: {said[0]}")
    return result.stdout
