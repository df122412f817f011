"""What inference asks of a trained run, whatever its objective."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.metrics import Metrics
from gnnrec.graph.partition import Partition, partition
from gnnrec.inference.user_encoder import UserEncoder
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.training.checkpoint.info import CheckpointInfo


@dataclasses.dataclass
class LoadedRun:
    """A trained model on this rank's part of its dataset.

    Attributes:
        config: The run's configuration.
        dataset: The prepared dataset.
        world: The ranks.
        directory: The checkpoint.
        info: Its description.
        model: The replicated part.
        score_name: What a score is: ``rating`` or ``score``.
    """

    config: TrainConfig
    dataset: PreparedDataset
    world: World
    directory: Path
    info: CheckpointInfo
    model: nn.Module
    score_name: ClassVar[str]

    @classmethod
    def load(
        cls, config: TrainConfig, dataset: PreparedDataset, world: World, directory: Path, info: CheckpointInfo
    ) -> LoadedRun:
        """Opens a checkpoint."""
        raise NotImplementedError

    @property
    def part(self) -> Partition:
        """The users of this rank."""
        return partition(self.dataset.manifest.shards, self.world.rank, self.world.size)

    @property
    def known_splits(self) -> tuple[int, ...]:
        """Splits whose ratings users are known by."""
        raise NotImplementedError

    def embed(self, chunk: int = 65536) -> NodeEmbeddings:
        """Exact embeddings of this rank's users and of all movies.

        Args:
            chunk: Users whose messages are worked on at a time.
        """
        raise NotImplementedError

    def encoder(self, chunk: int, state: dict[str, Tensor] | None = None) -> UserEncoder:
        """Embeds any users, a range at a time, in memory that does not grow with users.

        Args:
            chunk: Users whose ratings are in memory at a time.
            state: Of an encoder of the same run; None looks at all users, and every rank calls this.
        """
        raise NotImplementedError

    def evaluate(self, split: int, embeddings: NodeEmbeddings) -> Metrics:
        """Metrics on one split, over all ranks."""
        raise NotImplementedError

    def user_scores(self, embeddings: NodeEmbeddings, row: int) -> Tensor:
        """Scores of all movies for one user of this rank (local row), float ``[movies]``: more is better."""
        raise NotImplementedError

    def shown(self, scores: Tensor) -> Tensor:
        """Scores as users see them."""
        return scores

    def exported_movies(self, vectors: Tensor) -> Tensor:
        """Movie vectors as they are exported, float ``[movies, dim]``: weights of a linear head are in them."""
        return vectors

    def head_arrays(self) -> dict[str, np.ndarray]:
        """Weights that an export needs beside its vectors, by name."""
        return {}

    def scoring(self) -> dict:
        """How an export scores a pair, for its manifest."""
        raise NotImplementedError
