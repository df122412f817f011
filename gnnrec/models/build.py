"""Builds the rating model for a graph."""

from __future__ import annotations

import torch

from gnnrec.data.features.node_features import NODES, Node, NodeFeatures
from gnnrec.data.prepared import SPLIT_NAMES, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.models.features import column_scale, genre_membership
from gnnrec.models.options import ModelOptions
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.row_memory import RowMemory
from gnnrec.models.tables import NodeTables


def build_model(
    options: ModelOptions, graph: RankGraph, dataset: PreparedDataset, seed: int, memory: RowMemory | None = None
) -> tuple[RatingModel, NodeTables]:
    """Builds the replicated part on the graph's device, and this rank's user rows, with initial values.

    Args:
        options: The model's options.
        graph: The rank's graph.
        dataset: The prepared dataset, for genres and features.
        seed: Seed of the run.
        memory: Memory of the user rows; None for the graph's device.
    """
    model = build_replicated(options, dataset, graph.mean_degrees, graph.clock is not None, graph.world, seed)
    of_users, of_movies = (used_features(options, dataset, node) for node in NODES)
    users = model.user_tables(graph, memory, of_users)
    with torch.no_grad():
        if of_movies is not None:
            model.movies.clear_unrated(graph.movie_degree)
            scale = column_scale(model.movies.x, graph.movie_degree, of_movies.schema, World())
            model.movie_features.scale.copy_(scale)
        if of_users is not None:
            users.clear_unrated(graph.user_degree)
            model.user_features.scale.copy_(column_scale(users.x, graph.user_degree, of_users.schema, graph.world))
    return model, users


def used_features(options: ModelOptions, dataset: PreparedDataset, node: Node) -> NodeFeatures | None:
    """Returns the features of users or movies that the model uses; None for none."""
    return dataset.features(node) if options.features else None


def build_replicated(
    options: ModelOptions,
    dataset: PreparedDataset,
    mean_degrees: tuple[float, float],
    time: bool,
    world: World,
    seed: int,
) -> RatingModel:
    """Builds the replicated part alone.

    Args:
        options: The model's options.
        dataset: The prepared dataset, for movies, their genres and features, and rating levels.
        mean_degrees: Mean message edges of a user and of a movie.
        time: Batches have temporal biases.
        world: The ranks.
        seed: Seed of the run.
    """
    users, movies = (used_features(options, dataset, node) for node in NODES)
    movie_x = None if movies is None else torch.from_numpy(movies.read()).to(world.device, torch.get_default_dtype())
    own = movies is not None and movies.has("genres")
    genres = genre_membership(list(dataset.movies["genres"])) if options.genres and not own else None
    genres = genres if genres is None else genres.to(world.device)
    levels = len(dataset.manifest.rating["levels"])
    columns = 0 if users is None else users.x.shape[1]
    schema = () if movies is None else movies.schema
    model = RatingModel(
        options, dataset.num_movies, levels, mean_degrees, world, seed, genres, time, movie_x, schema, columns
    )
    return model.to(world.device)


def mean_degrees(dataset: PreparedDataset, splits: tuple[int, ...]) -> tuple[float, float]:
    """Returns the mean message edges of a user and of a movie if the edges of ``splits`` carry messages."""
    counts = dataset.manifest.split["counts"]
    edges = max(sum(counts[SPLIT_NAMES[split]] for split in splits), 1)
    return edges / dataset.num_users, edges / dataset.num_movies
