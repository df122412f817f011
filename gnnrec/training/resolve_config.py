"""Options of a configuration that depend on the data, resolved before training."""

from __future__ import annotations

import dataclasses

from gnnrec.config.train_config import TrainConfig
from gnnrec.config.training_options import RANKING_DEFAULTS
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.split_ranking import has_no_ratings, relevance
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.interactions import require_counts

#: Share of messages that are dropped, by start.
_DROPOUT = {"closed_form": 0.5, "random": 0.7}


def resolve_config(config: TrainConfig, dataset: PreparedDataset, world: World) -> TrainConfig:
    """Fills in open options that depend on the dataset; a resolved configuration does not change.

    Args:
        config: The configuration.
        dataset: The prepared dataset.
        world: The ranks.

    Raises:
        UserError: The objective is rating, but the dataset was prepared for ranking; or training is to stop by
            validation, and the dataset has no validation ratings.
    """
    protocol = dataset.manifest.split["protocol"]
    if config.optimizer.patience and not dataset.manifest.split["counts"]["validation"]:
        raise UserError(
            f"--optimizer.patience {config.optimizer.patience} needs validation ratings, and {dataset.directory} has "
            "none: prepare it with --validation above 0, or leave the option out"
        )
    if config.objective == "rating":
        if dataset.manifest.source.get("implicit"):
            raise UserError(
                f"{dataset.directory} was prepared with --implicit and has no ratings to predict: "
                "train with --objective ranking"
            )
        if has_no_ratings(dataset.manifest):
            raise UserError(
                f"{dataset.directory} was prepared for ranking (--protocol {protocol}) and holds out no ratings: "
                "run gnnrec prepare with --protocol random, or train with --objective ranking"
            )
        return config
    ranking = config.ranking
    require_counts(dataset, ranking.count_confidence)
    if ranking.start == "closed_form" and dataset.num_movies > ranking.closed_form_movies:
        world.log(
            f"{dataset.num_movies:,} movies are more than --ranking.closed-form-movies "
            f"{ranking.closed_form_movies:,}: training starts from random tables"
        )
        ranking = dataclasses.replace(ranking, start="random")
    if ranking.dropout is None:
        ranking = dataclasses.replace(ranking, dropout=_DROPOUT[ranking.start])
    relevant = relevance(dataset.manifest)
    ranking = dataclasses.replace(ranking, relevant=ranking.relevant if relevant is None else relevant)
    optimizer = config.optimizer.filled(RANKING_DEFAULTS[ranking.start])
    return dataclasses.replace(config, ranking=ranking, optimizer=optimizer)
