"""A profile of some steps of a run: a trace for chrome://tracing or Perfetto, and a table."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from gnnrec.utils import files

#: Steps before the profile, which compile and allocate.
SKIPPED = 3
#: Rows of the table.
ROWS = 100


class StepProfiler(contextlib.AbstractContextManager):
    """Profiles steps after the first ones of a run; does nothing for 0 steps.

    Args:
        directory: Directory for ``trace-RANK.json`` and ``table-RANK.txt``.
        steps: Steps to profile.
        rank: This rank.
        device: Device of this rank.
    """

    def __init__(self, directory: Path, steps: int, rank: int, device: torch.device):
        self.directory, self.rank, self.device = directory, rank, device
        self.profile = None
        if steps:
            activities = [ProfilerActivity.CPU]
            if device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self.profile = profile(
                activities=activities,
                schedule=schedule(wait=SKIPPED - 1, warmup=1, active=steps, repeat=1),
                on_trace_ready=self._write,
            )

    def __enter__(self) -> StepProfiler:
        if self.profile is not None:
            self.profile.start()
        return self

    def __exit__(self, *problem: Any) -> None:
        if self.profile is not None:
            self.profile.stop()
            self.profile = None

    def step(self) -> None:
        """Marks the end of a step."""
        if self.profile is not None:
            self.profile.step()

    def _write(self, done: profile) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        done.export_chrome_trace(str(self.directory / f"trace-{self.rank}.json"))
        order = "self_cuda_time_total" if self.device.type == "cuda" else "self_cpu_time_total"
        table = done.key_averages().table(sort_by=order, row_limit=ROWS, max_name_column_width=60)
        files.write_text(self.directory / f"table-{self.rank}.txt", table + "\n")
