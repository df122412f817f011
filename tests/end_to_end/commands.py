"""Runs the real commands as a user does: in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = [sys.executable]
GNNREC = [sys.executable, "-m", "gnnrec"]
TRAIN = [sys.executable, str(ROOT / "train_dist.py")]


def torchrun(*arguments: str, ranks: int = 2) -> list[str]:
    """The command line that starts ``arguments`` on some ranks of this machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return [*launcher, *arguments]


def run(command: list, path_before: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess:
    """Runs a command without terminal or input, and catches what it prints.

    Args:
        command: Anything in it is turned into text.
        path_before: A directory whose modules hide the installed ones.
        timeout: Seconds.
    """
    environment = {
        name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    }
    environment |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    environment["PYTHONPATH"] = os.pathsep.join(str(path) for path in (path_before, ROOT) if path)
    return subprocess.run(
        [str(word) for word in command],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip


def succeed(command: list, **options) -> str:
    """Runs a command that must succeed; returns its standard output."""
    result = run(command, **options)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def fail_with_one_line(command: list, **options) -> str:
    """Runs a command that must refuse: exit code 2 and one line of standard error, which is returned."""
    result = run(command, **options)
    lines = result.stderr.splitlines()
    assert (result.returncode, len(lines)) == (2, 1), f"{command}\n{result.returncode}\n{result.stderr}"
    return lines[0]
