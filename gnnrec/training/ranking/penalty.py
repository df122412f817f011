"""L2 of the ranking model, added to gradients after they are summed over ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.models.ranking_model import RankingModel


class TablePenalty:
    """``sum_j c_j |s_j T'|^2 + l2 / movies * (|S|^2 + |T|^2)`` for message embeddings ``s_j`` and target table ``T``.

    ``s_j T'`` is row ``j`` of the item model that the closed form solves for. With its penalty, training continues the
    objective that the start minimizes (except for its number of factors), and the strength chosen on validation stays
    valid; plain L2 on the tables would need another strength.

    Args:
        model: The ranking model, without DDP.
        movie_penalty: ``c``, float ``[movies]``; None omits this term.
        l2: Strength of plain L2.
    """

    def __init__(self, model: RankingModel, movie_penalty: Tensor | None, l2: float):
        self.model, self.movie_penalty, self.rate = model, movie_penalty, 2 * l2 / model.message_embedding.shape[0]

    @torch.no_grad()
    def add_to_gradients(self) -> None:
        """Adds the gradient of the penalty."""
        source, target = self.model.message_embedding, self.model.target
        if self.movie_penalty is not None:
            weighted = source * self.movie_penalty[:, None]
            source.grad.addmm_(weighted, target.T @ target, alpha=2)
            target.grad.addmm_(target, source.T @ weighted, alpha=2)
        if self.rate:
            source.grad.add_(source, alpha=self.rate)
            target.grad.add_(target, alpha=self.rate)
