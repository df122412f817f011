"""A whole training run: epochs, validation, checkpoints, records, summary."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator

import torch

from gnnrec import files, memory
from gnnrec.config import TrainConfig
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed import World
from gnnrec.errors import UserError
from gnnrec.evaluation.metrics import Metrics
from gnnrec.training.checkpoint import CheckpointInfo, save_checkpoint
from gnnrec.training.objective import settle
from gnnrec.training.profiling import StepProfiler
from gnnrec.training.ranking_trainer import RankingTrainer
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.training.summary import Spent, memory_gib, peak_memory_gib, prefixed, summarise
from gnnrec.training.tracking import ProgressBar, Tracker
from gnnrec.training.trainer import Throughput, Trainer

#: Told of every validation: epochs finished, and the metrics. It may end the run by raising.
OnValidation = Callable[[int, Metrics], None]


def train(config: TrainConfig, world: World, on_validation: OnValidation | None = None) -> dict:
    """Trains, validates, keeps the best and the last checkpoint, and leaves a summary.

    Args:
        config: The configuration.
        world: The ranks; every rank calls this.
        on_validation: Called on every rank after each validation.

    Returns:
        The contents of ``summary.json``.
    """
    dataset = PreparedDataset(config.data)
    config = settle(config, dataset, world)
    prepare_run_directory(config, world)
    trainer = build_trainer(config, dataset, world)
    for line in trainer.partition_report().lines():
        world.print(line)
    tracker = Tracker(config.run_dir, config.wandb, config.as_dict(), world.is_main)
    try:
        memory.keep_freed()
        summary = _fit(trainer, tracker, on_validation)
        tracker.summary(summary)
    except BaseException:
        tracker.close(exit_code=1)
        raise
    tracker.close()
    return summary


def build_trainer(config: TrainConfig, dataset: PreparedDataset, world: World) -> Trainer:
    """The trainer of the configured objective."""
    if config.objective == "ranking":
        return RankingTrainer(config, dataset, world)
    return RatingTrainer(config, dataset, world)


def prepare_run_directory(config: TrainConfig, world: World) -> None:
    """Makes the run directory with the resolved configuration, on rank 0; every rank learns of a failure."""
    problem = None
    if world.is_main:
        try:
            if config.run_dir.exists() and any(config.run_dir.iterdir()):
                if not config.overwrite:
                    raise UserError(
                        f"{config.run_dir} holds a run already: choose another --run-dir or pass --overwrite"
                    )
                if not (config.run_dir / "config.yaml").exists():
                    raise UserError(f"{config.run_dir} is not a run directory, so --overwrite leaves it alone")
                shutil.rmtree(config.run_dir)
            config.run_dir.mkdir(parents=True, exist_ok=True)
            files.write_text(config.run_dir / "config.yaml", config.yaml())
        except UserError as error:
            problem = str(error)
        except OSError as error:
            problem = f"--run-dir {config.run_dir}: cannot write there ({error.strerror}): choose another directory"
    problem = world.broadcast_object(problem)
    if problem:
        raise UserError(problem)


def _fit(trainer: Trainer, tracker: Tracker, on_validation: OnValidation | None) -> dict:
    config, world = trainer.config, trainer.world
    bar = ProgressBar(trainer.total_steps, world.is_main)
    best: float | None = None
    started, spent = time.perf_counter(), Spent()
    for epoch in run_epochs(trainer, tracker, bar):
        spent.seconds += epoch.seconds
        spent.collective_seconds += epoch.collective_seconds
        spent.targets += epoch.targets
        validation, last = epoch.validation, trainer.steps_taken >= trainer.total_steps
        improved = validation is not None and (best is None or validation.loss < best)
        best = validation.loss if improved else best
        _save(trainer, "last", epoch)
        if improved or (last and best is None):
            _save(trainer, "best", epoch)
        if world.is_main and epoch.number:
            left = (time.perf_counter() - started) / trainer.steps_taken * (trainer.total_steps - trainer.steps_taken)
            line = (
                f"epoch {epoch.number}/{config.optimizer.epochs}  loss {epoch.loss:.4f}  "
                f"{epoch.targets / epoch.seconds:,.0f} edges/s  {1e3 * epoch.seconds / epoch.steps:,.0f} ms/step  "
                f"{memory_gib():.2f} GiB  {_clock(left)} left"
            )
            bar.write(line + (f"  validation {validation.headline}" if validation else ""))
        if validation is not None and on_validation is not None:
            on_validation(epoch.number, validation)
    bar.close()
    spent.peak_memory_gib = peak_memory_gib()
    return summarise(trainer, tracker, spent)


@dataclasses.dataclass(frozen=True)
class EpochResult:
    """What an epoch did.

    Attributes:
        number: Epochs finished, this one included; 0 is the start, where it is worth something.
        loss: Mean loss of a target before each update, over all ranks.
        targets: Targets of all ranks.
        steps: Optimizer steps.
        seconds: Time of the steps.
        collective_seconds: Of that, what this rank spent in all-reduces; on GPUs only what it took to start them.
        validation: Metrics on validation, where they were due and there are validation ratings.
    """

    number: int
    loss: float
    targets: int
    steps: int
    seconds: float
    collective_seconds: float
    validation: Metrics | None = None


def run_epochs(trainer: Trainer, tracker: Tracker, bar: ProgressBar) -> Iterator[EpochResult]:
    """Trains and validates, and yields after each epoch. It reads no test rating and keeps no checkpoint.

    Args:
        trainer: A fresh trainer; every rank calls this.
        tracker: Takes the records.
        bar: Shows the steps.
    """
    config, world = trainer.config, trainer.world
    if trainer.starts_fitted:
        yield EpochResult(0, 0.0, 0, 0, 0.0, 0.0, _validate(trainer, tracker, -1, finished=True))
    with StepProfiler(config.run_dir / "profile", config.profile, world.rank, world.device) as profiler:
        for number in range(config.optimizer.epochs):
            epoch = _run_epoch(trainer, tracker, bar, profiler, number)
            finished = trainer.steps_taken >= trainer.total_steps
            yield dataclasses.replace(epoch, validation=_validate(trainer, tracker, number, finished))
            if finished:
                return


def _validate(trainer: Trainer, tracker: Tracker, number: int, finished: bool) -> Metrics | None:
    """Metrics on validation when they are due after epoch ``number``, and there are validation ratings."""
    config = trainer.config
    due = finished or (config.validate_every and (number + 1) % config.validate_every == 0)
    if config.refit or not due:
        return None
    metrics = trainer.validate()
    if not metrics.count:
        return None
    tracker.log(trainer.steps_taken, **prefixed("validation", metrics))
    return metrics


def _run_epoch(
    trainer: Trainer, tracker: Tracker, bar: ProgressBar, profiler: StepProfiler, number: int
) -> EpochResult:
    world, every = trainer.world, trainer.config.log_every
    started, steps_before, waited = time.perf_counter(), trainer.steps_taken, world.traffic.seconds
    throughput = Throughput(world)
    epoch_loss = torch.zeros((), dtype=torch.float64, device=world.device)
    recent_loss, recent_targets, epoch_targets = torch.zeros_like(epoch_loss), 0, 0
    for result in trainer.run_epoch(number):
        profiler.step()
        recent_loss += result.loss
        epoch_loss += result.loss
        recent_targets += result.step.num_targets
        epoch_targets += result.step.num_targets
        throughput.add(result)
        if result.number % every == 0:
            loss = world.sum_(recent_loss).item() / max(recent_targets, 1)
            lap = throughput.lap()
            tracker.log(
                result.number,
                epoch=number,
                loss=loss,
                lr=result.lr,
                memory_gib=memory_gib(),
                **dataclasses.asdict(lap),
            )
            bar_values = {"loss": f"{loss:.4f}", "edges/s": f"{lap.edges_per_second:,.0f}"}
            bar_values["step"] = f"{lap.step_seconds * 1e3:.0f} ms"
            recent_loss, recent_targets = torch.zeros_like(epoch_loss), 0
            bar.update(**bar_values)
        else:
            bar.update()
    loss = world.sum_(epoch_loss).item() / max(epoch_targets, 1)
    seconds = max(time.perf_counter() - started, 1e-9)
    steps, waited = max(trainer.steps_taken - steps_before, 1), world.traffic.seconds - waited
    return EpochResult(number + 1, loss, epoch_targets, steps, seconds, waited)


def _save(trainer: Trainer, name: str, epoch: EpochResult) -> None:
    info = CheckpointInfo(
        epoch=epoch.number,
        step=trainer.steps_taken,
        validation=epoch.validation.figures() if epoch.validation else {},
        dataset=trainer.dataset.fingerprint,
    )
    directory = trainer.config.run_dir / "checkpoints" / name
    save_checkpoint(directory, trainer.replicated, trainer.users, trainer.part, trainer.world, info)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
