"""Runs ``train_dist.py`` as users do, on ranks of one thread, and reads its files."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import record

ROOT = Path(__file__).parents[1]


def train_run(data: Path, config: str, ranks: int, *words: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Trains in a directory that is removed, without validation before the end, baselines and interest.

    Args:
        data: A prepared dataset.
        config: Name in configs/.
        ranks: Processes.
        words: Further options.

    Returns:
        The records of steps (of ``metrics.jsonl``), and the summary.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = record.torchrun(ranks)
        command += [str(ROOT / "train_dist.py"), "--config", str(ROOT / "configs" / f"{config}.yaml")]
        command += ["--data", str(data), "--run-dir", f"{directory}/run", "--validate-every", "0"]
        command += [
            "--baselines",
            "false",
            "--interest.enabled",
            "false",
            "--wandb.mode",
            "disabled",
            "--device",
            "cpu",
            *words,
        ]
        environment = record.environment_with(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
        subprocess.run(command, check=True, capture_output=True, env=environment)
        lines = Path(directory, "run", "metrics.jsonl").read_text().splitlines()
        summary = json.loads(Path(directory, "run", "summary.json").read_text())
    return [each for each in map(json.loads, lines) if "edges_per_second" in each], summary
