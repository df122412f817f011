"""Opens a run for inference."""

from __future__ import annotations

from pathlib import Path

from gnnrec.config.train_config import read_train_config
from gnnrec.data.same_dataset import open_recorded
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.ranking_run import RankingRun
from gnnrec.inference.rating_run import RatingRun
from gnnrec.training.checkpoint.opened import open_checkpoint
from gnnrec.training.same_options import find_changed

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
    opened = open_checkpoint(run, checkpoint, world)
    if (changed := find_changed(opened.info.config, config)) is not None:
        name, value, before = changed
        raise UserError(f"{run / 'config.yaml'} has {name}: {value}, but the run was trained with {before}: restore it")
    dataset = open_recorded(config.data, data, opened.info.dataset, f"that {run} was trained on")
    return _RUNS[config.objective].load(config, dataset, world, opened)
