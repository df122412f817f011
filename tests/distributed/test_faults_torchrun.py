"""torchrun and train_dist.py as users run them: a rank is stopped or killed during training."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.datasets import write_dataset
from tests.end_to_end.commands import ROOT, torchrun

pytestmark = [pytest.mark.slow, pytest.mark.timing]

LOST_SECONDS = 4
#: The line of a healthy rank: its number, and the process that it names.
LINE = re.compile(
    r"^train_dist\.py: rank (\d): rank 1 \(host \S+, pid (\d+), last .*\) has sent no heartbeat for \d+ s; "
    r"restart the job \(train_dist\.py: with --resume auto\)$",
    re.MULTILINE,
)


def workers(launcher: int) -> dict[int, psutil.Process]:
    """Processes of the ranks that a torchrun has started."""
    children = psutil.Process(launcher).children()
    return {int(child.environ()["RANK"]): child for child in children if "RANK" in child.environ()}


def wait_for_steps(run: Path, launcher: subprocess.Popen, steps: int = 3) -> None:
    deadline = time.monotonic() + 300
    metrics = run / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text().splitlines()) < steps:
        assert launcher.poll() is None and time.monotonic() < deadline, "no steps are recorded"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=lambda number: number.name)
def test_training_ends_in_time_and_names_the_rank(tmp_path, number):
    data, run, log = write_dataset(tmp_path / "data").directory, tmp_path / "run", tmp_path / "log"
    arguments = [
        "train_dist.py", "--data", data, "--run-dir", run, "--device", "cpu", "--wandb.mode", "disabled",
        "--optimizer.epochs", "100000", "--log-every", "1",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GNNREC_LOST_SECONDS": str(LOST_SECONDS)}
    command = torchrun(*map(str, arguments), ranks=3)
    with open(log, "w") as output:
        launcher = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    started: dict[int, psutil.Process] = {}
    try:
        wait_for_steps(run, launcher)
        started = workers(launcher.pid)
        began = time.monotonic()
        started[1].send_signal(number)
        wait_for_lines(log, 2)
        seconds = time.monotonic() - began
        # torchrun gives a stopped rank another 30 s. One that wakes up before learns that the others are gone.
        if number == signal.SIGSTOP:
            started[1].send_signal(signal.SIGCONT)
        code = launcher.wait(timeout=25)
    finally:
        launcher.kill()
        launcher.wait()
        left = [process for process in started.values() if process.is_running()]
        for process in left:
            process.kill()
    text = log.read_text()
    assert code != 0 and not left
    assert seconds < LOST_SECONDS + 6
    assert {pid for _, pid in LINE.findall(text)} == {str(started[1].pid)}, text
    assert {"0", "2"} <= {rank for rank, _ in LINE.findall(text)}, text
    assert "gloo" not in text and 'train_dist.py", line' not in text, text


def wait_for_lines(log: Path, lines: int) -> None:
    deadline = time.monotonic() + 30
    while len(LINE.findall(log.read_text())) < lines:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
