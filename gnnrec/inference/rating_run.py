"""A trained rating model, opened for inference."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from gnnrec.config import TrainConfig
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed import World
from gnnrec.evaluation.rating import RatingMetrics, score_split
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.models.build import build_model
from gnnrec.models.embeddings import Embeddings
from gnnrec.models.head import DotHead
from gnnrec.models.layerwise import embed_all
from gnnrec.training.checkpoint_read import load_checkpoint
from gnnrec.training.rating_trainer import read_graph


@dataclasses.dataclass
class RatingRun(LoadedRun):
    """A rating model.

    Attributes:
        graph: The message edges that it was trained on.
    """

    graph: RankGraph
    score_name: ClassVar[str] = "rating"

    @classmethod
    def load(cls, config: TrainConfig, dataset: PreparedDataset, world: World, checkpoint: Path) -> RatingRun:
        """Opens a checkpoint; every rank calls this."""
        graph = read_graph(config, dataset, world)
        model, users = build_model(config.model, graph, dataset, config.seed)
        info = load_checkpoint(checkpoint, model, users, graph.part)
        return cls(config, dataset, world, graph.part, model.eval(), users, info, graph)

    def embed(self, chunk: int = 65536) -> Embeddings:
        return embed_all(self.model, self.users, self.graph, chunk)

    def evaluate(self, split: int, embeddings: Embeddings) -> RatingMetrics:
        return score_split(self.model, embeddings, self.dataset, self.graph, split)

    @torch.no_grad()
    def user_scores(self, embeddings: Embeddings, row: int) -> Tensor:
        scores = self.model.head.all_movies(embeddings.user[row : row + 1], embeddings.movie)[0]
        return scores + embeddings.user_bias[row] + embeddings.movie_bias + embeddings.offset

    def shown(self, scores: Tensor) -> Tensor:
        return scores.clamp(*self.graph.rating_scale)

    @torch.no_grad()
    def export_movies(self, embeddings: Embeddings, directory: Path) -> Tensor:
        head = self.model.head
        if isinstance(head, DotHead):
            return embeddings.movie * head.linear.weight
        np.savez(directory / "head.npz", **{name: value.cpu().numpy() for name, value in head.state_dict().items()})
        return embeddings.movie

    def scoring(self) -> dict:
        score = "offset + user.bias + movie.bias + dot(user.embedding, movie.embedding)"
        if not isinstance(self.model.head, DotHead):
            score = (
                "offset + user.bias + movie.bias + out_weight @ relu(user_weight @ user.embedding + user_bias"
                " + movie_weight @ movie.embedding), with the arrays of head.npz"
            )
        return {
            "head": self.config.model.head,
            "score": score,
            "rating_scale": list(self.graph.rating_scale),
            "message_splits": "train and validation" if self.config.refit else "train",
        }
