"""Interface of a trained run for inference, the same for both objectives."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.blocks import user_blocks
from gnnrec.data.features.new_movies import NewMovies
from gnnrec.data.features.node_features import NodeFeatures
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.evaluation.metrics import Metrics
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.graph.partition import Partition, partition
from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.inference.user_encoder import UserEncoder, Vectors
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.training.checkpoint.info import CheckpointInfo
from gnnrec.training.checkpoint.opened import OpenedCheckpoint

#: Ratings that are read at a time.
_BLOCK = 1 << 20


@dataclasses.dataclass
class LoadedRun:
    """A trained model on this rank's part of its dataset.

    Attributes:
        config: The run's configuration.
        dataset: The prepared dataset.
        world: The ranks.
        checkpoint: The checkpoint.
        model: Parameters that are replicated on all ranks.
    """

    config: TrainConfig
    dataset: PreparedDataset
    world: World
    checkpoint: OpenedCheckpoint
    model: nn.Module

    @classmethod
    def load(
        cls, config: TrainConfig, dataset: PreparedDataset, world: World, checkpoint: OpenedCheckpoint
    ) -> LoadedRun:
        """Opens a checkpoint."""
        raise NotImplementedError

    @property
    def directory(self) -> Path:
        """Directory of the checkpoint, which training may have removed."""
        return self.checkpoint.directory

    @property
    def info(self) -> CheckpointInfo:
        """Description of the checkpoint."""
        return self.checkpoint.info

    @property
    def part(self) -> Partition:
        """The users of this rank."""
        return partition(self.dataset.manifest.shards, self.world.rank, self.world.size)

    @property
    def known_splits(self) -> tuple[int, ...]:
        """Splits whose ratings a user is embedded from."""
        raise NotImplementedError

    @cached_property
    def cold(self) -> np.ndarray:
        """Movies that the model was trained without ratings of, bool ``[movies]``; reads all ratings once."""
        return MovieCatalog(self.dataset).unrated(self.known_splits)

    def embed(self, chunk: int = 65536) -> NodeEmbeddings:
        """Exact embeddings of this rank's users and of all movies.

        Args:
            chunk: Users processed at a time.
        """
        raise NotImplementedError

    def encoder(self, chunk: int, state: dict[str, Tensor] | None = None) -> UserEncoder:
        """Returns an encoder that embeds ranges of users in memory independent of the number of users.

        Args:
            chunk: Users whose ratings are in memory at a time.
            state: State of an encoder of the same run; None reads all users, and every rank calls this.
        """
        raise NotImplementedError

    def evaluate(self, split: int, embeddings: NodeEmbeddings, lengths: tuple[int, ...] = ()) -> Metrics:
        """Returns metrics on one split, over all ranks.

        Args:
            split: VALIDATION or TEST.
            embeddings: Those of :meth:`embed`.
            lengths: Lengths of lists at which rankings have further metrics.
        """
        raise NotImplementedError

    def evaluate_lists(
        self, split: int, embeddings: NodeEmbeddings, lengths: tuple[int, ...] = ()
    ) -> RankingMetrics | None:
        """Returns metrics of the lists of a rating model on one split, over all ranks; None for other models.

        Arguments are those of :meth:`evaluate`.
        """
        return None

    @property
    def movie_features(self) -> NodeFeatures | None:
        """Features of movies that the model uses; None without."""
        return None

    @property
    def user_features(self) -> NodeFeatures | None:
        """Features of users that the model uses; None without."""
        return None

    def require_user_features(self, files: list[str] | tuple[str, ...]) -> None:
        """Raises a :class:`UserError` if there are files with features of users that the model does not use."""
        if files and self.user_features is None:
            raise UserError(
                f"--user-features {files[0]}: this model knows no features of users: train a rating model on a dataset "
                "that was prepared with --user-features"
            )

    @cached_property
    def cold_users(self) -> np.ndarray:
        """Users that the model was trained without ratings of, bool ``[users]``; reads the splits of all ratings."""
        pointer, split = self.dataset.user_ptr, self.dataset.split
        cold = np.ones(self.dataset.num_users, bool)
        for first, end in user_blocks(pointer, _BLOCK):
            own = np.asarray(pointer[first : end + 1])
            known = np.isin(split[own[0] : own[-1]], self.known_splits)
            cold[first:end] = np.diff(np.append(0, np.cumsum(known))[own - own[0]]) == 0
        return cold

    def embed_new_movies(self, movies: NewMovies, encoder: UserEncoder) -> Vectors:
        """Embeds movies that are not in the dataset, from their features alone; no collective.

        Only models with :attr:`movie_features` can do so.

        Args:
            movies: The movies.
            encoder: Encoder of this run.
        """
        raise NotImplementedError

    def exported_movies(self, vectors: Tensor) -> Tensor:
        """Returns movie vectors for export, float ``[movies, dim]``, multiplied with the weights of a linear head."""
        return vectors

    def head_arrays(self) -> dict[str, np.ndarray]:
        """Returns further weights for the export, by name."""
        return {}

    @property
    def interest_fingerprint(self) -> str | None:
        """SHA-256 of what vectors depend on besides the model: interest, or the order of likes; None without."""
        return None

    def scoring(self) -> dict:
        """Returns the manifest entries about scoring a pair."""
        raise NotImplementedError
