"""A trained ranking model, opened for inference."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.evaluation.ranking_split import known_splits, read_ranking_split
from gnnrec.graph.interactions import read_interactions
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.ranking_encoder import RankingEncoder
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.ranking_model import RankingModel
from gnnrec.training.checkpoint.info import CheckpointInfo
from gnnrec.training.checkpoint.read import load_model


@dataclasses.dataclass
class RankingRun(LoadedRun):
    """A ranking model. Users are embedded from all their known relevant ratings."""

    model: RankingModel

    @classmethod
    def load(
        cls, config: TrainConfig, dataset: PreparedDataset, world: World, directory: Path, info: CheckpointInfo
    ) -> RankingRun:
        """Opens a checkpoint."""
        popularity = torch.zeros(dataset.num_movies, device=world.device)  # the checkpoint has it
        model = RankingModel(config.ranking, popularity, config.seed).to(world.device)
        load_model(directory, info, model)
        return cls(config, dataset, world, directory, info, model.eval())

    @property
    def known_splits(self) -> tuple[int, ...]:
        return known_splits(self.config.refit)

    def encoder(self, chunk: int, state: dict[str, Tensor] | None = None) -> RankingEncoder:
        return RankingEncoder(self.model, self.dataset, self.known_splits, self.config.ranking.relevant, chunk)

    def embed(self, chunk: int = 65536) -> NodeEmbeddings:
        relevant, device = self.config.ranking.relevant, self.world.device
        return self.model.embed(read_interactions(self.dataset, self.part, self.known_splits, relevant, device))

    def evaluate(self, split: int, embeddings: NodeEmbeddings) -> RankingMetrics:
        held_out = read_ranking_split(self.dataset, self.world, split, self.config.ranking.relevant)
        return held_out.evaluate(self.model.message_embedding.detach(), embeddings.movie)

    def scoring(self) -> dict:
        return {
            "head": "dot",
            "score": "dot(user.embedding, movie.embedding)",
            "relevant": self.config.ranking.relevant,
            "popularity_discount": round(float(self.model.popularity_exponent), 6),
            "message_splits": "all" if self.config.refit == "all" else "all but test",
        }
