"""Coupled L2, added to gradients after they are summed over ranks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gnnrec.config.training_options import RegularizationOptions
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.tables import NodeTables


class CoupledL2:
    """Adds the derivative of ``sum over rows of strength_row * |row|^2`` to gradients.

    Args:
        options: Strengths.
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
        self.options, self.ratings = options, max(graph.num_edges_global, 1)
        self.terms: list[tuple[nn.Parameter, Tensor]] = []
        self._add_tables(dict(users.named_parameters(recurse=False)), graph.user_degree, inclusion_probability)
        self._add_tables(dict(model.movies.named_parameters(recurse=False)), graph.movie_degree)
        if model.genres is not None:
            members = (model.genres.membership > 0).to(torch.float64)
            self._add_tables(dict(model.genres.tables.items()), graph.movie_degree.to(torch.float64) @ members)
        level_counts = torch.bincount(graph.level, minlength=graph.num_levels)
        level_counts = graph.world.all_reduce_sum_(level_counts)
        for name, parameter in model.named_parameters():
            if name.rsplit(".", 1)[-1] == "rating":
                self._add(parameter, options.messages, level_counts)

    def _add_tables(
        self, tables: dict[str, nn.Parameter], degree: Tensor, inclusion_probability: Tensor | None = None
    ) -> None:
        strengths = {"id_embedding": self.options.ids, "bias": self.options.biases}
        for name, parameter in tables.items():
            self._add(parameter, strengths.get(name, self.options.messages), degree, inclusion_probability)

    def _add(
        self, parameter: nn.Parameter, strength: float, degree: Tensor, inclusion_probability: Tensor | None = None
    ) -> None:
        if strength <= 0:
            return
        rows = strength / self.ratings * degree.clamp(min=1).to(torch.float64) ** self.options.degree_power
        rows = (rows if inclusion_probability is None else rows / inclusion_probability).to(parameter)
        self.terms.append((parameter, rows if parameter.dim() == 1 else rows.unsqueeze(1)))

    @torch.no_grad()
    def add_to_gradients(self) -> None:
        """Adds ``2 * strength_row * row`` to each gradient, in sparse ones to their stored rows."""
        for parameter, strength in self.terms:
            if parameter.grad.is_sparse:
                parameter.grad = gradient = parameter.grad.coalesce()
                rows = gradient.indices()[0]
                gradient.values().addcmul_(parameter[rows], strength[rows], value=2)
            else:
                parameter.grad.addcmul_(parameter, strength, value=2)
