"""A job under torchrun that :mod:`benchmarks.chaos` observes from outside and injects faults into."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil

from benchmarks.record import torchrun

ROOT = Path(__file__).parents[1]
_LONGEST_WAIT = 120.0


class Job:
    """One command under torchrun, which can be started repeatedly.

    Args:
        arguments: A script and its options, for torchrun.
        log: File for the output of all starts.
        ranks: Ranks on this machine.
    """

    def __init__(self, arguments: list[str], log: Path, ranks: int):
        self.command = [*torchrun(ranks), "--max-restarts=1", *arguments]
        self.log, self.num_ranks = log, ranks
        self.note = log.with_suffix(".stopped")
        self.process: subprocess.Popen | None = None
        self._starts_before = 0

    def start(self) -> None:
        """Starts the command."""
        self.note.unlink(missing_ok=True)
        self._starts_before = len(self.starts())
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        environment["GNNREC_STOPPED_FILE"] = str(self.note)
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def alive(self) -> bool:
        """Whether torchrun runs."""
        return self.process is not None and self.process.poll() is None

    def ranks(self) -> dict[int, psutil.Process]:
        """Returns rank -> its process, for ranks that run."""
        found = {}
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.Error, KeyError):
                    if child.status() != psutil.STATUS_ZOMBIE:
                        found[int(child.environ()["RANK"])] = child
        return found

    def starts(self) -> list[int]:
        """The step that the ranks resumed from at each start; 0 for the beginning."""
        found, resumed = [], 0
        for line in self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []:
            if line.startswith("resumed at step "):
                resumed = int(line.split()[3])
            elif line.startswith("edges max/mean"):  # printed when the trainer is built
                found.append(resumed)
                resumed = 0
        return found

    @property
    def begun(self) -> bool:
        """Whether the ranks that were started last have begun to train."""
        return len(self.starts()) > self._starts_before

    def listens(self) -> bool:
        """Whether all ranks handle SIGTERM, so that they can be asked to stop."""
        caught = []
        for rank in self.ranks().values():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{rank.pid}/status").read_text(encoding="utf-8")
                caught.append(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (signal.SIGTERM - 1) & 1)
        return len(caught) == self.num_ranks and all(caught)

    def says_stopped(self) -> bool:
        """Whether a rank has recorded that it stopped."""
        return self.note.exists() and bool(self.note.read_text(encoding="utf-8"))

    def strike(self, how: str, rank: int) -> bool:
        """Injects the fault; False if no process was left to hit."""
        ranks = self.ranks()
        if not self.alive or rank not in ranks:
            return False
        try:
            if how == "kill -9 job":
                self.process.kill()
                for process in ranks.values():
                    process.kill()
                self.process.wait()
                psutil.wait_procs(list(ranks.values()), timeout=_LONGEST_WAIT)
            elif how == "kill -9 rank":
                ranks[rank].kill()
                ranks[rank].wait(_LONGEST_WAIT)
            elif how == "SIGTERM torchrun":
                self.process.send_signal(signal.SIGTERM)
            else:
                ranks[rank].send_signal(signal.Signals[how.split()[0]])
        except psutil.NoSuchProcess:
            return False
        return True

    def wait(self) -> int:
        """Waits until none of torchrun's processes is left, and returns its exit code."""
        everything = list(self.ranks().values())
        code = self.process.wait(_LONGEST_WAIT)
        psutil.wait_procs(everything, timeout=_LONGEST_WAIT)
        return code

    def end(self) -> None:
        """Kills all processes of the job that are left."""
        if self.alive:
            ranks = self.ranks()
            self.process.kill()
            for process in ranks.values():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait()


@dataclasses.dataclass
class Scene:
    """The progress of a training job, read from its files.

    Attributes:
        step: The last step on record.
        validated: Whether validation has been recorded after it.
        being_saved: Name of the checkpoint that is being written.
        saved: The step of the newest complete checkpoint; 0 for none.
        finished: Whether the run has its summary.
    """

    step: int
    validated: bool
    being_saved: str
    saved: int
    finished: bool


def look(run: Path) -> Scene:
    """Reads the progress from a run directory."""
    record: dict = {}
    with contextlib.suppress(OSError):
        with open(run / "metrics.jsonl", "rb") as file:
            file.seek(max(0, os.path.getsize(run / "metrics.jsonl") - 2000))
            lines = [line for line in file.read().split(b"\n")[:-1] if line[:1] == b"{"]
        record = json.loads(lines[-1]) if lines else {}
    names = []
    with contextlib.suppress(OSError):
        names = os.listdir(run / "checkpoints")
    saved = [int(name[5:]) for name in names if name.startswith("step-")]
    return Scene(
        step=record.get("step", 0),
        validated=any(name.startswith(("validation", "test")) for name in record),
        being_saved=next((name for name in sorted(names) if re.match(r"\.(step|best)-.*\.tmp", name)), ""),
        saved=max(saved, default=0),
        finished=(run / "summary.json").exists(),
    )


def parts_written(export: Path) -> int:
    """Parts of users that are complete in an unfinished export."""
    return len(list((export / ".unfinished").glob("users-part-*.json")))


def wait_for(condition, job: Job) -> bool:
    """Polls until a condition holds; False if the job ends before."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while time.monotonic() < deadline:
        if condition():
            return True
        if not job.alive:
            return bool(condition())
        time.sleep(0.002)
    raise TimeoutError(f"no progress: see {job.log}")
