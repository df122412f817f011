"""Opens a run for inference."""

from __future__ import annotations

from pathlib import Path

from gnnrec.config.train_config import read_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.ranking_run import RankingRun
from gnnrec.inference.rating_run import RatingRun
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from gnnrec.training.checkpoint.read import find_damage

_RUNS: dict[str, type[LoadedRun]] = {"rating": RatingRun, "ranking": RankingRun}


def load_run(run: Path, world: World, checkpoint: str = "best", data: Path | None = None) -> LoadedRun:
    """Opens a run on any number of ranks.

    Args:
        run: Run directory of ``train_dist.py``.
        world: The ranks; every rank calls this.
        checkpoint: ``best`` or ``last``.
        data: The prepared dataset, if it has moved since training.

    Raises:
        UserError: Not a run, no such checkpoint, or a dataset other than that of training.
    """
    run = Path(run)
    config = read_train_config(run / "config.yaml")
    directory = find_checkpoint(run, checkpoint)
    info = read_info(directory)
    dataset = PreparedDataset(data or config.data)
    if dataset.fingerprint != info.dataset:
        raise UserError(
            f"{dataset.directory} is not the dataset that {run} was trained on: pass the right one with --data"
        )
    damage = find_damage(directory, world)
    if damage:
        raise UserError(damage)
    return _RUNS[config.objective].load(config, dataset, world, directory, info)
