"""A run directory belongs to a job that is alive: a second job is refused, and a dead one does not keep it."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from gnnrec.errors import UserError
from gnnrec.training import run_lock
from gnnrec.training.run_lock import STARTED, RunLock, owner, wait_for_lease


def started(run, **values) -> None:
    run.mkdir(exist_ok=True)
    (run / STARTED).write_text(json.dumps({"torchrun": "none", "start": "a"} | owner() | values))


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def other():
    """Another process of this machine."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield {"pid": process.pid, "process_started": psutil.Process(process.pid).create_time()}
    process.kill()
    process.wait()


def test_a_job_that_lives_on_this_machine_keeps_its_directory(run, other):
    started(run, **other)
    with pytest.raises(UserError, match=rf"in use by a job that is alive \(host .*, process {other['pid']}\): stop it"):
        wait_for_lease(run, seconds=0.5)


def test_a_job_that_ends_meanwhile_is_waited_for(run):
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(1.0,))
    process.start()
    started(run, pid=process.pid, process_started=psutil.Process(process.pid).create_time())
    wait_for_lease(run, seconds=60)
    process.join()


@pytest.mark.parametrize("values", [{"pid": 2**22 + 1}, {"process_started": 1.0}, {"ended": 1}, {}])
def test_a_dead_job_or_the_own_one_is_not_waited_for(run, other, values):
    started(run, **({} if not values else other | values))
    if "ended" in values:
        os.utime(run / STARTED, (0, 0))
    begun = time.monotonic()
    wait_for_lease(run, seconds=60)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("content", [None, {"torchrun": "none", "start": "a"}])
def test_a_new_directory_and_one_of_an_older_version_are_free(run, content):
    run.mkdir()
    if content:
        (run / STARTED).write_text(json.dumps(content))
    wait_for_lease(run, seconds=0.1)


def test_a_job_on_another_machine_keeps_its_directory_while_it_renews_its_lease(run, monkeypatch):
    monkeypatch.setattr(run_lock, "RENEWAL", 0.1)
    started(run, host="elsewhere", start="b")
    lock = RunLock(run, "b", renews=True)
    with pytest.raises(UserError, match="host elsewhere"):
        wait_for_lease(run, seconds=30)
    lock.release()
    assert os.stat(run / STARTED).st_mtime == 0
    wait_for_lease(run, seconds=30)


def test_a_job_on_another_machine_that_renews_nothing_is_dead(run):
    started(run, host="elsewhere")
    begun = time.monotonic()
    wait_for_lease(run, seconds=0.6)
    assert 0.5 < time.monotonic() - begun < 10


def test_the_lease_of_another_job_is_not_renewed(run, monkeypatch):
    monkeypatch.setattr(run_lock, "RENEWAL", 0.05)
    started(run, start="later")
    lock = RunLock(run, "earlier", renews=True)
    before = os.stat(run / STARTED).st_mtime_ns
    time.sleep(0.4)
    assert os.stat(run / STARTED).st_mtime_ns == before
    lock.release()
    assert os.stat(run / STARTED).st_mtime_ns == before
    with pytest.raises(UserError, match="taken over by another job"):
        lock.check()


def test_renewal_ends_with_the_job(run, monkeypatch):
    monkeypatch.setattr(run_lock, "RENEWAL", 0.05)
    started(run, start="a")
    lock = RunLock(run, "a", renews=True)
    lock.release()
    lock.release()
    for thread in threading.enumerate():
        if thread.name == "gnnrec-lease":
            thread.join(5)
    assert not [thread for thread in threading.enumerate() if thread.name == "gnnrec-lease" and thread.is_alive()]


@pytest.mark.parametrize("whole", [True, False])
def test_a_directory_that_was_removed_is_called_that(run, whole):
    started(run, start="a")
    lock = RunLock(run, "a")
    lock.check()
    shutil.rmtree(run) if whole else (run / STARTED).unlink()
    with pytest.raises(UserError, match="was removed or moved while this job was running"):
        lock.check()


def test_the_owner_is_this_process():
    assert (owner()["host"], owner()["pid"]) == (socket.gethostname(), os.getpid())
