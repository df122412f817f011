"""A model for a graph."""

from __future__ import annotations

from gnnrec.data.prepared import PreparedDataset
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.models.options import ModelOptions
from gnnrec.models.rating_model import RatingModel, genre_membership
from gnnrec.models.tables import NodeTables


def build_model(
    options: ModelOptions, graph: RankGraph, dataset: PreparedDataset, seed: int
) -> tuple[RatingModel, NodeTables]:
    """The replicated part and this rank's user rows, on the graph's device, at their initial values.

    Args:
        options: The model's options.
        graph: The rank's graph.
        dataset: Where genres come from.
        seed: Seed of the run.
    """
    genres = genre_membership(list(dataset.movies["genres"])) if options.genres else None
    genres = genres if genres is None else genres.to(graph.device)
    model = RatingModel(
        options, graph.num_movies, graph.num_levels, graph.mean_degrees, graph.world, seed, genres,
        time=graph.clock is not None,
    )  # fmt: skip
    model = model.to(graph.device)
    return model, model.user_tables(graph)
