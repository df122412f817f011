"""A whole training run: epochs, validation, checkpoints, records, summary."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path

import psutil
import torch

from gnnrec import __version__, files
from gnnrec.config import TrainConfig
from gnnrec.data.prepared import TEST, VALIDATION, PreparedDataset
from gnnrec.distributed import World
from gnnrec.errors import UserError
from gnnrec.evaluation.baselines import fit_baselines
from gnnrec.evaluation.rating import RatingMetrics
from gnnrec.training.checkpoint import CheckpointInfo, load_checkpoint, read_info, save_checkpoint
from gnnrec.training.tracking import ProgressBar, Tracker
from gnnrec.training.trainer import Throughput, Trainer, message_splits


def train(config: TrainConfig, world: World) -> dict:
    """Trains, validates, keeps the best and the last checkpoint, and leaves a summary.

    Args:
        config: The configuration.
        world: The ranks; every rank calls this.

    Returns:
        The contents of ``summary.json``.
    """
    dataset = PreparedDataset(config.data)
    prepare_run_directory(config, world)
    trainer = Trainer(config, dataset, world)
    for line in trainer.partition_report().lines():
        world.print(line)
    tracker = Tracker(config.run_dir, config.wandb, config.as_dict(), world.is_main)
    try:
        summary = _fit(trainer, tracker)
        tracker.summary(summary)
    except BaseException:
        tracker.close(exit_code=1)
        raise
    tracker.close()
    return summary


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


def _fit(trainer: Trainer, tracker: Tracker) -> dict:
    config, world = trainer.config, trainer.world
    bar = ProgressBar(trainer.total_steps, world.is_main)
    best: float | None = None
    validation: RatingMetrics | None = None
    started, training_seconds, targets = time.perf_counter(), 0.0, 0
    for number in range(config.optimizer.epochs):
        epoch_started, steps_before = time.perf_counter(), trainer.steps_taken
        loss, epoch_targets = _run_epoch(trainer, tracker, bar, number)
        epoch_seconds = time.perf_counter() - epoch_started
        training_seconds, targets = training_seconds + epoch_seconds, targets + epoch_targets
        finished = trainer.steps_taken >= trainer.total_steps
        due = config.validate_every and (number + 1) % config.validate_every == 0
        if (due or finished) and not config.refit:
            validation = trainer.evaluate(VALIDATION)
            tracker.log(trainer.steps_taken, validation_rmse=validation.rmse, validation_mae=validation.mae)
        improved = validation is not None and validation.count > 0 and (best is None or validation.rmse < best)
        best = validation.rmse if improved else best
        for name in ["last"] + (["best"] if improved or (finished and best is None) else []):
            _save(trainer, name, number + 1, validation)
        if world.is_main:
            left = (time.perf_counter() - started) / trainer.steps_taken * (trainer.total_steps - trainer.steps_taken)
            line = (
                f"epoch {number + 1}/{config.optimizer.epochs}  loss {loss:.4f}  "
                f"{epoch_targets / epoch_seconds:,.0f} edges/s  "
                f"{1e3 * epoch_seconds / max(trainer.steps_taken - steps_before, 1):,.0f} ms/step  "
                f"{_memory():.2f} GiB  {_clock(left)} left"
            )
            bar.write(line + (f"  validation RMSE {validation.rmse:.4f}" if validation else ""))
        if finished:
            break
    bar.close()
    return _summarise(trainer, tracker, training_seconds, targets)


def _run_epoch(trainer: Trainer, tracker: Tracker, bar: ProgressBar, number: int) -> tuple[float, int]:
    """Mean squared error of the epoch, before each update, and its targets (both over all ranks)."""
    world, every = trainer.world, max(trainer.config.log_every, 1)
    throughput = Throughput()
    epoch_error = torch.zeros((), dtype=torch.float64, device=world.device)
    recent_error, recent_targets, epoch_targets = torch.zeros_like(epoch_error), 0, 0
    for result in trainer.run_epoch(number):
        recent_error += result.squared_error
        epoch_error += result.squared_error
        recent_targets += result.step.num_targets
        epoch_targets += result.step.num_targets
        throughput.add(result)
        if result.number % every == 0:
            loss = world.sum_(recent_error).item() / max(recent_targets, 1)
            edges, seconds = throughput.lap()
            tracker.log(
                result.number,
                epoch=number,
                loss=loss,
                lr=result.lr,
                edges_per_second=edges,
                step_seconds=seconds,
                memory_gib=_memory(),
            )
            bar_values = {"loss": f"{loss:.4f}", "edges/s": f"{edges:,.0f}", "step": f"{seconds * 1e3:.0f} ms"}
            recent_error, recent_targets = torch.zeros_like(epoch_error), 0
            bar.update(**bar_values)
        else:
            bar.update()
    return world.sum_(epoch_error).item() / max(epoch_targets, 1), epoch_targets


def _save(trainer: Trainer, name: str, epoch: int, validation: RatingMetrics | None) -> None:
    info = CheckpointInfo(
        epoch=epoch,
        step=trainer.steps_taken,
        validation_rmse=validation.rmse if validation and validation.count else None,
        dataset=trainer.dataset.fingerprint,
    )
    directory = trainer.config.run_dir / "checkpoints" / name
    save_checkpoint(directory, trainer.replicated, trainer.users, trainer.graph.part, trainer.world, info)


def _summarise(trainer: Trainer, tracker: Tracker, seconds: float, targets: int) -> dict:
    """Scores the best checkpoint on the held-out splits, next to the baselines on the same splits."""
    config, world, dataset = trainer.config, trainer.world, trainer.dataset
    best = config.run_dir / "checkpoints" / "best"
    load_checkpoint(best, trainer.replicated, trainer.users, trainer.graph.part)
    info = read_info(best)
    embeddings = trainer.embed()
    test = trainer.evaluate(TEST, embeddings)
    validation = None if config.refit else trainer.evaluate(VALIDATION, embeddings)
    baselines = fit_baselines(dataset, world, message_splits(config), config.seed) if config.baselines else {}
    summary = {
        "test_rmse": test.rmse,
        "test_mae": test.mae,
        "validation_rmse": validation.rmse if validation else None,
        "validation_mae": validation.mae if validation else None,
        "best_epoch": info.epoch,
        "steps": trainer.steps_taken,
        "baselines": baselines,
        "edges_per_second": targets / max(seconds, 1e-9),
        "training_seconds": seconds,
        "peak_memory_gib": float(world.max_(torch.tensor(_peak_memory(), device=world.device))),
        "counts": {
            "users": dataset.num_users,
            "movies": dataset.num_movies,
            "ratings": dataset.num_ratings,
            "training_ratings": trainer.graph.num_edges_global,
            "validation_ratings": validation.count if validation else 0,
            "test_ratings": test.count,
        },
        "world_size": world.size,
        "device": str(world.device.type),
        "partition": dataclasses.asdict(trainer.partition_report()),
        "dataset_fingerprint": dataset.fingerprint,
        "model_fingerprint": info.fingerprint,
        "gnnrec_version": __version__,
        "torch_version": torch.__version__,
    }
    if world.is_main:
        files.write_text(config.run_dir / "summary.json", json.dumps(summary, indent=1) + "\n")
        tracker.log(trainer.steps_taken, test_rmse=test.rmse, test_mae=test.mae)
        _print_results(config.run_dir, test, baselines)
    return summary


def _print_results(run: Path, test: RatingMetrics, baselines: dict) -> None:
    print(f"{'':14}test RMSE  test MAE")
    for name, row in baselines.items():
        print(f"{name:14}{row['test_rmse']:9.4f} {row['test_mae']:9.4f}")
    print(f"{'this model':14}{test.rmse:9.4f} {test.mae:9.4f}   {run / 'summary.json'}", flush=True)


def _memory() -> float:
    """GiB held by this rank: on the GPU if it has one, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.memory_allocated() / 2**30
    return psutil.Process().memory_info().rss / 2**30


def _peak_memory() -> float:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
