"""Runs with default settings, for benchmarks of quality."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks import record

ROOT = Path(__file__).parents[1]


def trained(data: Path, run: Path, *words: str) -> dict:
    """Trains by default settings and further words; returns the summary."""
    command = [sys.executable, str(ROOT / "train_dist.py"), "--data", str(data), "--run-dir", str(run)]
    command += ["--wandb.mode", "disabled", "--device", "cpu", *words]
    subprocess.run(command, check=True, capture_output=True, env=record.environment_with(PYTHONPATH=str(ROOT)))
    return json.loads((run / "summary.json").read_text())


def standard_error(differences: list[float]) -> float:
    """Standard error of the mean of paired differences."""
    return float(np.std(differences, ddof=1) / math.sqrt(len(differences)))
