"""How fast training goes and what it spends its time on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gnnrec.distributed.collectives import CollectiveStats
from gnnrec.utils.timer import Timer

if TYPE_CHECKING:
    from gnnrec.training.trainer import StepResult, Trainer


class TimedBatches(Iterator):
    """Batches, while the making of each is timed. None is held here: its memory is its receiver's to give back.

    Args:
        batches: What makes them.
        timer: TimeTotals it.
        traffic: Learns that all-reduces belong to it.
    """

    def __init__(self, batches: Iterable, timer: Timer, traffic: CollectiveStats):
        self._batches, self._timer, self._collective_stats = iter(batches), timer, traffic

    def __next__(self) -> Any:
        self._collective_stats.in_batch = True
        try:
            with self._timer:
                return next(self._batches)
        finally:
            self._collective_stats.in_batch = False


@dataclasses.dataclass
class TimeTotals:
    """Seconds of this rank. On GPUs, sampling and communication are those of the GPU.

    Attributes:
        sampling: Making batches: statistics of a pass, draws of neighbours, targets; without its all-reduces.
        compute: What is left of the steps: forward, backward, update.
        communication: In all-reduces of steps, waiting for other ranks included.
        evaluation: Validation, and the scores of the summary.
        checkpoints: What training waited for checkpoints; they are written beside it.
        baselines: Fitting the simple models of the summary.
    """

    sampling: float = 0.0
    compute: float = 0.0
    communication: float = 0.0
    evaluation: float = 0.0
    checkpoints: float = 0.0
    baselines: float = 0.0


@dataclasses.dataclass(frozen=True)
class StepMetrics:
    """Some steps, in figures. Seconds are means a step.

    Attributes:
        edges_per_second: Supervised edges over all ranks.
        step_seconds: Time of a step, and of checkpoints between steps.
        sampling_seconds: Of that, :attr:`TimeTotals.sampling`.
        compute_seconds: :attr:`TimeTotals.compute`.
        collective_seconds: :attr:`TimeTotals.communication`.
        checkpoint_seconds: :attr:`TimeTotals.checkpoints`.
        collective_mib: MiB that this rank handed to all-reduces in a step.
    """

    edges_per_second: float
    step_seconds: float
    sampling_seconds: float
    compute_seconds: float
    collective_seconds: float
    checkpoint_seconds: float
    collective_mib: float


class ThroughputMeter:
    """Targets, steps and times since the last call.

    Args:
        trainer: Whose steps they are.
        times: Where they are added up.
    """

    def __init__(self, trainer: Trainer, times: TimeTotals) -> None:
        self.trainer, self.times = trainer, times
        self._marks = self._read()
        self._start()

    def _start(self) -> None:
        self.since, self.targets, self.steps = time.perf_counter(), 0, 0
        self.spent, self.bytes = dataclasses.replace(self.times), self.trainer.world.collective_stats.bytes

    def _read(self) -> tuple[float, float, float, float]:
        """Now; sampling without its all-reduces; all-reduces; checkpoints: each since the start."""
        traffic, sampling = self.trainer.world.collective_stats, self.trainer.batch_timer.seconds
        return time.perf_counter(), sampling - traffic.batch_seconds, traffic.seconds, self.times.checkpoints

    def add(self, result: StepResult) -> float:
        """Counts a step; returns its seconds, with what came between it and the one before."""
        self.targets += result.step.num_targets
        self.steps += 1
        marks = self._read()
        whole, sampling, communication, checkpoints = (now - before for now, before in zip(marks, self._marks))
        self._marks = marks
        self.times.sampling += sampling
        self.times.communication += communication
        self.times.compute += whole - sampling - communication - checkpoints
        return whole

    def lap(self) -> StepMetrics:
        """Figures since the last call; starts anew."""
        elapsed, steps = max(time.perf_counter() - self.since, 1e-9), max(self.steps, 1)
        times, before = self.times, self.spent
        lap = StepMetrics(
            edges_per_second=self.targets / elapsed,
            step_seconds=elapsed / steps,
            sampling_seconds=(times.sampling - before.sampling) / steps,
            compute_seconds=(times.compute - before.compute) / steps,
            collective_seconds=(times.communication - before.communication) / steps,
            checkpoint_seconds=(times.checkpoints - before.checkpoints) / steps,
            collective_mib=(self.trainer.world.collective_stats.bytes - self.bytes) / steps / 2**20,
        )
        self._start()
        return lap
