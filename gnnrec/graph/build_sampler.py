"""Chooses how the steps of a run sample, from the options of the loader."""

from __future__ import annotations

from gnnrec.graph.options import LoaderOptions
from gnnrec.graph.pyg_sampler import PyGSampler
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.sampler import BipartiteSampler


def build_sampler(
    options: LoaderOptions, graph: RankGraph, hops: int, seed: int, fetched_rows: bool = False
) -> BipartiteSampler | PyGSampler | None:
    """Builds the sampler of these options.

    Args:
        options: The options.
        graph: The rank's graph.
        hops: Layers of the model.
        seed: Seed of the run.
        fetched_rows: User rows are fetched from the host, which then needs to know the users of a batch.

    Returns:
        The sampler; None for whole neighborhoods of all users.
    """
    if not options.samples:
        return None
    arguments = graph, seed, options.movies_per_user, options.raters_per_movie, hops
    if options.sampler == "pyg":
        return PyGSampler(*arguments)
    return BipartiteSampler(*arguments, slots=graph.device.type != "cpu" and not fetched_rows)


def exchanges_used_movies(options: LoaderOptions, graph: RankGraph, hops: int) -> bool:
    """Whether ranks exchange only the rows of movies that a step uses (``loader.movie_rows``), equal on all ranks."""
    if options.movie_rows != "auto" or not options.samples:
        return options.movie_rows == "active" and options.samples
    if hops > 1 or options.sampler != "builtin":  # raters are sampled for all movies, so that most are used
        return False
    users = min(options.seed_users or graph.num_users_global, graph.num_users_global)
    user_degree = graph.mean_degrees[0]
    sent = user_degree if options.movies_per_user < 0 else min(options.movies_per_user, user_degree)
    targets = user_degree / options.folds
    return users * (sent + targets) < graph.num_movies / 2
