"""Options of a configuration that depend on the data, resolved before training."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gnnrec.config.train_config import TrainConfig
from gnnrec.config.training_options import RANKING_DEFAULTS
from gnnrec.data.prepared import Manifest, PreparedDataset
from gnnrec.data.split_ranking import RANKING_OPTIONS, has_no_ratings, relevance
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.interactions import require_counts

#: Share of messages that are dropped, by start.
_DROPOUT = {"closed_form": 0.5, "random": 0.7}


def fitting_objective(manifest: Manifest) -> tuple[Literal["rating", "ranking"], str]:
    """Returns the objective that fits a dataset, and the reason in words."""
    protocol, rating = manifest.split["protocol"], manifest.rating
    if manifest.source.get("implicit"):
        return "ranking", "the data are a log without ratings"
    if protocol in RANKING_OPTIONS:
        return "ranking", f"the data were prepared for it (--protocol {protocol})"
    if len(rating["levels"]) < 2:
        return "ranking", f"all ratings are {rating['levels'][0]:g}"
    return "rating", f"there are ratings from {rating['min']:g} to {rating['max']:g}"


def with_objective(config: TrainConfig, dataset: PreparedDataset) -> TrainConfig:
    """Replaces the objective auto by the one that fits the dataset; others do not change.

    Where all ratings are equal, the movies of all of them are liked.
    """
    if config.objective != "auto":
        return config
    objective, _ = fitting_objective(dataset.manifest)
    config = dataclasses.replace(config, objective=objective)
    lowest = dataset.manifest.rating["levels"][0]
    if objective == "ranking" and len(dataset.manifest.rating["levels"]) < 2 and lowest < config.ranking.relevant:
        config = dataclasses.replace(config, ranking=dataclasses.replace(config.ranking, relevant=lowest))
    return config


def log_objective(config: TrainConfig, dataset: PreparedDataset, world: World) -> None:
    """Logs which objective fits the dataset, and why, if the configuration leaves it open."""
    if config.objective == "auto":
        objective, reason = fitting_objective(dataset.manifest)
        other = " (--objective ranking ranks movies instead)" if objective == "rating" else ""
        world.log(f"objective: {objective}, since {reason}{other}")


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
    config = with_objective(config, dataset)
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
