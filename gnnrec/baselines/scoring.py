"""Metrics of fitted rating predictors on any split."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from gnnrec.baselines.baseline import Fitted
from gnnrec.data.prepared import PreparedDataset
from gnnrec.evaluation.rating import RatingMetrics, held_out, rating_metrics
from gnnrec.graph.batch import Targets
from gnnrec.graph.rank_graph import RankGraph


def fitted_ratings(
    dataset: PreparedDataset, graph: RankGraph, predict: Callable[[Targets], Tensor], chosen: dict | None = None
) -> Fitted:
    """A fitted baseline that predicts ratings.

    Args:
        dataset: Dataset of the held-out ratings.
        graph: The rank's graph that the baseline was fitted on.
        predict: Held-out ratings of this rank's users -> standardized predictions, not clipped, float ``[targets]``.
        chosen: Settings that the fit chose on validation.
    """

    def metrics(split: int) -> RatingMetrics:
        targets = held_out(dataset, graph.part, split, graph.world, graph.dtype)
        predicted = predict(targets)
        return rating_metrics(predicted, targets.rating, graph.rating_unit, graph.world, None, targets.pointer)

    return Fitted(metrics, chosen or {})
