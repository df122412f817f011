"""What inference asks of a trained run, whatever its objective."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from gnnrec.config import TrainConfig
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed import World
from gnnrec.evaluation.metrics import Metrics
from gnnrec.graph.partition import Partition
from gnnrec.models.embeddings import Embeddings
from gnnrec.models.tables import NodeTables, NoTables
from gnnrec.training.checkpoint import CheckpointInfo


@dataclasses.dataclass
class LoadedRun:
    """A trained model on this rank's part of its dataset.

    Attributes:
        config: The run's configuration.
        dataset: The prepared dataset.
        world: The ranks.
        part: The users of this rank.
        model: The replicated part.
        users: This rank's user rows.
        info: The checkpoint.
        score_name: What a score is: ``rating`` or ``score``.
    """

    config: TrainConfig
    dataset: PreparedDataset
    world: World
    part: Partition
    model: nn.Module
    users: NodeTables | NoTables
    info: CheckpointInfo
    score_name: ClassVar[str]

    def embed(self, chunk: int = 65536) -> Embeddings:
        """Exact embeddings of this rank's users and of all movies.

        Args:
            chunk: Users whose messages are worked on at a time.
        """
        raise NotImplementedError

    def evaluate(self, split: int, embeddings: Embeddings) -> Metrics:
        """Metrics on one split, over all ranks."""
        raise NotImplementedError

    def user_scores(self, embeddings: Embeddings, row: int) -> Tensor:
        """Scores of all movies for one user of this rank (local row), float ``[movies]``: more is better."""
        raise NotImplementedError

    def shown(self, scores: Tensor) -> Tensor:
        """Scores as users see them."""
        return scores

    def export_movies(self, embeddings: Embeddings, directory: Path) -> Tensor:
        """Movie vectors as they are exported, float ``[movies, dim]``; other weights go into ``directory``."""
        return embeddings.movie

    def scoring(self) -> dict:
        """How an export scores a pair, for its manifest."""
        raise NotImplementedError
