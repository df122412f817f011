"""Coupled L2, added to gradients after they are summed over ranks."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from gnnrec.config.training_options import RegularizationOptions
from gnnrec.distributed.world import World
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.kernels.updates import add_row_penalties
from gnnrec.models.features import FeatureMap, column_sums
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.tables import NodeTables

#: Highest factor of L2 on sparse ratings.
MOST_SPARSE_FACTOR = 3.0


class CoupledL2:
    """Adds the derivative of ``sum over rows of strength_row * |row|^2`` to gradients.

    Args:
        options: Strengths; those of ids and messages are multiplied by :func:`sparse_factor`.
        graph: The rank's graph: degrees and the number of training ratings.
        model: The replicated part.
        users: This rank's user rows.
        inclusion_probability: Probability that a step visits each of this rank's users, float64 ``[users]``, where
            gradients of user rows are sparse; their L2 is then divided by it.
    """

    def __init__(
        self,
        options: RegularizationOptions,
        graph: RankGraph,
        model: RatingModel,
        users: NodeTables,
        inclusion_probability: Tensor | None = None,
    ):
        factor = sparse_factor(options, graph)
        self.options = dataclasses.replace(options, ids=factor * options.ids, messages=factor * options.messages)
        self.ratings = max(graph.num_edges_global, 1)
        self.terms: list[tuple[nn.Parameter, Tensor]] = []
        user_degree, movie_degree = graph.user_degree.double(), graph.movie_degree.double()
        layer = model.encoder.layers[0] if len(model.encoder.layers) else None
        user_weight = None if layer is None else layer.to_movies.sender_weight(user_degree).square()
        movie_weight = None if layer is None else layer.to_users.sender_weight(movie_degree).square()
        self._add_tables(dict(users.named_parameters(recurse=False)), user_degree, user_weight, inclusion_probability)
        self._add_tables(dict(model.movies.named_parameters(recurse=False)), movie_degree, movie_weight)
        if model.genres is not None:
            self._add_features(model.genres, model.genres.x, movie_degree, movie_weight)
        if model.movie_features is not None:
            self._add_features(model.movie_features, model.movies.x, movie_degree, movie_weight)
        if model.user_features is not None:
            self._add_features(model.user_features, users.x, user_degree, user_weight, graph.world)
        level_counts = torch.bincount(graph.level, minlength=graph.num_levels)
        level_counts = graph.world.all_reduce_sum_(level_counts)
        for name, parameter in model.named_parameters():
            if name.rsplit(".", 1)[-1] == "rating":
                self._add(parameter, self.options.messages, level_counts)

    def _add_tables(
        self,
        tables: dict[str, nn.Parameter],
        degree: Tensor,
        message_weight: Tensor | None,
        inclusion_probability: Tensor | None = None,
    ) -> None:
        strengths = {"id_embedding": self.options.ids, "bias": self.options.biases}
        for name, parameter in tables.items():
            if name in strengths:
                self._add(parameter, strengths[name], degree, None, inclusion_probability)
            else:
                self._add(parameter, self.options.messages, degree, message_weight, inclusion_probability)

    def _add_features(
        self, features: FeatureMap, x: Tensor, degree: Tensor, message_weight: Tensor | None, world: World | None = None
    ) -> None:
        """Adds weights of features: a column has the ratings of the nodes where it is not zero, and sends for them."""
        sent = degree if message_weight is None else message_weight * degree
        ratings, weighted = column_sums(x, degree, sent)
        if world is not None:
            ratings, weighted = world.all_reduce_sum_(torch.stack([ratings, weighted]))
        weight = None if message_weight is None else weighted / ratings.clamp(min=1)
        self._add_tables(dict(features.tables.items()), ratings, weight)

    def _add(
        self,
        parameter: nn.Parameter,
        strength: float,
        degree: Tensor,
        weight: Tensor | None = None,
        inclusion_probability: Tensor | None = None,
    ) -> None:
        if strength <= 0:
            return
        rows = strength / self.ratings * degree.double().clamp(min=1) ** self.options.degree_power
        rows = rows if weight is None else rows * weight
        rows = (rows if inclusion_probability is None else rows / inclusion_probability).to(parameter)
        self.terms.append((parameter, rows if parameter.dim() == 1 else rows.unsqueeze(1)))

    @torch.no_grad()
    def add_to_gradients(self) -> None:
        """Adds ``2 * strength_row * row`` to each gradient, in sparse ones to their stored rows."""
        dense = [(parameter, strength) for parameter, strength in self.terms if not parameter.grad.is_sparse]
        add_row_penalties(
            [parameter.grad for parameter, _ in dense],
            [parameter.detach() for parameter, _ in dense],
            [strength for _, strength in dense],
        )
        for parameter, strength in self.terms:
            if parameter.grad.is_sparse:
                parameter.grad = gradient = parameter.grad.coalesce()
                rows = gradient.indices()[0]
                gradient.values().addcmul_(parameter[rows], strength[rows], value=2)


def sparse_factor(options: RegularizationOptions, graph: RankGraph) -> float:
    """Factor of the L2 of ids and messages where ratings are few.

    It is ``sparse_degree / mean degree``, from 1 to :data:`MOST_SPARSE_FACTOR`; the mean degree is the number of
    training ratings per user or movie that has any. Every rank calls this.
    """
    rated = int(graph.world.all_reduce_scalar(int((graph.user_degree > 0).sum()))) + int((graph.movie_degree > 0).sum())
    mean_degree = 2 * graph.num_edges_global / max(rated, 1)
    return min(max(options.sparse_degree / max(mean_degree, 1.0), 1.0), MOST_SPARSE_FACTOR)
