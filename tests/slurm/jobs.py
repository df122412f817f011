"""A directory to submit jobs from, and the files that jobs write."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.end_to_end.commands import ROOT
from tests.slurm.cluster import Cluster

#: Options of train_dist.py for runs that start quickly on this machine.
QUICK = ("--device", "cpu", "--wandb.mode", "disabled")


def make_repository(place: Path) -> Path:
    """Makes a directory that works like the repository for jobs, with an environment."""
    place.mkdir()
    for name in ("launch", "configs", "gnnrec", "train_dist.py", "pyproject.toml"):
        (place / name).symlink_to(ROOT / name)
    environment, here = place / ".venv", Path(sys.prefix)
    environment.mkdir()
    for name in ("bin", "lib", "lib64", "pyvenv.cfg"):
        if (here / name).exists():
            (environment / name).symlink_to(here / name)
    # From this file launch/environment.sh sees that everything is installed.
    inputs = [
        f"{place}\n".encode(),
        *((ROOT / name).read_bytes() for name in ("pyproject.toml", "launch/constraints.txt")),
    ]
    installed = [hashlib.sha256(b"".join(inputs)).hexdigest(), "gnnrec[]", "gnnrec[wandb]", "gnnrec[report]"]
    (environment / "gnnrec-installed.txt").write_text("\n".join(installed) + "\n")
    return place


def submit(cluster: Cluster, cwd: Path, *words: str | Path, **variables: str) -> str:
    """``sbatch --parsable`` with these words; returns the job's number."""
    result = cluster.run("sbatch", "--parsable", *words, cwd=cwd, **variables)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def log(cwd: Path, job: str, name: str = "gnnrec") -> str:
    """The log of a job."""
    path = cwd / f"{name}-{job}.log"
    return path.read_text() if path.exists() else ""


def node_log(cwd: Path, job: str, node: int = 0, name: str = "gnnrec") -> str:
    """The log of one node of a job."""
    path = cwd / "logs" / f"{name}-{job}" / f"node-{node}.log"
    return path.read_text() if path.exists() else ""


def step(run: Path) -> int:
    """The last step in a run's records; 0 before the first."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return max((json.loads(line).get("step", 0) for line in lines if line.endswith("}")), default=0)


def wait_for_step(run: Path, least: int, timeout: float = 120) -> int:
    """Waits until a run has reached a step; returns its current step."""
    deadline = time.monotonic() + timeout
    while (current := step(run)) < least:
        assert time.monotonic() < deadline, f"{run} is at step {current} after {timeout} s, not at {least}"
        time.sleep(0.1)
    return current


def ranks(run: Path, node: str = "") -> list[int]:
    """Process ids of the ranks that train this run, on all nodes or one."""
    return _processes("train_dist.py", run, node)


def launchers(run: Path, node: str = "") -> list[int]:
    """Process ids of the launchers of these ranks."""
    return _processes("stoppable_torchrun.py", run, node)


def _processes(program: str, run: Path, node: str) -> list[int]:
    pids = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
            scripts = [Path(word).name for word in words if word.endswith(".py")]
            names_run = any((directory / "cwd").readlink() / word == run for word in words)
            if scripts[:1] == [program] and names_run:
                environment = (directory / "environ").read_bytes().decode(errors="replace").split("\0")
                if not node or f"SLURMD_NODENAME={node}" in environment:
                    pids.append(int(directory.name))
    return pids


@contextlib.contextmanager
def paused(processes: list[int]) -> Iterator[None]:
    """Stops processes for the duration of a block; signals for them stay pending."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def starts(text: str) -> list[int]:
    """Steps at which a run was resumed, from the log of the node with rank 0."""
    return [int(number) for number in re.findall(r"^(?:\[\S+ 0\] )?resumed at step (\d+) of ", text, re.MULTILINE)]


def summary(run: Path) -> dict:
    """Summary of a finished run."""
    return json.loads((run / "summary.json").read_text())


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    """All tensors of the last resumable checkpoint, with optimizers, by file and name."""
    assert (run / "summary.json").exists(), f"{run} is not finished"
    directory = max((run / "checkpoints").glob("step-*"))
    weights: dict[str, torch.Tensor] = {}

    def walk(name: str, item: object) -> None:
        if isinstance(item, torch.Tensor):
            weights[name] = item
        elif isinstance(item, dict):
            for key, value in item.items():
                walk(f"{name}/{key}", value)

    for path in sorted(directory.glob("*.pt")):
        walk(f"{directory.name}/{path.name}", torch.load(path, weights_only=True))
    return weights


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Asserts that all tensors are equal bit for bit."""
    assert len(one) > 20 and one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
