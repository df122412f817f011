"""Measures a trained run on its held-out ratings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from gnnrec.data.prepared import SPLIT_NAMES, TEST, VALIDATION
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.evaluation.metrics import Metrics
from gnnrec.inference.load import load_run
from gnnrec.training.summary import NO_TEST


@dataclasses.dataclass
class EvaluateOptions:
    """Options of ``gnnrec evaluate``.

    Args:
        checkpoint: Checkpoint to score.
        data: Prepared dataset, if it has moved since training; by default the one that is recorded.
        device: Device of every rank; auto is CUDA if available, else the CPU.
    """

    checkpoint: Literal["best", "last"] = "best"
    data: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"


def evaluate(run: Path, options: EvaluateOptions, world: World) -> dict[str, list[Metrics]]:
    """Returns metrics by split name: test, and validation unless the run was trained on it.

    Of a rating run they are those of its predicted ratings, then those of its lists.

    Args:
        run: Run directory of ``train_dist.py``.
        options: The options.
        world: The ranks; every rank calls this.

    Raises:
        UserError: Not a run, or one that was trained on the test ratings too.
    """
    loaded = load_run(run, world, options.checkpoint, options.data)
    if loaded.config.refit == "all":
        raise UserError(f"{run}: {NO_TEST}: evaluate the run that its settings come from")
    embeddings = loaded.embed()
    results = {}
    for split in (TEST,) if loaded.config.refit else (VALIDATION, TEST):
        name = SPLIT_NAMES[split]
        results[name] = [loaded.evaluate(split, embeddings)]
        world.print(f"{name:11} {results[name][0]}")
        lists = loaded.evaluate_lists(split, embeddings)
        if lists is not None:
            results[name].append(lists)
            world.print(f"{'':11} lists: {lists}")
    return results
