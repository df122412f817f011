"""Rankings of the last movie of each user, with and without the order of likes: NDCG@10 over the full catalog.

A part of :mod:`benchmarks.lists`. Protocol leave-last, every rating counts as a like, default settings. Each split is
trained twice, with and without the order of likes; splits differ in the order of ratings of the same time, and runs in
their seed. Baselines are those of the summary, of the first split.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.train_default import standard_error, trained
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST
from gnnrec.distributed.world import World
from gnnrec.inference.load import load_run
from gnnrec.inference.ranking_run import RankingRun


def at_10(run: Path) -> np.ndarray:
    """NDCG@10 and hit rate at 10 of each user on the one test movie, ``[users, 2]``."""
    loaded = load_run(run, World())
    assert isinstance(loaded, RankingRun)
    found: list[np.ndarray] = []

    def take(users: torch.Tensor, figures: torch.Tensor) -> None:
        rank = 1 / figures[:, 3].numpy()
        found.append(np.stack([np.where(rank < 10.5, 1 / np.log2(1 + rank), 0), rank < 10.5], 1))

    with torch.no_grad():
        loaded.held_out(TEST).rank(loaded.scorer(TEST), take)
    return np.concatenate(found)


def measure(ratings: Path, seed: int, place: Path) -> dict:
    """Means over users of one split, and the paired difference."""
    prepare(place / "data", PrepareOptions(ratings=ratings, seed=seed, protocol="leave-last", relevant="none"))
    words = ["--objective", "ranking", "--seed", str(seed)]
    ours = trained(place / "data", place / "run", *words, "--baselines", str(seed == 0).lower())
    trained(place / "data", place / "older", *words, "--order.enabled", "false", "--baselines", "false")
    with_order, without = at_10(place / "run"), at_10(place / "older")
    gain = with_order[:, 0] - without[:, 0]
    return {
        "ours": dict(zip(("ndcg10", "hit10"), with_order.mean(0).tolist())),
        "without_order": dict(zip(("ndcg10", "hit10"), without.mean(0).tolist())),
        "gain": {"mean": float(gain.mean()), "standard_error": standard_error(gain.tolist())},
        "test_ndcg20": {name: row["test_ndcg@20"] for name, row in ours["baselines"].items()},
        "ours_ndcg20": ours["test_ndcg@20"],
        "chosen": ours["chosen"],
        "seconds": {"training": ours["training_seconds"], "order": ours["seconds"]["interest"]},
        "users": len(gain),
    }


def figures(ratings: Path, name: str, splits: int) -> dict:
    """Figures for ``lists.json``."""
    found = []
    for seed in range(splits):
        with tempfile.TemporaryDirectory() as directory:
            found.append(measure(ratings, seed, Path(directory)))
        print(json.dumps(found[-1]), flush=True)
    rows = {row: float(np.mean([split[row]["ndcg10"] for split in found])) for row in ("ours", "without_order")}
    ratio = rows["ours"] / rows["without_order"]
    return {"leave_last_ndcg10": {name: rows | {"ratio": ratio}}, "leave_last_splits": {name: found}}
