"""What a finished run leaves: its scores next to the baselines', its speed, its counts and fingerprints."""

from __future__ import annotations

import dataclasses
import json
import resource
from pathlib import Path

import psutil
import torch

from gnnrec import __version__, files
from gnnrec.data.prepared import TEST, VALIDATION
from gnnrec.evaluation.baselines import fit_baselines
from gnnrec.evaluation.rating import RatingMetrics
from gnnrec.training.checkpoint import load_checkpoint
from gnnrec.training.tracking import Tracker
from gnnrec.training.trainer import Trainer, message_splits


def summarise(trainer: Trainer, tracker: Tracker, seconds: float, targets: int) -> dict:
    """Scores the best checkpoint on the held-out splits, next to the baselines on the same splits."""
    config, world, dataset = trainer.config, trainer.world, trainer.dataset
    best = config.run_dir / "checkpoints" / "best"
    info = load_checkpoint(best, trainer.replicated, trainer.users, trainer.graph.part)
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
        "peak_memory_gib": float(world.max_(torch.tensor(_peak_memory_gib(), device=world.device))),
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
        if test.count:
            tracker.log(trainer.steps_taken, test_rmse=test.rmse, test_mae=test.mae)
        _print_results(config.run_dir, test, baselines)
    return summary


def _print_results(run: Path, test: RatingMetrics, baselines: dict) -> None:
    if not test.count:
        print(f"no test ratings to score; {run / 'summary.json'}", flush=True)
        return
    print(f"{'':14}test RMSE  test MAE")
    for name, row in baselines.items():
        print(f"{name:14}{row['test_rmse']:9.4f} {row['test_mae']:9.4f}")
    print(f"{'this model':14}{test.rmse:9.4f} {test.mae:9.4f}   {run / 'summary.json'}", flush=True)


def memory_gib() -> float:
    """GiB held by this rank: on the GPU if it has one, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.memory_allocated() / 2**30
    return psutil.Process().memory_info().rss / 2**30


def _peak_memory_gib() -> float:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
