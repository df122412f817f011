"""The parent of the workers goes on where the machine fails for a while, and with what was removed."""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gnnrec.serving import attempts, supervisor
from gnnrec.serving.convert import SERVED, converted_path
from gnnrec.serving.live import WatchedPointer
from gnnrec.serving.supervisor import Supervisor
from tests.serving.float_export import make_float_export

pytestmark = pytest.mark.processes
#: A service whose conversion never ends.
ENDLESS = """
import sys, time
from pathlib import Path
from gnnrec.serving import supervisor
from gnnrec.serving.serve import ServeOptions, serve
def convert(*arguments):
    print("converting", flush=True)
    time.sleep(600)
supervisor.convert = convert
serve(Path(sys.argv[1]), ServeOptions(port=int(sys.argv[2])))
"""


class Steps:
    """A supervisor whose workers are numbers, step by step."""

    def __init__(self, path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.supervisor, self.pointer = Supervisor(path, folder / "cache", None, 1, lambda *_: None), folder / "p" / "x"
        self.forks: list[int | OSError] = []
        monkeypatch.setattr(supervisor, "_PAUSE", 0.0)
        monkeypatch.setattr(attempts, "FIRST_PAUSE", 0.05)
        monkeypatch.setattr(self.supervisor, "_fork", self._fork)
        monkeypatch.setattr(self.supervisor, "_reap", lambda: None)
        self.arrays = self.supervisor.prepare()

    def _fork(self, listening: socket.socket, pointer: Path, place: int) -> int:
        assert place == 0
        self.forks.append(OSError(errno.ENOMEM, "no memory") if not self.forks else len(self.forks))
        if isinstance(self.forks[-1], OSError):
            raise self.forks[-1]
        return self.forks[-1]

    def go_on(self, until: Callable[[], bool] = lambda: True) -> None:
        deadline = time.monotonic() + 20
        with socket.socket() as listening:
            self.supervisor._go_on(listening, self.pointer)
            while not until():
                assert time.monotonic() < deadline
                time.sleep(0.01)
                self.supervisor._go_on(listening, self.pointer)

    def lose_worker(self) -> None:
        self.supervisor._workers.clear()
        self.supervisor._places.clear()
        self.supervisor._due.append(0.0)


@pytest.fixture
def steps(dataset, tmp_path, monkeypatch) -> Steps:
    return Steps(make_float_export(dataset, tmp_path / "export"), tmp_path, monkeypatch)


def test_workers_and_their_pointer_are_tried_again(steps, monkeypatch):
    write = supervisor.files.write_text
    errors = [OSError(errno.ENOSPC, "full")]
    monkeypatch.setattr(supervisor.files, "write_text", lambda *args: write(*args) if not errors else _throw(errors))
    steps.go_on()
    assert not steps.pointer.exists() and not steps.forks
    steps.go_on()
    assert steps.pointer.exists() and isinstance(steps.forks[0], OSError) and not steps.supervisor._workers
    steps.go_on()
    assert list(steps.supervisor._workers) == [1]
    shutil.rmtree(steps.pointer.parent)  # as programs that clean /tmp do
    steps.go_on()
    assert WatchedPointer(steps.pointer).open().directory == steps.arrays


def _throw(errors: list[OSError]) -> None:
    raise errors.pop()


@pytest.mark.parametrize("loss", ["all", "a file", "half a file"])
def test_arrays_that_were_removed_are_written_again_before_a_worker_starts(steps, loss):
    steps.go_on(lambda: bool(steps.supervisor._workers))
    if loss == "all":
        shutil.rmtree(steps.arrays.parent)
    elif loss == "a file":
        (steps.arrays / "users.npy").unlink()
    else:
        (steps.arrays / SERVED).write_bytes((steps.arrays / SERVED).read_bytes()[:100])
    steps.lose_worker()
    steps.go_on()
    assert steps.supervisor._conversion is None and not steps.supervisor._workers
    steps.go_on(lambda: bool(steps.supervisor._workers))
    assert WatchedPointer(steps.pointer).open().directory == steps.arrays


@pytest.mark.slow
def test_an_export_that_was_refused_is_counted_and_tried_again(dataset, tmp_path, monkeypatch):
    steps = Steps(make_float_export(dataset, tmp_path / "export"), tmp_path, monkeypatch)
    steps.go_on(lambda: bool(steps.supervisor._workers))
    watched = WatchedPointer(steps.pointer)
    assert watched.open().directory == steps.arrays and not watched.changed() and watched.refused == 0
    shutil.rmtree(tmp_path / "export")
    (tmp_path / "export").symlink_to("export")  # to itself
    steps.go_on()
    (tmp_path / "export").unlink()
    part = make_float_export(dataset, tmp_path / "export", seed=2) / "movies" / "part-0000000000.parquet"
    content = part.read_bytes()
    part.write_bytes(content[:-1])
    steps.go_on(lambda: watched.refused == 1)
    assert watched.open().directory == steps.arrays
    steps.go_on(lambda: steps.supervisor._attempts._pause > 0.15)  # it was tried more than once
    part.write_bytes(content)
    wanted = converted_path(tmp_path / "export", tmp_path / "cache")
    steps.go_on(lambda: watched.open().directory == wanted)
    assert watched.refused == 1 and steps.supervisor._arrays == [steps.arrays, wanted]


@pytest.mark.slow
def test_a_conversion_ends_with_its_parent_and_does_not_keep_the_port(export):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-c", ENDLESS, str(export), str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "converting\n"
        child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
        with socket.create_server(("127.0.0.1", port)):  # at once
            pass
        deadline = time.monotonic() + 15
        while Path(f"/proc/{child[0]}").exists():
            assert len(child) == 1 and time.monotonic() < deadline
            time.sleep(0.02)
