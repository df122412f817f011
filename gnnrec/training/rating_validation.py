"""Validations of a rating model, with what they have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from gnnrec.baselines.means import bias_predictor
from gnnrec.data.prepared import VALIDATION, PreparedDataset
from gnnrec.evaluation.rating import RatingMetrics, held_out, model_metrics, squared_error_by_user
from gnnrec.graph.batch import Batch, Targets
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.user_chunks import KEPT_RATINGS
from gnnrec.models.cold_movies import DEFAULT_SHARE
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.layerwise import Fit, WholeGraph, embed_all, embed_whole
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.tables import NodeTables
from gnnrec.training.shrinkage import choose_shrinkage


@dataclasses.dataclass(frozen=True)
class Validated:
    """Result of a validation.

    Attributes:
        metrics: RMSE and MAE with the shrinkage.
        shrinkage: The best one, or the given one.
        user_errors: Sums of the squared errors of this rank's users, float64 ``[users]``.
    """

    metrics: RatingMetrics
    shrinkage: float
    user_errors: Tensor


class RatingValidation:
    """Validations of a model in training.

    Statistics of all messages, the held-out ratings and their predictions by biases do not change. They stay in the
    memory of a GPU, about 30 bytes a rating, unless there are many; a CPU reads and computes them again.

    Args:
        model: The replicated part, without DDP.
        users: This rank's user rows.
        dataset: Where the held-out ratings are.
        graph: The rank's graph.
        shrinkage: The shrinkage; None to choose it.
    """

    def __init__(
        self,
        model: RatingModel,
        users: NodeTables,
        dataset: PreparedDataset,
        graph: RankGraph,
        shrinkage: float | None,
    ):
        self.model, self.users, self.dataset, self.graph, self.shrinkage = model, users, dataset, graph, shrinkage
        self._kept: tuple[Targets, Tensor | None] | None = None

    def embed(self, fit: Fit | None = None) -> NodeEmbeddings:
        """Computes exact embeddings of this rank's users and of all movies. Every rank calls this.

        Args:
            fit: See :func:`gnnrec.models.layerwise.embed_all`.
        """
        if not self._keeps:
            return embed_all(self.model, self.users, self.graph, fit=fit)
        return embed_whole(self.model, self.users, self._whole, fit)

    def fit_cold_movies(self) -> None:
        """Fits what features say of movies without ratings, without validation ratings; every rank calls this."""
        if self.model.cold_movies is not None:
            self.embed(lambda embeddings, batch: self._fit_cold(embeddings))

    @torch.no_grad()
    def measure(self) -> Validated:
        """Measures the current weights, with the best shrinkage. Every rank calls this."""
        model, graph = self.model, self.graph
        held_out: list[tuple[Targets, Tensor | None]] = []

        def fit(raw: NodeEmbeddings, batch: Batch) -> None:
            held_out.append(self._kept or self._held_out(raw))
            if model.cold_movies is not None:
                self._fit_cold(raw)
                self._choose_share(raw, batch, held_out[0][0])

        embeddings = self.embed(fit)
        ((targets, biases),) = held_out
        if self._keeps:
            self._kept = targets, biases
        predicted, shrinkage = model.score(embeddings, targets), self.shrinkage or 1.0
        if biases is not None:
            shrinkage = choose_shrinkage(predicted, biases, targets.rating, graph.world)
            predicted = torch.lerp(biases, predicted, shrinkage)
        errors = squared_error_by_user(predicted, targets, graph.rating_unit)
        return Validated(model_metrics(model, predicted, targets, graph, by_user=False), shrinkage, errors)

    @torch.no_grad()
    def _fit_cold(self, embeddings: NodeEmbeddings) -> None:
        model, graph = self.model, self.graph
        assert model.cold_movies is not None and model.movies.x is not None
        model.cold_movies.share.fill_(DEFAULT_SHARE)
        model.cold_movies.fit_embeddings(model.movies.x, model.head, embeddings, graph.movie_degree, graph.world)

    def _choose_share(self, raw: NodeEmbeddings, batch: Batch, targets: Targets) -> None:
        model, graph = self.model, self.graph
        assert model.cold_movies is not None
        cold = graph.movie_degree[targets.movie.long()] == 0

        def predict() -> Tensor:
            return model.score(model.finished(raw, batch), targets)[cold]

        model.cold_movies.choose_share(predict, targets.rating[cold], graph.world)

    def _held_out(self, embeddings: NodeEmbeddings) -> tuple[Targets, Tensor | None]:
        """Returns the validation ratings and, to choose the shrinkage, their predictions by biases."""
        graph = self.graph
        part, world, dtype = graph.part, graph.world, graph.dtype
        targets = held_out(self.dataset, part, VALIDATION, world, dtype, embeddings.temporal_bias)
        return targets, self._biases(targets) if self.shrinkage is None else None

    @cached_property
    def _keeps(self) -> bool:
        """Whether the memory of a GPU keeps what validations have in common, the same on every rank."""
        graph = self.graph
        return graph.device.type != "cpu" and graph.num_edges_global <= KEPT_RATINGS * graph.world.size

    @cached_property
    def _whole(self) -> WholeGraph:
        return WholeGraph.of(self.graph)

    @cached_property
    def _biases(self) -> Callable[[Targets], Tensor]:
        """Predictions by mean and closed-form biases."""
        return bias_predictor(self.graph)
