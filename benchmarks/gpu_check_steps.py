"""Parts of ``benchmarks.gpu_check`` that take training steps: their time, waits of the host, kernels and memory."""

from __future__ import annotations

import collections
import contextlib
import itertools
import statistics
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_check_device import device, synchronize
from benchmarks.steps import StepTaken, run_epoch
from gnnrec.config.train_config import parse_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.training.trainer import Trainer

#: Steps that compile and allocate, that are timed, whose waits are counted, and that are profiled.
WARM_UP, TIMED, WATCHED, PROFILED = 10, 60, 5, 3
#: The same with ``--quick``.
QUICK = (1, 3, 1, 1)


def full_float32(place: Path, quick: bool) -> dict:
    """Whole neighborhoods in float32."""
    return _steps(place, quick, "ml20m_full", "--bf16=false")


def full_bf16(place: Path, quick: bool) -> dict:
    """Whole neighborhoods with matrix products in bfloat16."""
    return _steps(place, quick, "ml20m_full", "--bf16=true")


def sage(place: Path, quick: bool) -> dict:
    """Sampled neighborhoods."""
    return _steps(place, quick, "ml20m_sage")


def gat(place: Path, quick: bool) -> dict:
    """Sampled neighborhoods with attention."""
    return _steps(place, quick, "ml20m_gat")


def _steps(place: Path, quick: bool, name: str, *options: str) -> dict:
    words = [f"--config=configs/{name}.yaml", f"--data={place / 'data'}", "--run-dir=unused", "--log-every=1000000"]
    if quick:
        words += ["--model.dim=8", "--loader.folds=8"]
    config = parse_train_config([*words, *options])
    with _device(quick) as on:
        trainer = RatingTrainer(config, PreparedDataset(config.data), World(device=on))
        return measure(trainer, *(QUICK if quick else (WARM_UP, TIMED, WATCHED, PROFILED)))


@contextlib.contextmanager
def _device(quick: bool) -> Iterator[torch.device]:
    if not quick:
        yield device(quick)
        return
    from tests.pretend_gpu.device import pretend_gpu

    with pretend_gpu() as on:
        yield on


def measure(trainer: Trainer, warm_up: int, timed: int, watched: int, profiled: int) -> dict:
    """Takes steps one after another, and measures them in turns.

    Args:
        trainer: A fresh trainer.
        warm_up: Steps that are not measured.
        timed: Steps that are timed.
        watched: Steps whose waits are counted by line.
        profiled: Steps whose kernels are counted and timed by the profiler.
    """
    on, steps = trainer.world.device, _all_steps(trainer)
    _take(steps, warm_up)
    synchronize(on)
    began = time.perf_counter()
    taken = _take(steps, timed)
    host = time.perf_counter() - began
    synchronize(on)
    seconds = time.perf_counter() - began
    losses = [step.loss.item() / step.step.num_targets for step in taken]
    waits = _waits(steps, on, watched)
    return {
        "ms_a_step": round(1e3 * seconds / timed, 3),
        "host_ms_a_step": round(1e3 * host / timed, 3),
        "million_targets_a_second": round(sum(step.step.num_targets for step in taken) / seconds / 1e6, 3),
        "waits_a_step": round(sum(waits.values()) / watched, 2),
        **_profile(steps, on, profiled),
        "peak_gb": round(torch.cuda.max_memory_allocated(on) / 1e9, 2) if on.type == "cuda" else 0.0,
        "first_loss": round(losses[0], 6),
        "last_loss": round(statistics.fmean(losses[-10:]), 6),
        "waits_by_line": dict(waits.most_common(20)),
    }


def _all_steps(trainer: Trainer) -> Iterator[StepTaken]:
    for epoch in itertools.count():
        if trainer.finished:
            return
        yield from run_epoch(trainer, epoch)


def _take(steps: Iterator[StepTaken], number: int) -> list[StepTaken]:
    return list(itertools.islice(steps, number))


def _waits(steps: Iterator[StepTaken], on: torch.device, number: int) -> collections.Counter:
    """Waits of the host by line: CUDA warns of them, and the pretend GPU counts them."""
    if on.type != "cuda":
        from tests.pretend_gpu.device import counting

        with counting() as counts:
            _take(steps, number)
        return counts.waits
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _take(steps, number)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    lines = [f"{'/'.join(Path(warning.filename).parts[-2:])}:{warning.lineno}" for warning in caught]
    return collections.Counter(lines)


def _profile(steps: Iterator[StepTaken], on: torch.device, number: int) -> dict:
    """Kernels of a step, their time, and those that take longest."""
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if on.type == "cuda" else [ProfilerActivity.CPU]
    with profile(activities=activities) as done:
        _take(steps, number)
        synchronize(on)
    kernels = [event for event in done.key_averages() if event.device_type == DeviceType.CUDA]
    kernels.sort(key=lambda event: -event.self_device_time_total)
    return {
        "kernels_a_step": round(sum(event.count for event in kernels) / number, 1),
        "kernel_ms_a_step": round(sum(event.self_device_time_total for event in kernels) / number / 1e3, 3),
        "longest_kernels_ms": {
            event.key[:80]: round(event.self_device_time_total / number / 1e3, 3) for event in kernels[:12]
        },
    }
