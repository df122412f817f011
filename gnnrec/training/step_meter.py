"""Measures steps: loss, throughput, and the parts of their time."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gnnrec.distributed.collectives import CollectiveStats
from gnnrec.distributed.world import World
from gnnrec.training.finite import NotFinite
from gnnrec.training.train_state import TrainState
from gnnrec.utils.memory import memory_gib
from gnnrec.utils.timer import Timer

if TYPE_CHECKING:
    from gnnrec.graph.folds import Step
    from gnnrec.training.tracking.tracker import Tracker
    from gnnrec.training.trainer import OptimizerUpdate


@contextlib.contextmanager
def making_batch(stats: CollectiveStats, timer: Timer) -> Iterator[None]:
    """Times the making of a batch; its all-reduces count as those of batches (``batch_seconds``)."""
    stats.in_batch = True
    try:
        with timer:
            yield
    finally:
        stats.in_batch = False


@dataclasses.dataclass(frozen=True)
class StepMetrics:
    """Throughput of the steps since the last record. Seconds are means per step.

    Attributes:
        edges_per_second: Supervised edges over all ranks.
        step_seconds: Time of a step, and of checkpoints between steps.
        sampling_seconds: The part of :attr:`TimeTotals.sampling`.
        compute_seconds: The part of :attr:`TimeTotals.compute`.
        collective_seconds: The part of :attr:`TimeTotals.communication`.
        checkpoint_seconds: The part of :attr:`TimeTotals.checkpoints`.
        collective_mib: MiB that this rank passed to all-reduces per step.
    """

    edges_per_second: float
    step_seconds: float
    sampling_seconds: float
    compute_seconds: float
    collective_seconds: float
    checkpoint_seconds: float
    collective_mib: float


class StepMeter:
    """Adds up the steps of one epoch and logs a record every few steps.

    Args:
        world: The ranks; every rank makes the same calls.
        batch_timer: Times the making of batches over the whole run.
        state: Receives the sums and the times.
        log_every: Steps between records.
    """

    def __init__(self, world: World, batch_timer: Timer, state: TrainState, log_every: int) -> None:
        self.world, self.batch_timer, self.state, self.log_every = world, batch_timer, state, log_every
        self._marks = self._read_clocks()
        self._start_record()

    def add(self, step: Step, loss: Tensor) -> None:
        """Adds a step that was taken.

        Args:
            step: The step.
            loss: Loss summed over this rank's targets, a scalar tensor; the host does not wait for it.
        """
        self.state.validation = {}
        totals = self.state.totals
        totals.loss += loss
        totals.targets += step.num_targets
        totals.recent_targets += step.num_targets

    def log_if_due(self, tracker: Tracker, step: Step, update: OptimizerUpdate) -> dict[str, str]:
        """Logs a record every ``log_every`` steps, and adds the time of the step to the totals.

        Returns:
            The values that a progress bar shows; empty where nothing was logged.

        Raises:
            NotFinite: A loss or gradient since the last record is not finite.
        """
        due = update.number % self.log_every == 0
        values = self._recent_loss_and_norms(update) if due else {}
        self._add_times(step)
        if not due:
            return {}
        metrics = self._finish_record()
        tracker.log(
            update.number,
            epoch=step.epoch,
            **values,
            lr=update.lr,
            memory_gib=memory_gib(),
            **dataclasses.asdict(metrics),
        )
        return {
            "loss": f"{values['loss']:.4f}",
            "edges/s": f"{metrics.edges_per_second:,.0f}",
            "step": f"{metrics.step_seconds * 1e3:.0f} ms",
        }

    def epoch_totals(self) -> tuple[float, int]:
        """Mean loss per target and number of targets, over all ranks.

        Raises:
            NotFinite: The loss is not finite.
        """
        totals = self.state.totals
        loss = self.world.all_reduce_sum_(totals.loss[0].clone()).item()
        if not math.isfinite(loss):
            raise NotFinite(f"the loss of epoch {self.state.epoch + 1} is not finite")
        return loss / max(totals.targets, 1), totals.targets

    def _recent_loss_and_norms(self, update: OptimizerUpdate) -> dict[str, float]:
        """Mean loss since the last record, and the gradient norms of this step, over all ranks."""
        totals = self.state.totals
        replicated, users = update.squared_gradient_norms
        summed = self.world.all_reduce_sum_(torch.stack([totals.loss[1], users]))
        own = torch.stack([replicated, update.skipped.to(replicated)])
        loss, users, replicated, skipped = torch.cat([summed, own]).tolist()
        if skipped or not math.isfinite(loss):
            raise NotFinite(f"a loss or its gradient is not finite in a step up to {update.number}")
        mean = loss / max(totals.recent_targets, 1)
        totals.loss[1], totals.recent_targets = 0.0, 0
        return {"loss": mean, "gradient_norm": math.sqrt(replicated), "user_gradient_norm": math.sqrt(users)}

    def _add_times(self, step: Step) -> None:
        """Splits the time since the last call, the gap between two steps included, into its parts."""
        self._targets += step.num_targets
        self._steps += 1
        marks, times = self._read_clocks(), self.state.times
        whole, sampling, communication, checkpoints = (now - before for now, before in zip(marks, self._marks))
        self._marks = marks
        times.sampling += sampling
        times.communication += communication
        times.compute += whole - sampling - communication - checkpoints
        self.state.totals.seconds += whole

    def _read_clocks(self) -> tuple[float, float, float, float]:
        """The time, and seconds since the start in sampling without its all-reduces, all-reduces and checkpoints."""
        stats, sampling = self.world.collective_stats, self.batch_timer.seconds
        return time.perf_counter(), sampling - stats.batch_seconds, stats.seconds, self.state.times.checkpoints

    def _start_record(self) -> None:
        self._since, self._targets, self._steps = time.perf_counter(), 0, 0
        self._times_before = dataclasses.replace(self.state.times)
        self._bytes_before = self.world.collective_stats.bytes

    def _finish_record(self) -> StepMetrics:
        elapsed, steps = max(time.perf_counter() - self._since, 1e-9), max(self._steps, 1)
        times, before = self.state.times, self._times_before
        metrics = StepMetrics(
            edges_per_second=self._targets / elapsed,
            step_seconds=elapsed / steps,
            sampling_seconds=(times.sampling - before.sampling) / steps,
            compute_seconds=(times.compute - before.compute) / steps,
            collective_seconds=(times.communication - before.communication) / steps,
            checkpoint_seconds=(times.checkpoints - before.checkpoints) / steps,
            collective_mib=(self.world.collective_stats.bytes - self._bytes_before) / steps / 2**20,
        )
        self._start_record()
        return metrics
