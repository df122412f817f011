"""``gnnrec tune``: searches training options on validation ratings; test ratings are never read."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from gnnrec.config.train_config import TrainConfig, assigned_train_config
from gnnrec.config.training_options import WandbOptions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.tools.tuning.space import Parameter, apply, parameters
from gnnrec.tools.tuning.study import WAIT, Study, loss_of, number_of
from gnnrec.training.finite import NotFinite
from gnnrec.training.loop import EpochResult, run_loop
from gnnrec.training.progress_bar import ProgressBar
from gnnrec.training.resolve_config import resolve_config
from gnnrec.training.run import build_trainer
from gnnrec.training.tracking.tracker import Tracker
from gnnrec.training.train_state import TrainState
from gnnrec.utils import files
from gnnrec.utils.bounds import bounded, check_bounds
from gnnrec.utils.log import logger

#: Seconds between two looks at the trials of other jobs.
_PAUSE = 0.5
#: Options that do not affect the result of a trial.
_IRRELEVANT = (
    "data",
    "run_dir",
    "wandb",
    "mlflow",
    "device",
    "overwrite",
    "log_every",
    "baselines",
    "validate_every",
    "interest",
    "order",
)


@dataclasses.dataclass
class TuneOptions:
    """Options of ``gnnrec tune``.

    Args:
        out: Directory of the study; the same command continues it.
        config: YAML file of training options to start from; by default none.
        set: Training options over those of the file, as OPTION=VALUE.
        space: Options to search: regularization (L2, that of message embeddings, dropout; for rankings dropout and
            the weights of users), optimizer (the learning rate) or all.
        trials: Trials of the whole study.
        shared: Take part in the study with other gnnrec tune commands, which have the same options and see the same
            directory, also from other machines. Together they make the trials of the study.
        seed: Seed of the search; every trial trains with the seed of its configuration.
        wandb: Weights & Biases, with a run for the study.
        device: Device of every rank; auto is CUDA if available, else the CPU.
    """

    out: Path
    config: Path | None = None
    set: list[str] = dataclasses.field(default_factory=list)
    space: str = "regularization"
    trials: int = bounded(30, least=1)
    shared: bool = False
    seed: int = 0
    wandb: WandbOptions = dataclasses.field(default_factory=WandbOptions)
    device: Literal["auto", "cpu", "cuda"] = "auto"


def tune(data: Path, options: TuneOptions, world: World) -> TrainConfig:
    """Runs or continues a study up to ``options.trials`` trials, and writes ``best.yaml`` and ``trials.csv``.

    Args:
        data: Prepared dataset.
        options: The options.
        world: The ranks; every rank calls this. Only rank 0 accesses the study.

    Returns:
        The best configuration.

    Raises:
        UserError: Bad input, a different study in the directory, or no trial with a finite loss.
    """
    dataset = PreparedDataset(data)
    base = resolve_config(_base(data, options), dataset, world)
    if base.refit or not dataset.manifest.split["counts"]["validation"]:
        way = "leave out --refit" if base.refit else f"{data} has none; prepare it with --validation above 0"
        raise UserError(f"gnnrec tune needs validation ratings: {way}")
    chosen = parameters(base, options.space)
    study = _open(base, options, dataset, chosen, world)
    try:
        _search(study, base, options, dataset, chosen, world)
        return world.run_on_rank0(lambda: _finish(study, base, options, chosen))
    finally:
        if study is not None:
            study.close()


def _base(data: Path, options: TuneOptions) -> TrainConfig:
    check_bounds(options)
    base = assigned_train_config(options.config, options.set, data=data, run_dir=options.out / "run")
    # Pruning needs validation losses during a trial.
    base.validate_every = base.validate_every or 1
    return base


def _open(
    base: TrainConfig, options: TuneOptions, dataset: PreparedDataset, chosen: tuple[Parameter, ...], world: World
) -> Study | None:
    """Opens the study on rank 0; returns None on other ranks."""
    config = {name: value for name, value in base.as_dict().items() if name not in _IRRELEVANT}
    context = {"dataset": dataset.fingerprint, "space": options.space, "seed": options.seed, "configuration": config}
    study, rung = None, first_rung(base.optimizer.epochs)

    def open_study() -> None:
        nonlocal study
        study = Study(options.out, context, chosen, base, rung, options.seed, options.shared)

    world.run_on_rank0(open_study)
    return study


def first_rung(epochs: int) -> int:
    """Returns the epochs before a trial may be pruned: half of the run.

    The cosine schedule makes losses of the same epoch comparable, but early ones favor weak regularization
    (``docs/decisions.md``).
    """
    return math.ceil(epochs / 2)


def _search(
    study: Study | None,
    base: TrainConfig,
    options: TuneOptions,
    dataset: PreparedDataset,
    chosen: tuple[Parameter, ...],
    world: World,
) -> None:
    done = world.run_on_rank0(lambda: len(study.trials))
    if done >= options.trials:
        return
    if done:
        world.log(f"{options.out} has {done} trials, {options.trials - done} to do")
    tracker = Tracker(_own_directory(options, world), options.wandb, base.as_dict(), world.is_main)

    def prune(epoch: int, loss: float, last: bool) -> bool:
        return world.run_on_rank0(lambda: study.report(epoch, loss, last))

    try:
        while (number := _claim(study, options, world)) is not None:
            values = world.run_on_rank0(functools.partial(_ask, study, number))
            loss, epochs, pruned = _run_trial(apply(base, chosen, values), dataset, world, prune)
            if world.is_main:
                _report(study, study.tell(loss, epochs, pruned), options.trials, tracker)
                if study.best:
                    _write_best(study, base, options, chosen)
        if world.is_main and study.best:
            tracker.summary({"best_validation_loss": study.best.value, "best": dict(study.best.params)})
    except BaseException as problem:
        tracker.close(problem)
        raise
    tracker.close()


def _ask(study: Study | None, number: int) -> dict[str, float]:
    return study.ask(number)


def _claim(study: Study | None, options: TuneOptions, world: World) -> int | None:
    """Takes the next trial, and waits while other jobs make all that are left; returns None once all are finished."""
    waits = False
    while (number := world.run_on_rank0(lambda: study.claim(options.trials))) == WAIT:
        if not waits:
            world.log("other jobs make the trials that are left; those of a job that dies are made again here")
        waits = True
        world.check_stop()
        time.sleep(_PAUSE)
    return number


def _own_directory(options: TuneOptions, world: World) -> Path:
    """The directory of the records of this job, which several jobs cannot write into one file."""
    if not options.shared:
        return options.out
    own = options.out / "jobs" / f"{socket.gethostname()}-{os.getpid()}"
    if world.is_main:
        own.mkdir(parents=True, exist_ok=True)
    return own


def _run_trial(
    config: TrainConfig, dataset: PreparedDataset, world: World, prune: Callable[[int, float, bool], bool]
) -> tuple[float, int, bool]:
    """Trains once; returns the loss of the best weights, epochs, and whether it was pruned, the same on every rank."""
    trainer = build_trainer(config, dataset, world)
    tracker = Tracker(config.run_dir, config.wandb, {}, active=False)
    state, best, epochs = TrainState.start(world), math.inf, 0

    def after_epoch(epoch: EpochResult) -> None:
        nonlocal best, epochs
        epochs = epoch.number
        if epoch.validation is None:
            return
        if trainer.becomes_best(epoch.validation, state):
            best = epoch.validation.loss
        if prune(epochs, epoch.validation.loss, trainer.finished):
            raise _Pruned

    bar = ProgressBar(trainer.total_steps, active=False)
    try:
        run_loop(trainer, tracker, bar, state, world.check_stop, after_epoch)
    except _Pruned:
        return best, epochs, True
    except NotFinite:
        return best, epochs, True
    return best, epochs, False


class _Pruned(Exception):
    """Raised to end a trial that is pruned."""


def _report(study: Study, trial: Any, total: int, tracker: Tracker) -> None:
    number, best = number_of(trial) + 1, study.best
    loss, pruned = loss_of(trial), trial.state.name == "PRUNED"
    figures = {"validation_loss": loss, "epochs": trial.user_attrs["epochs"], "pruned": pruned}
    tracker.log(number, **trial.params, **figures, best_validation_loss=best.value if best else None)
    values = "  ".join(f"{name} {value:.4g}" for name, value in trial.params.items())
    loss_text = "diverged" if loss is None else f"validation loss {loss:.4f}"
    ended = f"{figures['epochs']} epochs{', pruned' if pruned else ''}"
    best_text = f"best {best.value:.4f} (trial {number_of(best) + 1})" if best else "none complete yet"
    logger.info(f"trial {number}/{total}  {values}  {loss_text}  {ended}  {best_text}")


def _write_best(study: Study, base: TrainConfig, options: TuneOptions, chosen: tuple[Parameter, ...]) -> TrainConfig:
    config = apply(base, chosen, study.best.params)
    files.write_text(options.out / "best.yaml", config.yaml())
    return config


def _finish(study: Study, base: TrainConfig, options: TuneOptions, chosen: tuple[Parameter, ...]) -> TrainConfig:
    """Writes and prints the result on rank 0."""
    best = study.best
    if best is None:
        raise UserError(f"no trial of {options.out} has a finite validation loss: lower --set optimizer.lr")
    config = _write_best(study, base, options, chosen)
    study.write_table()
    first = loss_of(study.trials[0])
    print(
        f"best: trial {number_of(best) + 1} of {len(study.trials)}, validation loss {best.value:.4f} "
        f"(without tuning {'none' if first is None else f'{first:.4f}'})"
    )
    for option in dict.fromkeys(option for parameter in chosen for option in parameter.options):
        print(f"  {option} {config.value(option):.6g}  (before: {base.value(option):.6g})")
    print(f"train with it: gnnrec train --config {options.out / 'best.yaml'}", flush=True)
    return config
