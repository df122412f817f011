"""Parts of ``benchmarks.gpu_check`` that call programs as users do: a killed run that is resumed, and an export."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.gpu_check import REPOSITORY

#: Steps of the run, and between its checkpoints.
STEPS, EVERY = 24, 8


def _train(place: Path, quick: bool, run: Path, *words: str) -> list[str]:
    steps, every = (60, 2) if quick else (STEPS, EVERY)
    command = [
        sys.executable,
        str(REPOSITORY / "train_dist.py"),
        "--config",
        str(REPOSITORY / "configs/ml20m_full.yaml"),
    ]
    command += ["--data", str(place / "data"), "--run-dir", str(run), "--max-steps", str(steps)]
    command += ["--checkpoint.every-steps", str(every), "--validate-every", "0", "--baselines", "false"]
    command += ["--interest.enabled", "false", "--wandb.mode", "disabled", "--device", "cpu" if quick else "cuda"]
    return command + (["--model.dim", "8"] if quick else []) + list(words)


def resume(place: Path, quick: bool) -> dict:
    """Kills a run after its first checkpoint, resumes it, and compares it with an undisturbed one bit for bit.

    Raises:
        SystemExit: They differ, or the run ended before it was killed.
    """
    whole, killed = place / "run", place / "run-killed"
    for run in (whole, killed):
        shutil.rmtree(run, ignore_errors=True)
    subprocess.run(_train(place, quick, whole), check=True, stdout=subprocess.DEVNULL)
    at = _kill_after_checkpoint(_train(place, quick, killed), killed)
    subprocess.run(_train(place, quick, killed, "--resume", "auto"), check=True, stdout=subprocess.DEVNULL)
    compared, different = compare_weights(whole, killed)
    if different:
        raise SystemExit(f"{len(different)} of {compared} tensors differ after a resume: {', '.join(different[:6])}")
    return {"killed_after": at, "tensors": compared, "different": 0}


def _kill_after_checkpoint(command: list[str], run: Path) -> str:
    """Kills the run when its first complete checkpoint exists, and returns the name of the newest one."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if sorted(run.glob("checkpoints/step-*")):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            break
        time.sleep(0.002)
    found = sorted(run.glob("checkpoints/step-*"))
    if process.returncode != -signal.SIGKILL or not found:
        raise SystemExit(f"the run ended with exit code {process.returncode} before it was killed")
    return found[-1].name


def compare_weights(first: Path, second: Path) -> tuple[int, list[str]]:
    """Compares all tensors of the checkpoints of two runs.

    Returns:
        The number of tensors, and the names of those that are not equal bit for bit.
    """
    stored = [_tensors(run) for run in (first, second)]
    names = sorted(stored[0].keys() | stored[1].keys())
    if not stored[0]:
        raise SystemExit(f"{first} has no checkpoint")
    different = [
        name
        for name in names
        if any(name not in tensors for tensors in stored) or not _equal(stored[0][name], stored[1][name])
    ]
    return len(names), different


def _tensors(run: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.relative_to(run)}:{name}": tensor
        for path in sorted(run.glob("checkpoints/*/*.pt"))
        for name, tensor in torch.load(path, map_location="cpu").items()
    }


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.dtype == second.dtype and torch.equal(first.nan_to_num(), second.nan_to_num())


def export(place: Path, quick: bool) -> dict:
    """Exports the run of part ``resume``, and recommends movies to all users."""
    run, seconds = place / "run", {}
    commands = {
        "export": ["export", str(run), "--out", str(place / "export")],
        "recommend": ["recommend", str(run), "--all", "--out", str(place / "recommendations")],
    }
    for name, words in commands.items():
        began = time.perf_counter()
        device = "cpu" if quick else "cuda"
        command = [sys.executable, "-m", "gnnrec", *words, "--overwrite", "--device", device]
        subprocess.run(command, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        seconds[f"{name}_seconds"] = round(time.perf_counter() - began, 1)
    files = {name: len(list((place / name).rglob("*.parquet"))) for name in ("export", "recommendations")}
    if not all(files.values()):
        raise SystemExit(f"files are missing: {files}")
    return seconds | {f"{name}_files": number for name, number in files.items()}
