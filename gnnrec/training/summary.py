"""Summary of a finished run: scores next to those of the baselines, speed, counts and fingerprints."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path
from typing import Any

import torch

from gnnrec.data.prepared import TEST, VALIDATION
from gnnrec.errors import UserError
from gnnrec.evaluation.metrics import Metrics, in_order, prefixed
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.training.checkpoint.add import add_tensors
from gnnrec.training.checkpoint.info import CheckpointInfo, find_checkpoint
from gnnrec.training.checkpoint.read import load_checkpoint
from gnnrec.training.fitted_lists import FittedLists
from gnnrec.training.lists import LIST_METRICS, list_records
from gnnrec.training.run_lock import RunLock
from gnnrec.training.tracking.artifacts import model_artifact
from gnnrec.training.tracking.tracker import Tracker
from gnnrec.training.train_state import TrainState
from gnnrec.training.trainer import Trainer
from gnnrec.utils import files, strict_json
from gnnrec.utils.code_version import code_version
from gnnrec.utils.log import logger
from gnnrec.utils.memory import peak_memory_gib
from gnnrec.utils.timer import Timer

#: Reason why a run has no test metrics.
NO_TEST = "trained on all ratings, test included (--refit all), so no rating is left for a test"


def summarize(trainer: Trainer, tracker: Tracker, state: TrainState, run_lock: RunLock) -> dict:
    """Scores the best checkpoint on the held-out splits, next to the baselines on the same splits.

    A run on all ratings has nothing to be scored on: its summary has ``no_test_metrics``, the reason, instead.
    """
    config, world, dataset = trainer.config, trainer.world, trainer.dataset
    peak = peak_memory_gib()
    best = find_checkpoint(config.run_dir, "best")
    info = load_checkpoint(best, trainer.replicated, trainer.users, trainer.part)
    embeddings = trainer.embed()
    fitted, info = _fit_lists(trainer, state, embeddings, best, info)
    gain = state.training_gain
    if gain is not None:
        tracker.log(trainer.steps_taken, training_gain=gain)
        adds = f"training adds {gain:.4f} to NDCG@100 on validation"
        world.log(
            adds if info.epoch else f"{adds}, less than a standard error: the weights before its first step are kept"
        )
    test: Metrics | None = None
    scores: dict[str, Any] = {"no_test_metrics": NO_TEST}
    counts: dict[str, int] = {}
    if config.refit != "all":
        test, scores, counts = _score(trainer, state, embeddings, fitted)
    summary = {
        **scores,
        "best_epoch": info.epoch,
        "epochs": state.epoch,
        "stopped_early": stopped_early(trainer, state),
        **({"lost_best": state.lost_best} if state.lost_best else {}),
        **({"returns": state.returns} if state.returns else {}),
        **({"training_gain": gain} if gain is not None else {}),
        "steps": trainer.steps_taken,
        "chosen": trainer.chosen() | (fitted.chosen() if fitted else {}),
        "edges_per_second": state.targets / max(state.seconds, 1e-9),
        "training_seconds": state.seconds,
        "seconds": dataclasses.asdict(state.times),
        "peak_memory_gib": float(world.all_reduce_max_(torch.tensor(peak, device=world.device))),
        "counts": {
            "users": dataset.num_users,
            "movies": dataset.num_movies,
            "ratings": dataset.num_ratings,
            "training_ratings": trainer.num_edges,
            **counts,
        },
        "model_fingerprint": info.fingerprint,
        **describe(trainer),
    }
    world.run_on_rank0(run_lock.check)
    if test is not None and test.count:
        tracker.log(trainer.steps_taken, **prefixed("test", test), **list_records(scores.get("lists", {})))
    tracker.summary(summary)
    tracker.log_artifact(
        lambda: model_artifact(best, info, tracker.wandb_run, config.wandb.upload_checkpoints), aliases=["best"]
    )
    world.run_on_rank0(lambda: _write(config.run_dir / "summary.json", summary, tracker))
    if world.is_main:
        _log_results(config.run_dir, test, scores)
    return summary


def stopped_early(trainer: Trainer, state: TrainState) -> bool:
    """Returns whether validation ended the run before its last planned step."""
    return not trainer.finished and state.out_of_patience(trainer.config.optimizer.patience)


def _fit_lists(
    trainer: Trainer, state: TrainState, embeddings: NodeEmbeddings, best: Path, info: CheckpointInfo
) -> tuple[FittedLists | None, CheckpointInfo]:
    """Fits what orders lists and adds it to the best checkpoint; returns it and the description of this checkpoint."""
    timer = Timer()
    with timer:
        fitted = trainer.fit_lists(embeddings, info.epoch)
        if fitted is not None:
            info = trainer.world.run_on_rank0(lambda: add_tensors(best, fitted.stem, fitted.state()))
    state.times.interest += timer.seconds
    return fitted, info


def _score(
    trainer: Trainer, state: TrainState, embeddings: NodeEmbeddings, fitted: FittedLists | None
) -> tuple[Metrics, dict[str, Any], dict[str, int]]:
    """Returns test metrics, all scores for the summary, and numbers of held-out ratings or users."""
    config, evaluating, fitting = trainer.config, Timer(), Timer()
    with evaluating:
        test = trainer.evaluate(TEST, embeddings)
        validation = None if config.refit else trainer.evaluate(VALIDATION, embeddings)
        lists = trainer.measure_lists(embeddings, fitted)
        worth = trainer.feature_worth()
    with fitting:
        baselines = trainer.fit_baselines() if config.baselines else {}
    state.times.evaluation += evaluating.seconds
    state.times.baselines += fitting.seconds
    scores = {
        **prefixed("test", test),
        **(prefixed("validation", validation) if validation else dict.fromkeys(prefixed("validation", test))),
        "baselines": baselines,
        **({"lists": lists} if lists else {}),
        **({"feature_worth": worth} if worth else {}),
        **trainer.breakdown(TEST, embeddings),
    }
    counts = {f"validation_{test.unit}": validation.count if validation else 0, f"test_{test.unit}": test.count}
    return test, scores, counts


def describe(trainer: Trainer) -> dict:
    """Facts about a run beside its configuration, available from its start; every rank calls this."""
    world, report = trainer.world, trainer.partition_report()
    return {
        "world_size": world.size,
        "device": str(world.device.type),
        "partition": dataclasses.asdict(report) | {"max_over_mean_edges": report.balance},
        "dataset_fingerprint": trainer.dataset.fingerprint,
        **world.run_on_rank0(code_version),
    }


def _write(path: Path, summary: dict, tracker: Tracker) -> None:
    """Writes the summary, which marks the run as finished, after everything else is written."""
    try:
        if tracker.unrecorded:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        files.write_text(path, strict_json.dumps(summary, indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"{path}: cannot write it ({error.strerror}): make room, then resume with --resume auto"
        ) from None


def _log_results(run: Path, test: Metrics | None, scores: dict) -> None:
    if test is None:
        logger.info(f"no test metrics: {NO_TEST}; summary: {run / 'summary.json'}")
        return
    if not test.count:
        logger.info(f"no test ratings to score; summary: {run / 'summary.json'}")
        return
    rows = {**scores["baselines"], "this model": prefixed("test", test)}
    _log_table("", rows, in_order([prefixed("test", test)]))
    lists = scores.get("lists", {})
    if lists.get("users"):
        _log_table("lists", {**lists["baselines"], "this model": lists}, list(LIST_METRICS))
    logger.info(str(run / "summary.json"))


def _log_table(heading: str, rows: dict[str, dict], names: list[str]) -> None:
    logger.info(f"{heading:16}" + "".join(f"{_title(name):>{len(name) + 2}}" for name in names))
    for row, values in rows.items():
        logger.info(f"{row:16}" + "".join(f"{values[name]:{len(name) + 2}.4f}" for name in names))


def _title(name: str) -> str:
    """Column header of a metric: ``test RMSE`` for ``test_rmse``."""
    spelling = {"_": " ", "rmse": "RMSE", "mae": "MAE", "ndcg": "NDCG", "recall": "Recall"}
    for written, shown in spelling.items():
        name = name.replace(written, shown)
    return name
