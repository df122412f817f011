"""Counts of a prepared dataset for a plan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gnnrec.data.features.node_features import NODES
from gnnrec.data.prepared import SPLIT_NAMES, TRAIN, PreparedDataset
from gnnrec.data.training_degrees import training_degrees
from gnnrec.distributed.world import World
from gnnrec.graph.options import LoaderOptions
from gnnrec.models.options import ModelOptions
from gnnrec.tools.planning.job import TrainingJob


def movie_bins(seconds: float) -> int:
    """Returns the number of half bins of a movie for ratings over this time span (:mod:`gnnrec.graph.time_bins`)."""
    from gnnrec.graph.time_bins import MOST_MOVIE_BINS, YEAR

    span = int(seconds)
    half = max(YEAR[0], -(-(span + 1) // (MOST_MOVIE_BINS - 1))) // 2
    return span // half + 1


def rated_years(dataset: PreparedDataset) -> float:
    """Returns the share of the half bins of movies that have a training rating."""
    from gnnrec.graph.time_bins import Clock

    dataset.check()
    trained = np.asarray(dataset.split) == TRAIN
    time = torch.from_numpy(np.asarray(dataset.timestamp)[trained])
    clock = Clock.from_times(time, World())
    years = clock.seconds(time) // clock.windows.movie_half_width
    width = clock.windows.num_movie_half_bins
    rated = np.zeros(dataset.num_movies * width, dtype=bool)
    rated[np.asarray(dataset.movie)[trained].astype(np.int64) * width + years.numpy()] = True
    return float(rated.mean())


def job_of_dataset(directory: Path, model: ModelOptions, loader: LoaderOptions, ranks: int) -> TrainingJob:
    """Creates the job of training on a prepared dataset; reads movies, times and splits.

    Args:
        directory: A prepared dataset.
        model: Options of the model.
        loader: Options of the loader.
        ranks: Ranks.

    Raises:
        UserError: Not a prepared dataset.
    """
    dataset = PreparedDataset(directory)
    counts, names = dataset.manifest.split["counts"], set()
    for text in dataset.movies["genres"] if model.genres else []:
        names |= set(text.split("|")) - {"", "(no genres listed)"}
    columns = {}
    for node in NODES:
        features = dataset.features(node) if model.features else None
        columns[node] = 0 if features is None else features.x.shape[1]
        if node == "movie" and features is not None and features.has("genres"):
            names = set()
    bins = 0
    if model.time and dataset.timestamp is not None:
        bins = movie_bins(float(dataset.timestamp.max() - dataset.timestamp.min()))
    users, movies = dataset.num_users, dataset.num_movies
    drawn: dict[str, float | None] = {"movies_drawn": None, "raters_drawn": None}
    if loader.samples:
        of_users, of_movies = training_degrees(dataset)
        if loader.movies_per_user >= 0:
            drawn["movies_drawn"] = float(np.minimum(of_users, loader.movies_per_user).mean())
        if loader.raters_per_movie >= 0:
            drawn["raters_drawn"] = float(np.minimum(of_movies, loader.raters_per_movie).mean())
    return TrainingJob(
        users=users,
        movies=movies,
        ratings=counts[SPLIT_NAMES[TRAIN]],
        ranks=ranks,
        model=model,
        loader=loader,
        levels=len(dataset.manifest.rating["levels"]),
        genres=len(names),
        movie_columns=columns["movie"],
        user_columns=columns["user"],
        movie_bins=bins,
        rated_years=rated_years(dataset) if bins else 0.0,
        movies_drawn=drawn["movies_drawn"],
        raters_drawn=drawn["raters_drawn"],
    )
