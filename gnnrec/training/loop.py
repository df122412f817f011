"""The epochs of a run: steps, records, validation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import torch

from gnnrec.distributed.world import World
from gnnrec.evaluation.metrics import Metrics
from gnnrec.training.profiling import StepProfiler
from gnnrec.training.progress_bar import ProgressBar
from gnnrec.training.summary import memory_gib, prefixed
from gnnrec.training.throughput import ThroughputMeter
from gnnrec.training.tracking.tracker import Tracker
from gnnrec.training.train_state import EpochTotals, TrainState
from gnnrec.training.trainer import StepResult, Trainer
from gnnrec.utils.timer import Timer


@dataclasses.dataclass(frozen=True)
class EpochResult:
    """What an epoch did.

    Attributes:
        number: Epochs finished, this one included; 0 is the start, where it is worth something.
        loss: Mean loss of a target before each update, over all ranks.
        targets: Targets of all ranks.
        steps: Optimizer steps.
        seconds: Time of the steps.
        validation: Metrics on validation, where they were due and there are validation ratings.
    """

    number: int
    loss: float
    targets: int
    steps: int
    seconds: float
    validation: Metrics | None = None


def run_epochs(
    trainer: Trainer, tracker: Tracker, bar: ProgressBar, progress: TrainState, after_step: Callable[[], None]
) -> Iterator[EpochResult]:
    """Trains and validates, and yields after each epoch. It reads no test rating and keeps no checkpoint.

    Args:
        trainer: A trainer, fresh or restored; every rank calls this.
        tracker: Takes the records.
        bar: Shows the steps.
        progress: Where the run stands; kept up to date.
        after_step: Called after each step; it may end the run by raising, and so may ``World.check_stop`` in
            validation.
    """
    config, world = trainer.config, trainer.world
    if trainer.starts_fitted and not trainer.steps_taken:
        yield EpochResult(0, 0.0, 0, 0, 0.0, _validate(trainer, tracker, progress, -1, finished=True))
    with StepProfiler(config.run_dir / "profile", config.profile, world.rank, world.device) as profiler:
        for number in range(progress.epoch, config.optimizer.epochs):
            start = trainer.steps_taken - number * trainer.steps_an_epoch
            if start <= 0 and trainer.steps_taken >= trainer.total_steps:
                return
            epoch = _run_epoch(trainer, tracker, bar, profiler, progress, number, start, after_step)
            finished = trainer.steps_taken >= trainer.total_steps
            validation = _validate(trainer, tracker, progress, number, finished)
            progress.finish_epoch(world)
            yield dataclasses.replace(epoch, validation=validation)


def _validate(trainer: Trainer, tracker: Tracker, progress: TrainState, number: int, finished: bool) -> Metrics | None:
    """Metrics on validation when they are due after epoch ``number``, and there are validation ratings."""
    config = trainer.config
    due = finished or (config.validate_every and (number + 1) % config.validate_every == 0)
    if config.refit or not due:
        return None
    evaluating = Timer()
    with evaluating:  # it ends with numbers on the host
        metrics = trainer.validate()
    progress.times.evaluation += evaluating.seconds
    if not metrics.count:
        return None
    progress.validation = metrics.figures()
    tracker.log(trainer.steps_taken, **prefixed("validation", metrics), evaluation_seconds=evaluating.seconds)
    return metrics


def _run_epoch(
    trainer: Trainer,
    tracker: Tracker,
    bar: ProgressBar,
    profiler: StepProfiler,
    progress: TrainState,
    number: int,
    start: int,
    after_step: Callable[[], None],
) -> EpochResult:
    world, sums, every = trainer.world, progress.sums, trainer.config.log_every
    throughput = ThroughputMeter(trainer, progress.times)
    for result in trainer.run_epoch(number, start):
        profiler.step()
        progress.validation = {}
        sums.loss += result.loss
        sums.targets += result.step.num_targets
        sums.recent_targets += result.step.num_targets
        recorded, values = {}, {}
        if result.number % every == 0:
            recorded = _recent(result, sums, world)
            sums.loss[1], sums.recent_targets = 0.0, 0
        sums.seconds += throughput.add(result)
        if recorded:
            lap = throughput.lap()
            tracker.log(
                result.number,
                epoch=number,
                **recorded,
                lr=result.lr,
                memory_gib=memory_gib(),
                **dataclasses.asdict(lap),
            )
            values = {"loss": f"{recorded['loss']:.4f}", "edges/s": f"{lap.edges_per_second:,.0f}"}
            values["step"] = f"{lap.step_seconds * 1e3:.0f} ms"
        bar.update(**values)
        after_step()
    loss = world.all_reduce_sum_(sums.loss[0].clone()).item() / max(sums.targets, 1)
    steps = min(trainer.steps_taken - number * trainer.steps_an_epoch, trainer.steps_an_epoch)
    return EpochResult(number + 1, loss, sums.targets, max(steps, 1), max(sums.seconds, 1e-9))


def _recent(result: StepResult, sums: EpochTotals, world: World) -> dict[str, float]:
    """Mean loss since the latest record, and the norms of the gradients of this step, over all ranks."""
    replicated, users = result.gradient
    summed = world.all_reduce_sum_(torch.stack([sums.loss[1], users]))
    loss, users, replicated = torch.cat([summed, replicated[None]]).tolist()
    norms = {"gradient_norm": math.sqrt(replicated), "user_gradient_norm": math.sqrt(users)}
    return {"loss": loss / max(sums.recent_targets, 1), **norms}
