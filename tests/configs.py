"""Configurations for tests."""

from __future__ import annotations

from pathlib import Path

from gnnrec.config.train_config import TrainConfig
from gnnrec.config.training_options import CheckpointOptions, OptimizerOptions, RegularizationOptions, WandbOptions
from gnnrec.graph.options import LoaderOptions
from gnnrec.models.interest_options import InterestOptions
from gnnrec.models.options import ModelOptions
from gnnrec.models.order_options import OrderOptions
from gnnrec.models.ranking_options import RankingOptions

#: Sampled mini-batches that divide nothing evenly.
SAMPLED = {"seed_users": 11, "movies_per_user": 4, "raters_per_movie": 3}


def make_config(
    data: Path | str = "unused",
    run_dir: Path | str = "unused",
    model: dict | None = None,
    loader: dict | None = None,
    optimizer: dict | None = None,
    regularization: dict | None = None,
    ranking: dict | None = None,
    checkpoint: dict | None = None,
    interest: dict | None = None,
    order: dict | None = None,
    **options,
) -> TrainConfig:
    """A small configuration, by default for ratings; parts are given as dictionaries of what differs. Interest and the
    order of likes are off unless they are given.
    """
    config = TrainConfig(
        data=Path(data),
        run_dir=Path(run_dir),
        model=ModelOptions(**{"dim": 8, "init_std": 0.3, "movie_id_init_std": 0.3} | (model or {})),
        loader=LoaderOptions(**{"folds": 3} | (loader or {})),
        optimizer=OptimizerOptions(**{"epochs": 2, "warmup_steps": 2} | (optimizer or {})),
        regularization=RegularizationOptions(**regularization or {}),
        ranking=RankingOptions(**ranking or {}),
        checkpoint=CheckpointOptions(**checkpoint or {}),
        interest=InterestOptions(**{"enabled": False} if interest is None else interest),
        order=OrderOptions(**{"enabled": False} if order is None else order),
        **{"objective": "rating", "wandb": WandbOptions(mode="disabled"), "baselines": False} | options,
    )
    config.check()
    return config
