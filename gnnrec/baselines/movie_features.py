"""Features of movies for baselines: all columns, and the categories among them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.data.features.node_features import NodeFeatures
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from gnnrec.models.neighbors import ROUNDED


def movie_features(dataset: PreparedDataset, baseline: str) -> NodeFeatures:
    """Returns the features of movies.

    Args:
        dataset: The prepared dataset.
        baseline: Name of the baseline, for the message.

    Raises:
        UserError: There are none.
    """
    features = dataset.features("movie")
    if features is None:
        raise UserError(f"baseline {baseline}: {dataset.directory} has no features of movies: leave it out")
    return features


def feature_matrix(features: NodeFeatures, device: torch.device) -> Tensor:
    """Reads all columns, float64 ``[movies, columns]``."""
    return torch.from_numpy(features.read()).double().to(device)


def has_categories(features: NodeFeatures) -> bool:
    """Returns whether categories have columns of their own."""
    return bool(_category_columns(features))


def category_shares(features: NodeFeatures, device: torch.device) -> Tensor:
    """Computes the share of each category among those of a movie, float64 ``[movies, categories]``.

    A row sums to one, or to zero for movies without categories.
    """
    columns = np.array(_category_columns(features), np.int64)
    member = torch.from_numpy(features.read()[:, columns] > 0).double().to(device)
    return member / member.sum(1, keepdim=True).clamp(min=1)


def ranked_movies(dataset: PreparedDataset, trained: Tensor) -> Tensor:
    """Returns the movies that are predicted, int64 rows: with ``cold-movies`` those without training ratings, else all.

    Args:
        dataset: The prepared dataset.
        trained: Movies with training ratings, bool ``[movies]``.
    """
    of_cold = dataset.manifest.split["protocol"] == "cold-movies"
    return (~trained if of_cold else torch.ones_like(trained)).nonzero().squeeze(1)


def feature_neighbors(x: Tensor, trained: Tensor, wanted: Tensor, neighbors: int) -> Tensor:
    """Computes cosine similarities of movies to the nearest movies with training ratings, negative ones as zero.

    Args:
        x: Features, float ``[movies, columns]``.
        trained: Movies with training ratings, bool ``[movies]``.
        wanted: Rows of the movies, int64 ``[n]``.
        neighbors: Nearest movies of a movie that count.

    Returns:
        float32 ``[movies, n]``: column ``j`` has the neighbors of movie ``wanted[j]``, without itself.
    """
    unit = torch.nn.functional.normalize(x, dim=1).float()
    similarity = (unit[wanted] @ unit.T).clamp_(min=0)
    similarity[:, ~trained] = 0
    similarity.scatter_(1, wanted[:, None], 0)
    if neighbors < similarity.shape[1]:
        lowest = similarity.topk(neighbors, 1).values[:, -1:]
        similarity.masked_fill_(similarity < lowest * (1 - ROUNDED), 0)
    return similarity.T.contiguous()


def _category_columns(features: NodeFeatures) -> list[int]:
    """Columns of categories and of lists that are not reduced, those of rare ones included, those for missing not."""
    columns: list[int] = []
    for group in features.schema:
        if group.kind in ("category", "list") and "categories" in group.details and "weights" not in group.details:
            columns += range(group.first, group.first + group.columns - bool(group.details.get("missing")))
    return columns
