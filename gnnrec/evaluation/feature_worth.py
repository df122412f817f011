"""Worth of features: how much the error on validation grows if a column belongs to other nodes.

Breiman, "Random forests" (Machine Learning 2001), section 10.
"""

from __future__ import annotations

import numpy as np
import torch

from gnnrec import rng
from gnnrec.data.features.node_features import NODES
from gnnrec.data.prepared import SPLIT_NAMES, VALIDATION, PreparedDataset
from gnnrec.evaluation.rating import score_split
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.models.layerwise import embed_all
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.tables import NodeTables

#: Shuffles of a column.
SHUFFLES = 3
#: Most ratings that are read for all shuffles together.
MOST_RATINGS = 30_000_000


@torch.no_grad()
def feature_worth(
    model: RatingModel, users: NodeTables, graph: RankGraph, dataset: PreparedDataset
) -> dict[str, dict[str, dict[str, float]]]:
    """Shuffles the rows of each column of the files among all users or movies, in embeddings of all nodes.

    A column of a file is a group of columns of the features. The shuffles are the same in every run and on any number
    of ranks.

    Args:
        model: The replicated part, without DDP.
        users: This rank's user rows.
        graph: The rank's graph. Every rank calls this.
        dataset: Where the validation ratings are.

    Returns:
        ``movie`` and ``user`` -> name of a column -> ``rmse_change``, the mean growth of the RMSE without time on
        validation over :data:`SHUFFLES` shuffles, and ``deviation``, their standard deviation. Empty without features,
        without validation ratings, and where shuffles would read more than :data:`MOST_RATINGS` ratings.
    """
    world = graph.world
    tables = {"movie": model.movies, "user": users}
    groups = [
        (node, group)
        for node in reversed(NODES)
        if getattr(tables[node], "x", None) is not None and (features := dataset.features(node)) is not None
        for group in features.schema
    ]
    if not groups or not dataset.manifest.split["counts"][SPLIT_NAMES[VALIDATION]]:
        return {}
    if SHUFFLES * len(groups) * dataset.num_ratings > MOST_RATINGS:
        world.log(f"the worth of features is left out: {len(groups)} columns for {dataset.num_ratings:,} ratings")
        return {}

    def error() -> float:
        world.check_stop()
        embeddings = embed_all(model, users, graph, temporal_bias=False)
        return score_split(model, embeddings, dataset, graph, VALIDATION).rmse_without_time or 0.0

    before, worth = error(), dict[str, dict[str, dict[str, float]]]()
    for node, group in groups:
        x = tables[node].x
        assert x is not None
        kept = x[:, group.slice].clone()
        # Users are those of all ranks, in the order of their rows.
        every = torch.cat(world.all_gather_objects(kept.cpu())) if node == "user" else kept
        own = slice(graph.part.start, graph.part.stop) if node == "user" else slice(None)
        changes = []
        try:
            for shuffle in range(SHUFFLES):
                stream = rng.key(0, "feature worth", node, group.name, shuffle)
                order = rng.permutation(stream, torch.arange(len(every), device=every.device))
                x[:, group.slice] = every[order[own]].to(x.device)
                changes.append(error() - before)
        finally:
            x[:, group.slice] = kept
        found = {"rmse_change": float(np.mean(changes)), "deviation": float(np.std(changes, ddof=1))}
        worth.setdefault(node, {})[group.name] = found
    return worth
