"""The training loop: every epoch and every step of a run, in the order in which they happen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from gnnrec.evaluation.metrics import Metrics, prefixed
from gnnrec.training.profiling import StepProfiler
from gnnrec.training.progress_bar import ProgressBar
from gnnrec.training.step_meter import StepMeter, making_batch
from gnnrec.training.tracking.tracker import Tracker
from gnnrec.training.train_state import TrainState
from gnnrec.training.trainer import Trainer
from gnnrec.utils.timer import Timer


@dataclasses.dataclass(frozen=True)
class EpochResult:
    """The outcome of an epoch.

    Attributes:
        number: Epochs finished, this one included; 0 for a model that is fitted before its first step.
        loss: Mean loss of a target before each update, over all ranks.
        targets: Targets of all ranks.
        steps: Optimizer steps.
        seconds: Time of the steps.
        validation: Validation metrics; None in epochs without validation and for data without validation ratings.
    """

    number: int
    loss: float
    targets: int
    steps: int
    seconds: float
    validation: Metrics | None = None


def run_loop(
    trainer: Trainer,
    tracker: Tracker,
    bar: ProgressBar,
    state: TrainState,
    after_step: Callable[[], None],
    after_epoch: Callable[[EpochResult], None],
) -> None:
    """Trains from the position in ``state`` to the last epoch, or until validation runs out of patience.

    Test ratings are never read.

    Args:
        trainer: A trainer, fresh or restored; every rank calls this.
        tracker: Logs the records.
        bar: Shows the steps.
        state: Position and totals of the run; updated in place.
        after_step: Called after each step, on every rank; it saves checkpoints and may end the run by raising.
        after_epoch: Called after each epoch and its validation, on every rank; it may end the run by raising.
    """
    config, world = trainer.config, trainer.world
    if trainer.starts_fitted and not trainer.steps_taken:
        after_epoch(EpochResult(0, 0.0, 0, 0, 0.0, validate(trainer, tracker, state)))
    with StepProfiler(config.run_dir / "profile", config.profile, world.rank, world.device) as profiler:
        for epoch in range(state.epoch, config.optimizer.epochs):
            first = trainer.steps_taken - epoch * trainer.steps_an_epoch
            last = min(trainer.steps_an_epoch, trainer.total_steps - epoch * trainer.steps_an_epoch)
            if last <= 0 or state.out_of_patience(config.optimizer.patience):  # --max-steps ended the epoch before
                return
            meter = StepMeter(world, trainer.batch_timer, state, config.log_every)
            for index in range(first, last):
                with making_batch(world.collective_stats, trainer.batch_timer):
                    step, batch = trainer.make_batch(epoch, index)
                loss = trainer.forward_backward(step, batch)
                del batch  # frees its messages before those of the next pass are made
                update = trainer.optimizer_step()
                meter.add(step, loss)
                bar.set_postfix(meter.log_if_due(tracker, step, update), refresh=False)
                bar.update()
                after_step()
                profiler.step()
            result = EpochResult(epoch + 1, *meter.epoch_totals(), last, max(state.totals.seconds, 1e-9))
            if config.validate_every and (epoch + 1) % config.validate_every == 0 or trainer.finished:
                result = dataclasses.replace(result, validation=validate(trainer, tracker, state))
            state.finish_epoch(world)
            after_epoch(result)


def validate(trainer: Trainer, tracker: Tracker, state: TrainState) -> Metrics | None:
    """Computes and logs validation metrics; None if the run trains on validation or has no validation ratings."""
    if trainer.config.refit:
        return None
    timer = Timer()
    with timer:  # the metrics are on the host, so the GPU has finished
        metrics = trainer.validate()
    state.times.evaluation += timer.seconds
    if not metrics.count:
        return None
    state.validation = metrics.figures()
    tracker.log(trainer.steps_taken, **prefixed("validation", metrics), evaluation_seconds=timer.seconds)
    return metrics
