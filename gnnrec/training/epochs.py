"""The epochs of a run: steps, records, validation."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

from gnnrec.evaluation.metrics import Metrics
from gnnrec.training.profiling import StepProfiler
from gnnrec.training.progress import Progress
from gnnrec.training.summary import memory_gib, prefixed
from gnnrec.training.tracking import ProgressBar, Tracker
from gnnrec.training.trainer import Throughput, Trainer


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
    trainer: Trainer, tracker: Tracker, bar: ProgressBar, progress: Progress, after_step: Callable[[], None]
) -> Iterator[EpochResult]:
    """Trains and validates, and yields after each epoch. It reads no test rating and keeps no checkpoint.

    Args:
        trainer: A trainer, fresh or restored; every rank calls this.
        tracker: Takes the records.
        bar: Shows the steps.
        progress: Where the run stands; kept up to date.
        after_step: Called after each step; it may end the run by raising, and so may ``World.poll`` in validation.
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


def _validate(trainer: Trainer, tracker: Tracker, progress: Progress, number: int, finished: bool) -> Metrics | None:
    """Metrics on validation when they are due after epoch ``number``, and there are validation ratings."""
    config = trainer.config
    due = finished or (config.validate_every and (number + 1) % config.validate_every == 0)
    if config.refit or not due:
        return None
    metrics = trainer.validate()
    if not metrics.count:
        return None
    progress.validation = metrics.figures()
    tracker.log(trainer.steps_taken, **prefixed("validation", metrics))
    return metrics


def _run_epoch(
    trainer: Trainer,
    tracker: Tracker,
    bar: ProgressBar,
    profiler: StepProfiler,
    progress: Progress,
    number: int,
    start: int,
    after_step: Callable[[], None],
) -> EpochResult:
    world, sums, every = trainer.world, progress.sums, trainer.config.log_every
    throughput = Throughput(world)
    clock, waited = time.perf_counter(), world.traffic.seconds
    for result in trainer.run_epoch(number, start):
        profiler.step()
        progress.validation = {}
        sums.loss += result.loss
        sums.targets += result.step.num_targets
        sums.recent_targets += result.step.num_targets
        throughput.add(result)
        values = {}
        if result.number % every == 0:
            loss = world.sum_(sums.loss[1].clone()).item() / max(sums.recent_targets, 1)
            lap = throughput.lap()
            tracker.log(
                result.number,
                epoch=number,
                loss=loss,
                lr=result.lr,
                memory_gib=memory_gib(),
                **dataclasses.asdict(lap),
            )
            values = {"loss": f"{loss:.4f}", "edges/s": f"{lap.edges_per_second:,.0f}"}
            values["step"] = f"{lap.step_seconds * 1e3:.0f} ms"
            sums.loss[1], sums.recent_targets = 0.0, 0
        bar.update(**values)
        now = time.perf_counter()
        sums.seconds += now - clock
        sums.collective_seconds += world.traffic.seconds - waited
        clock, waited = now, world.traffic.seconds
        after_step()
    loss = world.sum_(sums.loss[0].clone()).item() / max(sums.targets, 1)
    steps = min(trainer.steps_taken - number * trainer.steps_an_epoch, trainer.steps_an_epoch)
    return EpochResult(number + 1, loss, sums.targets, max(steps, 1), max(sums.seconds, 1e-9))
