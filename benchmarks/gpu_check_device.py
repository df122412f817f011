"""Parts of ``benchmarks.gpu_check`` on the card itself: versions, bandwidth, launches, Triton's kernels."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import torch

from benchmarks.gpu_check import REPOSITORY

#: Launches that are timed.
LAUNCHES = 10_000


def device(quick: bool) -> torch.device:
    """The card; the CPU with ``--quick``.

    Raises:
        SystemExit: There is no card.
    """
    if quick:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device here")
    return torch.device("cuda", 0)


def synchronize(on: torch.device) -> None:
    if on.type == "cuda":
        torch.cuda.synchronize(on)


def versions(place: Path, quick: bool) -> dict:
    """Versions, the card, and the bandwidth of a copy in its memory."""
    on = device(quick)
    found = {"python": platform.python_version()}
    for name in ("torch", "triton", "torch_geometric", "numba", "numpy", "jsonargparse"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    found["cuda"] = str(torch.version.cuda)
    if on.type == "cuda":
        card = torch.cuda.get_device_properties(on)
        found |= {
            "card": card.name,
            "capability": f"{card.major}.{card.minor}",
            "memory_gb": round(card.total_memory / 1e9, 1),
            "multiprocessors": card.multi_processor_count,
            "nccl": ".".join(map(str, torch.cuda.nccl.version())),
        }
        found["bf16"] = torch.cuda.is_bf16_supported(including_emulation=False)
    return found | {"copy_gb_per_second": round(copy_bandwidth(on, 1 << 24 if quick else 1 << 31), 1)}


def copy_bandwidth(on: torch.device, size: int, times: int = 10) -> float:
    """Gigabytes a second that copies of ``size`` bytes read and write."""
    source = torch.zeros(size, dtype=torch.uint8, device=on)
    target = torch.empty_like(source).copy_(source)
    synchronize(on)
    began = time.perf_counter()
    for _ in range(times):
        target.copy_(source)
    synchronize(on)
    return 2 * times * size / (time.perf_counter() - began) / 1e9


def launches(place: Path, quick: bool) -> dict:
    """Microseconds of the host, and of both, for a tiny operator."""
    on = device(quick)
    number = torch.zeros(32, device=on)
    for _ in range(100):
        number.add_(1)
    synchronize(on)
    began = time.perf_counter()
    for _ in range(LAUNCHES):
        number.add_(1)
    host = time.perf_counter() - began
    synchronize(on)
    both = time.perf_counter() - began
    assert number[0].item() == 100 + LAUNCHES
    return {"host_us": round(1e6 * host / LAUNCHES, 2), "device_us": round(1e6 * both / LAUNCHES, 2)}


def kernels(place: Path, quick: bool) -> dict:
    """Compares every Triton kernel with plain torch; the cases also compare two runs bit for bit.

    With ``quick`` only one file of cases runs: the interpreter is slow, and tests run all of them.

    Raises:
        SystemExit: A case fails.
    """
    device(quick)
    counts, failed = {}, {}
    pattern = "triton_random_cases.py" if quick else "triton*_cases.py"
    for path in sorted((REPOSITORY / "tests" / "kernels").glob(pattern)):
        command = [sys.executable, "-m", f"tests.kernels.{path.stem}", "cpu" if quick else "cuda"]
        variables = os.environ | {"TRITON_INTERPRET": "1" if quick else "0"}
        done = subprocess.run(command, env=variables, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        cases = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {path.stem: "ended with an error"}
        counts[path.stem] = len(cases)
        failed |= {f"{path.stem}: {name}": error for name, error in cases.items() if error}
    if failed:
        raise SystemExit(f"{len(failed)} of {sum(counts.values())} cases fail: {json.dumps(failed)[:400]}")
    return {"cases": sum(counts.values()), "failed": 0, "by_file": counts}
