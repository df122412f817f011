"""Scores a trained run on its held-out ratings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import torch

from gnnrec.data.prepared import SPLIT_NAMES, TEST, VALIDATION
from gnnrec.distributed import World
from gnnrec.evaluation.rating import RatingMetrics, held_out, rating_metrics
from gnnrec.inference.load import load_run


@dataclasses.dataclass
class EvaluateOptions:
    """Options of ``gnnrec evaluate``.

    Args:
        checkpoint: best or last.
        data: Prepared dataset, where it has moved since training.
        device: auto, cpu or cuda.
    """

    checkpoint: Literal["best", "last"] = "best"
    data: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"


@torch.no_grad()
def evaluate(run: Path, options: EvaluateOptions, world: World) -> dict[str, RatingMetrics]:
    """RMSE and MAE by split name: test, and validation unless it was trained on.

    Args:
        run: Run directory of ``train_dist.py``.
        options: The options.
        world: The ranks; every rank calls this.
    """
    loaded = load_run(run, world, options.checkpoint, options.data)
    embeddings = loaded.embed()
    results = {}
    for split in (TEST,) if loaded.config.refit else (VALIDATION, TEST):
        targets = held_out(loaded.dataset, loaded.graph.part, split, world, loaded.graph.dtype)
        predicted = loaded.model.score(embeddings, targets)
        metrics = rating_metrics(predicted, targets.rating, loaded.graph.rating_scale, world)
        results[SPLIT_NAMES[split]] = metrics
        world.print(f"{SPLIT_NAMES[split]:11} {metrics}")
    return results
