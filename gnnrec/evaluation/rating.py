"""RMSE and MAE over all ranks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.rating_unit import RatingUnit
from gnnrec.distributed.world import World
from gnnrec.evaluation.user_sums import UserSums
from gnnrec.graph.batch import Targets
from gnnrec.graph.dataset_edges import read_edges
from gnnrec.graph.partition import Partition
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.temporal_bias import TemporalBiasTables
from gnnrec.kernels.ragged import segment_sum
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.rating_model import RatingModel


@dataclasses.dataclass(frozen=True)
class RatingMetrics:
    """Errors of predicted ratings, in rating units.

    Attributes:
        rmse: Root of the mean squared error; None without ratings.
        mae: Mean absolute error; None without ratings.
        rmse_without_time: RMSE of predictions that do not use the times of the ratings, like those of exported vectors.
        mae_without_time: Their mean absolute error.
        count: Ratings, of all ranks.
        sums_by_user: Computes :attr:`by_user`; None if there are none.
    """

    rmse: float | None
    mae: float | None
    rmse_without_time: float | None
    mae_without_time: float | None
    count: int
    sums_by_user: Callable[[], UserSums] | None = dataclasses.field(default=None, repr=False, compare=False)
    unit: ClassVar[str] = "ratings"

    @cached_property
    def by_user(self) -> UserSums | None:
        """Sums of this rank's users, by local rows; the host waits for the device when they are first read."""
        return None if self.sums_by_user is None else self.sums_by_user()

    def figures(self) -> dict[str, float | None]:
        """Metric name -> value, as summaries and trackers store them."""
        return {name: getattr(self, name) for name in ("rmse", "mae", "rmse_without_time", "mae_without_time")}

    @property
    def loss(self) -> float | None:
        """Loss that validation minimizes: the error of what is exported and served, which knows no time."""
        return self.rmse_without_time

    @property
    def headline(self) -> str:
        return f"RMSE {_both(self.rmse_without_time, self.rmse)}"

    def __str__(self) -> str:
        if self.rmse is None:
            return "no ratings"
        return f"{self.headline}  MAE {_both(self.mae_without_time, self.mae)}  {self.count:,} ratings"


def _both(without_time: float | None, with_time: float | None) -> str:
    """Formats an error without the times of ratings and, if it differs, the one with them."""
    return (
        f"{with_time:.4f}" if with_time == without_time else f"{without_time:.4f} without time ({with_time:.4f} with)"
    )


def held_out(
    dataset: PreparedDataset,
    part: Partition,
    split: int,
    world: World,
    dtype: torch.dtype,
    temporal_bias: TemporalBiasTables | None = None,
) -> Targets:
    """Standardized ratings of one split by the users of ``part``, with temporal biases if the tables are given."""
    edges = read_edges(dataset, part, (split,))
    count = max(int(world.all_reduce_scalar(edges.edge_id.numel())), 1)
    device = world.device
    rating = RatingUnit.of(dataset.manifest).standardize_(edges.rating().to(dtype))
    targets = Targets(edges.user_ptr.to(device), edges.movie().to(device), rating.to(device), count)
    if temporal_bias is not None:
        targets.temporal_bias = temporal_bias.bias_at(targets.pointer, targets.movie, edges.time().to(device))
    return targets


@torch.no_grad()
def rating_metrics(
    predicted: Tensor,
    rating: Tensor,
    unit: RatingUnit,
    world: World,
    without_time: Tensor | None = None,
    pointer: Tensor | None = None,
) -> RatingMetrics:
    """Metrics of predictions clipped to the rating scale; sums and counts are all-reduced in float64.

    Args:
        predicted: Standardized, float ``[ratings of this rank]``.
        rating: Standardized, float ``[ratings of this rank]``.
        unit: Unit of the metrics, and the rating scale.
        world: The ranks; every rank calls this.
        without_time: Standardized predictions that do not use times; None if ``predicted`` does not.
        pointer: First rating of each user of this rank, int64 ``[users + 1]``, for sums by user.
    """
    sums = [torch.tensor(float(rating.numel()), dtype=torch.float64, device=rating.device)]
    of_users: list[Tensor] = []
    rating = rating.double()
    for predictions in (predicted,) if without_time is None else (predicted, without_time):
        error = (unit.clip(predictions).double() - rating).mul_(unit.std)
        square, absolute = error.square(), error.abs()
        sums += [square.sum(), absolute.sum()]
        if pointer is not None:
            of_users += [segment_sum(square, pointer), segment_sum(absolute, pointer)]
    count, *errors = world.all_reduce_sum_(torch.stack(sums)).tolist()
    if count == 0:
        return RatingMetrics(None, None, None, None, 0)
    figures = [((square / count) ** 0.5, absolute / count) for square, absolute in zip(errors[::2], errors[1::2])]
    by_user = None if pointer is None else functools.partial(_by_user, pointer, of_users)
    return RatingMetrics(*figures[0], *figures[-1], int(count), by_user)


def _by_user(pointer: Tensor, sums: list[Tensor]) -> UserSums:
    """Sums of the users with ratings: squared and absolute errors, and the same without time if they differ."""
    count = pointer.diff()
    user = count.nonzero().squeeze(1)
    values = [values[user].cpu().numpy() for values in (*sums[:2], *sums[-2:])]
    names = ("rmse", "mae", "rmse_without_time", "mae_without_time")
    return UserSums(user.cpu().numpy(), count[user].double().cpu().numpy(), dict(zip(names, values)))


@torch.no_grad()
def squared_error_by_user(predicted: Tensor, targets: Targets, unit: RatingUnit) -> Tensor:
    """Sums of the squared errors of each user's clipped predictions, standardized, float64 ``[users of this rank]``."""
    error = unit.clip(predicted).double() - targets.rating.double()
    return segment_sum(error.square(), targets.pointer)


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
    return model_metrics(model, *predict_split(model, embeddings, dataset, graph, split), graph)


@torch.no_grad()
def model_metrics(
    model: RatingModel, without_time: Tensor, targets: Targets, graph: RankGraph, by_user: bool = True
) -> RatingMetrics:
    """Metrics of a model from the results of :func:`predict_split`, over all ranks, with sums by user or without."""
    timed = targets.temporal_bias is not None
    predicted = without_time + model.temporal_bias(targets) if timed else without_time
    pointer = targets.pointer if by_user else None
    return rating_metrics(predicted, targets.rating, graph.rating_unit, graph.world, without_time, pointer)


@torch.no_grad()
def predict_split(
    model: RatingModel, embeddings: NodeEmbeddings, dataset: PreparedDataset, graph: RankGraph, split: int
) -> tuple[Tensor, Targets]:
    """Predictions without time for this rank's ratings of one split, and these ratings.

    Args:
        model: The replicated part, without DDP.
        embeddings: Exact embeddings of this rank's users and of all movies.
        dataset: Where the held-out ratings are.
        graph: The rank's graph. Every rank calls this.
        split: The split.

    Returns:
        Standardized predictions, not clipped, float ``[ratings]``, and the ratings, with temporal biases if the
        embeddings have their tables.
    """
    targets = held_out(dataset, graph.part, split, graph.world, graph.dtype, embeddings.temporal_bias)
    return model.score(embeddings, targets), targets
