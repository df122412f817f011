"""A trained rating model, opened for inference."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import PreparedDataset, message_splits
from gnnrec.data.rating_unit import RatingUnit
from gnnrec.distributed.world import World
from gnnrec.evaluation.rating import RatingMetrics, score_split
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.user_chunks import UserChunks
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.rating_encoder import RatingEncoder
from gnnrec.inference.user_rows import UserRows
from gnnrec.models import layer_file
from gnnrec.models.build import build_replicated, mean_degrees
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.head import DotHead
from gnnrec.models.layerwise import embed_all
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.row_memory import row_memory
from gnnrec.models.tables import NodeTables
from gnnrec.training.checkpoint.info import CheckpointInfo
from gnnrec.training.checkpoint.read import load_model, load_users


class RatingRun(LoadedRun):
    """A rating model."""

    model: RatingModel

    @classmethod
    def load(
        cls, config: TrainConfig, dataset: PreparedDataset, world: World, directory: Path, info: CheckpointInfo
    ) -> RatingRun:
        """Opens a checkpoint."""
        degrees = mean_degrees(dataset, message_splits(config.refit))
        time = config.model.time and dataset.timestamp is not None
        options = layer_file.of_run(config.model, directory.parents[1])
        model = build_replicated(options, dataset, degrees, time, world, config.seed)
        load_model(directory, info, model)
        return cls(config, dataset, world, directory, info, model.eval())

    @property
    def known_splits(self) -> tuple[int, ...]:
        return message_splits(self.config.refit)

    @cached_property
    def graph(self) -> RankGraph:
        """The graph of message edges; every rank accesses this."""
        dtype, time = torch.get_default_dtype(), self.config.model.time
        return build_rank_graph(self.dataset, self.world, message_splits(self.config.refit), dtype, time)

    @cached_property
    def users(self) -> NodeTables:
        """This rank's user rows."""
        memory = row_memory(self.config.user_rows, self.directory.parent)
        users = self.model.user_tables(self.graph, memory)
        load_users(self.directory, self.info, users, self.part)
        return users

    def embed(self, chunk: int = 65536) -> NodeEmbeddings:
        return embed_all(self.model, self.users, self.graph, chunk)

    def encoder(self, chunk: int, state: dict[str, Tensor] | None = None) -> RatingEncoder:
        chunks = UserChunks(self.dataset, self.world, self.known_splits, torch.get_default_dtype(), chunk)
        return RatingEncoder(self.model, UserRows(self.directory, self.info, self.world.device), chunks, state)

    def evaluate(self, split: int, embeddings: NodeEmbeddings) -> RatingMetrics:
        return score_split(self.model, embeddings, self.dataset, self.graph, split)

    @property
    def rating_unit(self) -> RatingUnit:
        """Unit of the ratings of the dataset, which exports and predictions have."""
        return RatingUnit.of(self.dataset.manifest)

    @torch.no_grad()
    def exported_movies(self, vectors: Tensor) -> Tensor:
        head = self.model.head
        return vectors * head.linear.weight * self._head_scale if isinstance(head, DotHead) else vectors

    @property
    def _head_scale(self) -> float:
        """Factor of the head's part of a score, in the unit of the dataset."""
        return self.rating_unit.std * self.model.shrinkage.item()

    def head_arrays(self) -> dict[str, np.ndarray]:
        head = self.model.head
        if isinstance(head, DotHead):
            return {}
        arrays = {name: value.cpu().numpy() for name, value in head.state_dict().items()}
        return arrays | {"out.weight": arrays["out.weight"] * np.float32(self._head_scale)}

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
            "rating_scale": list(self.rating_unit.scale),
            "message_splits": {False: "train", True: "train and validation", "all": "all"}[self.config.refit],
        }
