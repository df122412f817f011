"""A whole training run: its directory, epochs, checkpoints, records and summary."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.health.monitor import register_abort_hook
from gnnrec.distributed.process_group import is_of_backend
from gnnrec.distributed.world import World
from gnnrec.errors import Stopped
from gnnrec.evaluation.metrics import Metrics
from gnnrec.training.check_device import check_device
from gnnrec.training.checkpoint.info import USE_ANOTHER, CheckpointInfo, checkpoints, read_info
from gnnrec.training.checkpoint.manager import CheckpointManager
from gnnrec.training.checkpoint.read import find_damage
from gnnrec.training.checkpoint.write import remove_checkpoint
from gnnrec.training.continue_from import continue_from
from gnnrec.training.finite import NotFinite
from gnnrec.training.go_back import go_back, keep_best, lr_scale
from gnnrec.training.kept_rows import KeptRows
from gnnrec.training.loop import EpochResult, run_loop
from gnnrec.training.progress_bar import ProgressBar
from gnnrec.training.ranking.trainer import RankingTrainer
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.training.resolve_config import log_objective, resolve_config, with_objective
from gnnrec.training.row_rates import RowRates
from gnnrec.training.run_directory import (
    finished_summary,
    note_stop,
    open_run_directory,
    remove_replaced,
    restore_replaced,
)
from gnnrec.training.run_lock import RunLock
from gnnrec.training.summary import NO_TEST, describe, stopped_early, summarize
from gnnrec.training.tracking.artifacts import dataset_artifact
from gnnrec.training.tracking.tracker import Tracker
from gnnrec.training.train_state import TrainState
from gnnrec.training.trainer import Trainer
from gnnrec.utils import memory

#: Called after every validation with the epochs finished and the metrics; it may end the run by raising.
OnValidation = Callable[[int, Metrics], None]


def train(config: TrainConfig, world: World, on_validation: OnValidation | None = None) -> dict:
    """Trains, validates, saves checkpoints and writes a summary; resumes a run that was interrupted.

    Args:
        config: The configuration.
        world: The ranks; every rank calls this.
        on_validation: Called on every rank after each validation.

    Returns:
        The contents of ``summary.json``.

    Raises:
        UserError: Bad input.
        Stopped: A rank was asked to stop, and the run is saved.
    """
    world.stop.limit(config.max_minutes)
    check_device(config, world.device)
    dataset = PreparedDataset(config.data)
    given, config = config, resolve_config(config, dataset, world)
    summary = finished_summary(config, dataset, world)
    if summary is not None:
        world.log(f"{config.run_dir} finished at step {summary['steps']}: nothing left to do")
        return summary
    checkpoint, run_lock = open_run_directory(config, dataset, world)
    log_objective(given, dataset, world)
    try:
        return _run(config, dataset, world, checkpoint, run_lock, on_validation)
    except Stopped as stopped:
        reason = str(stopped)
    except Exception:
        if world.is_main:
            restore_replaced(config.run_dir)
        raise
    finally:
        run_lock.release()
    raise Stopped(world.run_on_rank0(lambda: note_stop(config.run_dir, reason)))


def _run(
    config: TrainConfig,
    dataset: PreparedDataset,
    world: World,
    checkpoint: Path | None,
    run_lock: RunLock,
    on_validation: OnValidation | None,
) -> dict:
    """Runs from the start or a checkpoint to the summary, and goes back to a checkpoint where it has to."""
    returns: list[dict] = read_info(checkpoint).train_state.get("returns", []) if checkpoint else []
    wandb_run, came_back = None, False
    while True:
        trainer, state = _restored(config, dataset, world, checkpoint, returns, came_back)
        state.wandb_run = state.wandb_run or wandb_run
        try:
            return _run_once(trainer, state, run_lock, on_validation, came_back)
        except NotFinite as error:
            problem, wandb_run = str(error), state.wandb_run
        del trainer, state  # its memory is needed for the next one
        checkpoint, came_back = go_back(config, world, problem, returns), True


def _restored(
    config: TrainConfig, dataset: PreparedDataset, world: World, checkpoint: Path | None, returns: list, came_back: bool
) -> tuple[Trainer, TrainState]:
    """A trainer and the state of the run, from a checkpoint or from the start."""
    info = read_info(checkpoint) if checkpoint else None
    trainer = build_trainer(config, dataset, world, info)
    state = TrainState.start(world)
    if checkpoint is not None and info is not None:
        trainer.restore(checkpoint, info)
        state = TrainState.from_dict(info.train_state, world, checkpoint)
        world.log(f"resumed at step {info.step} of {config.run_dir}")
        _replace_lost_best(config.run_dir, state, world)
    elif config.init_from is not None:
        continue_from(trainer, config.init_from)
    if config.init_from is not None and (rows := KeptRows.read(config.run_dir)).counts:
        trainer.row_rates = RowRates(trainer.replicated, trainer.users, trainer.part, rows)
    state.returns, trainer.lr_scale = returns, lr_scale(returns)
    if came_back:
        keep_best(config.run_dir, state, trainer.steps_taken, world)
    return trainer, state


def _run_once(
    trainer: Trainer, state: TrainState, run_lock: RunLock, on_validation: OnValidation | None, came_back: bool
) -> dict:
    """Runs from the current step to the summary.

    Raises:
        NotFinite: A number is not finite: the run has to go back.
    """
    config, dataset, world = trainer.config, trainer.dataset, trainer.world
    for line in trainer.partition_report().lines():
        world.log(line)
    if config.refit == "all":
        world.log(f"there will be no test metrics: {NO_TEST}")
    recorded = state.recorded_bytes, state.unrecorded
    facts = config.as_dict() | describe(trainer)
    tracker = Tracker(
        config.run_dir,
        config.wandb,
        facts,
        world.is_main,
        *recorded,
        state.wandb_run,
        config.tensorboard,
        config.mlflow,
    )
    state.wandb_run = tracker.wandb_run
    register_abort_hook(tracker.alert)
    try:
        tracker.use_artifact(lambda: dataset_artifact(dataset))
        memory.keep_freed()
        if came_back:
            tracker.log(trainer.steps_taken, returns=len(state.returns), lr_scale=trainer.lr_scale)
        _train_and_save(trainer, tracker, state, run_lock, on_validation, came_back)
        summary = summarize(trainer, tracker, state, run_lock)
    except BaseException as problem:
        if not is_of_backend(problem):  # lost ranks are reported when this process leaves the process group
            tracker.close(problem)
        raise
    tracker.close()
    return summary


def _replace_lost_best(run: Path, state: TrainState, world: World) -> None:
    """Notices best weights that are damaged or missing: the best ones from now on are kept instead."""
    if state.best is None:
        return
    best = world.run_on_rank0(lambda: checkpoints(run, "best"))
    damage = find_damage(best[0], world, finite=True) if best else f"{run} has no best checkpoint any more"
    if damage is None:
        return
    damage = damage.removesuffix(f": {USE_ANOTHER}")
    world.warn(f"{damage}: the best weights will be those of the epochs that are left, or else the last ones")
    state.best, state.untrained, state.validations_since_best, state.lost_best = None, None, 0, damage

    def remove() -> None:
        for directory in best:
            remove_checkpoint(directory)

    world.run_on_rank0(remove)


def build_trainer(
    config: TrainConfig, dataset: PreparedDataset, world: World, info: CheckpointInfo | None = None
) -> Trainer:
    """The trainer of the configured objective; ``info`` is the checkpoint that it will be restored from."""
    config = with_objective(config, dataset)
    world.collective_stats.wire = torch.bfloat16 if config.wire == "bf16" else None
    if config.objective == "ranking":
        return RankingTrainer(config, dataset, world, info.chosen if info else None)
    return RatingTrainer(config, dataset, world)


def _train_and_save(
    trainer: Trainer,
    tracker: Tracker,
    state: TrainState,
    run_lock: RunLock,
    on_validation: OnValidation | None,
    came_back: bool,
) -> None:
    """Trains all epochs and saves checkpoints."""
    checkpoints = CheckpointManager(trainer, tracker, state, run_lock)
    if came_back:
        checkpoints.save_step()  # with the return, so that a resumed run knows of it
    bar = ProgressBar(trainer.total_steps, trainer.world.is_main, trainer.steps_taken)
    began, steps_before = time.perf_counter(), trainer.steps_taken

    def after_epoch(epoch: EpochResult) -> None:
        checkpoints.after_epoch(epoch.validation)
        if epoch.number:
            seconds_per_step = (time.perf_counter() - began) / max(trainer.steps_taken - steps_before, 1)
            left = seconds_per_step * (trainer.total_steps - trainer.steps_taken)
            bar.write_line(_line(epoch, trainer.config.optimizer.epochs, left))
        if epoch.validation is not None and on_validation is not None:
            on_validation(epoch.number, epoch.validation)

    def after_step() -> None:
        if trainer.steps_taken == steps_before + 1 and trainer.world.is_main:
            remove_replaced(trainer.config.run_dir)
        checkpoints.after_step()

    try:
        run_loop(trainer, tracker, bar, state, after_step, after_epoch)
        _end(trainer, state, checkpoints)
    except Stopped:
        checkpoints.stop()
        raise
    except NotFinite:
        checkpoints.abandon()
        raise
    finally:
        bar.close()


def _end(trainer: Trainer, state: TrainState, checkpoints: CheckpointManager) -> None:
    """Saves the last step of a run."""
    if stopped_early(trainer, state):
        trainer.world.log(
            f"stopped early after {state.epoch} of {trainer.config.optimizer.epochs} epochs: the last "
            f"{state.validations_since_best} validations are not better than the best one (--optimizer.patience)"
        )
    if trainer.world.is_main:
        remove_replaced(trainer.config.run_dir)
    checkpoints.end()


def _line(epoch: EpochResult, epochs: int, seconds_left: float) -> str:
    minutes, seconds = divmod(round(seconds_left), 60)
    text = (
        f"epoch {epoch.number}/{epochs}  loss {epoch.loss:.4f}  "
        f"{epoch.targets / epoch.seconds:,.0f} edges/s  {1e3 * epoch.seconds / epoch.steps:,.0f} ms/step  "
        f"{memory.memory_gib():.2f} GiB  {minutes // 60}:{minutes % 60:02}:{seconds:02} left"
    )
    return text + (f"  validation {epoch.validation.headline}" if epoch.validation else "")
