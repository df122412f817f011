"""Measures a trained run on its held-out ratings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from gnnrec.data.prepared import SPLIT_NAMES, TEST, VALIDATION
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.evaluation.metrics import Metrics
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.inference.compare_runs import load_other, print_differences
from gnnrec.inference.load import load_run
from gnnrec.training.summary import NO_TEST
from gnnrec.utils.bounds import bounded, check_bounds


@dataclasses.dataclass
class EvaluateOptions:
    """Options of ``gnnrec evaluate``.

    Args:
        checkpoint: Checkpoint to score.
        k: Lengths of lists, such as 10 20 50 100, at which hit rate, precision, recall, NDCG, MAP and MRR under all
            usual definitions, and coverage, novelty, popularity and personalization, are printed too; by default none.
        against: Run directory of another run on the same dataset. The differences of the test metrics are printed with
            95 % confidence intervals, from a paired bootstrap over users; by default none.
        resamples: Samples of users in the bootstrap.
        data: Prepared dataset, if it has moved since training; by default the one that is recorded.
        device: Device of every rank; auto is CUDA if available, else the CPU.
    """

    checkpoint: Literal["best", "last"] = "best"
    k: list[int] = dataclasses.field(default_factory=list)
    against: Path | None = None
    resamples: int = bounded(1000, least=100)
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
        UserError: Not a run, or one that was trained on the test ratings too, or cannot be compared with the other.
    """
    check_bounds(options)
    if any(length < 1 for length in options.k):
        raise UserError(f"--k {' '.join(map(str, options.k))}: lengths of lists are at least 1")
    lengths = tuple(dict.fromkeys(options.k))
    loaded = load_run(run, world, options.checkpoint, options.data)
    if loaded.config.refit == "all":
        raise UserError(f"{run}: {NO_TEST}: evaluate the run that its settings come from")
    other = None if options.against is None else load_other(loaded, options.against, options.checkpoint)
    embeddings = loaded.embed()
    results = {}
    for split in (TEST,) if loaded.config.refit else (VALIDATION, TEST):
        name = SPLIT_NAMES[split]
        results[name] = [loaded.evaluate(split, embeddings, lengths)]
        world.print(f"{name:11} {results[name][0]}")
        lists = loaded.evaluate_lists(split, embeddings, lengths)
        if lists is not None:
            results[name].append(lists)
            world.print(f"{'':11} lists: {lists}")
        for line in _table(results[name][-1], lengths):
            world.print(line)
    if other is not None and options.against is not None:
        print_differences(loaded, results[SPLIT_NAMES[TEST]], other, options.against, options.resamples)
    return results


def _table(metrics: Metrics, lengths: tuple[int, ...]) -> list[str]:
    """Lines with a metric each and a column for each length."""
    at = metrics.at if isinstance(metrics, RankingMetrics) else {}
    if not at:
        return []
    names = list(dict.fromkeys(name.split("@")[0] for name in at))
    rows = [f"{name:16}" + "".join(f"{at[f'{name}@{length}']:12.4f}" for length in lengths) for name in names]
    return [f"{'at':16}" + "".join(f"{length:12}" for length in lengths), *rows]
