"""RMSE and MAE over all ranks."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Targets
from gnnrec.graph.partition import Partition
from gnnrec.graph.rank_graph import RankGraph, read_edges
from gnnrec.graph.temporal_bias import TemporalBiasTables
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.rating_model import RatingModel


@dataclasses.dataclass(frozen=True)
class RatingMetrics:
    """Errors of predicted ratings, in rating units.

    Attributes:
        rmse: Root of the mean squared error; None without ratings.
        mae: Mean absolute error; None without ratings.
        count: Ratings, of all ranks.
    """

    rmse: float | None
    mae: float | None
    count: int
    unit: ClassVar[str] = "ratings"

    def figures(self) -> dict[str, float | None]:
        """Metric name -> value, as summaries and trackers store them."""
        return {"rmse": self.rmse, "mae": self.mae}

    @property
    def loss(self) -> float | None:
        """Loss that validation minimizes."""
        return self.rmse

    @property
    def headline(self) -> str:
        return f"RMSE {self.rmse:.4f}"

    def __str__(self) -> str:
        return (
            "no ratings" if self.rmse is None else f"RMSE {self.rmse:.4f}  MAE {self.mae:.4f}  {self.count:,} ratings"
        )


def held_out(
    dataset: PreparedDataset,
    part: Partition,
    split: int,
    world: World,
    dtype: torch.dtype,
    temporal_bias: TemporalBiasTables | None = None,
) -> Targets:
    """Ratings of one split by the users of ``part``, with temporal biases if the tables are given."""
    edges = read_edges(dataset, part, (split,))
    count = max(int(world.all_reduce_scalar(edges.movie.numel())), 1)
    device = world.device
    targets = Targets(edges.user_ptr.to(device), edges.movie.to(device), edges.rating.to(device, dtype), count)
    if temporal_bias is not None:
        targets.temporal_bias = temporal_bias.bias_at(targets.pointer, targets.movie, edges.time.to(device))
    return targets


@torch.no_grad()
def rating_metrics(predicted: Tensor, rating: Tensor, scale: tuple[float, float], world: World) -> RatingMetrics:
    """Metrics of predictions clipped to the rating scale; sums and counts are all-reduced in float64.

    Args:
        predicted: Float ``[ratings of this rank]``.
        rating: Float ``[ratings of this rank]``.
        scale: Lowest and highest rating.
        world: The ranks; every rank calls this.
    """
    error = predicted.clamp(*scale).double() - rating.double()
    sums = torch.stack([error.square().sum(), error.abs().sum(), error.new_tensor(error.numel())])
    square, absolute, count = world.all_reduce_sum_(sums).tolist()
    if count == 0:
        return RatingMetrics(None, None, 0)
    return RatingMetrics((square / count) ** 0.5, absolute / count, int(count))


@torch.no_grad()
def score_split(
    model: RatingModel, embeddings: NodeEmbeddings, dataset: PreparedDataset, graph: RankGraph, split: int
) -> RatingMetrics:
    """Metrics of a model on one split, over all ranks.

    Args:
        model: The replicated part, without DDP.
        embeddings: Exact embeddings of this rank's users and of all movies.
        dataset: Where the held-out ratings are.
        graph: The rank's graph. Every rank calls this.
        split: The split.
    """
    predicted, targets = predict_split(model, embeddings, dataset, graph, split)
    return rating_metrics(predicted, targets.rating, graph.rating_scale, graph.world)


@torch.no_grad()
def predict_split(
    model: RatingModel, embeddings: NodeEmbeddings, dataset: PreparedDataset, graph: RankGraph, split: int
) -> tuple[Tensor, Targets]:
    """Predictions for this rank's ratings of one split, not clipped, float ``[ratings]``, and these ratings.

    Args:
        model: The replicated part, without DDP.
        embeddings: Exact embeddings of this rank's users and of all movies.
        dataset: Where the held-out ratings are.
        graph: The rank's graph. Every rank calls this.
        split: The split.
    """
    targets = held_out(dataset, graph.part, split, graph.world, graph.dtype, embeddings.temporal_bias)
    return model.score(embeddings, targets), targets
