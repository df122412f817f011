"""Counts steps on the pretend GPU: ``python -m tests.pretend_gpu.count_steps DIRECTORY``.

Prints a JSON object with the mean counts of the steps of the second epoch of each configuration.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.steps import run_epoch
from gnnrec.config.train_config import parse_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.rating_trainer import RatingTrainer
from tests.pretend_gpu.device import counting, pretend_gpu

#: Configurations whose steps are counted, with few folds, so that an epoch is short.
CASES = {
    name: [f"--config=configs/{name}.yaml", "--model.dim=8"]
    for name in ("ml20m_full", "ml20m_sage", "ml20m_gcn", "ml20m_gat")
}
#: Four steps a pass.
CASES["slices"] = [*CASES["ml20m_sage"], "--loader.seed_users=11", "--loader.movies_per_user=4"]


def count(options: list[str], directory: str) -> dict:
    """Returns mean counts of a step."""
    config = parse_train_config([*options, f"--data={directory}", "--run_dir=unused", "--log_every=1000"])
    with pretend_gpu() as device:
        trainer = RatingTrainer(config, PreparedDataset(Path(directory)), World(device=device))
        list(run_epoch(trainer, 0))
        with counting() as counts:
            list(run_epoch(trainer, 1))
    steps = trainer.steps_an_epoch
    return {
        "steps": steps,
        "waits": sum(counts.waits.values()) / steps,
        "operators": sum(counts.operators.values()) / steps,
        "launches": counts.launches / steps,
        "bytes": sum(counts.bytes.values()) / steps,
        "waits_by_line": {name: number / steps for name, number in counts.waits.most_common()},
        "bytes_by_operator": {name: number / steps for name, number in counts.bytes.most_common(12)},
    }


if __name__ == "__main__":
    print(json.dumps({name: count(options, sys.argv[1]) for name, options in CASES.items()}, indent=1))
