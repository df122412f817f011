"""Writes result files with their figures, command, commit, hardware and versions."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path

import psutil
import torch
import torch_geometric

RESULTS = Path(__file__).parent / "results"


def write(name: str, module: str, figures: dict) -> Path:
    """Writes ``results/NAME.json``.

    Args:
        name: Name of the result.
        module: The benchmark's module, for the command.
        figures: The figures.
    """
    record = {"command": command(module)} | provenance() | figures
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def add(name: str, part: str, module: str, figures: dict) -> Path:
    """Writes figures of one part of a result into ``results/NAME.json``, and keeps those of its other parts.

    Args:
        name: Name of the result.
        part: Key of the command, commit, hardware and versions of this part.
        module: The benchmark's module, for the command.
        figures: The figures; they replace those of the same names.
    """
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    record = before | {part: {"command": command(module)} | provenance()} | figures
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def command(module: str) -> str:
    """The command line of this process, with ``PATH`` for absolute paths."""
    return shlex.join(["python", "-m", module, *("PATH" if os.path.isabs(word) else word for word in sys.argv[1:])])


def provenance() -> dict:
    """Commit, date, hardware and versions."""
    return {
        "commit": COMMIT,
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torch_geometric": torch_geometric.__version__,
        },
    }


def _git(*arguments: str) -> str:
    found = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parent)
    return found.stdout.strip()


#: Read at the start, since the tree may change while a benchmark runs.
COMMIT = _git("rev-parse", "--short", "HEAD") + (" with changes" if _git("status", "--porcelain", "-uno") else "")


def hardware() -> str:
    """Cores, memory and the GPU, if any."""
    cores, memory = len(os.sched_getaffinity(0)), psutil.virtual_memory().total / 2**30
    text = f"{cores} CPU cores ({_cpu_name()}), {memory:.0f} GiB memory"
    return text + (f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ", no GPU")


def timed(command: list[str], **environment: str) -> dict[str, float]:
    """Runs a command as users do, and returns ``seconds`` and ``peak_gb`` of its largest process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment_with(**environment))
    # RUSAGE_CHILDREN has the peak of all commands so far; this one is at least that of this process.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {"seconds": round(seconds, 1), "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 2)}


def torchrun(ranks: int) -> list[str]:
    """The torchrun command for this machine, to which a program or ``-m`` and a module are added."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]


def environment_with(**values: str) -> dict[str, str]:
    """The environment of this process with some variables set."""
    return os.environ | values


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
