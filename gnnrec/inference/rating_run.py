"""A trained rating model, opened for inference."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.features.new_movies import NewMovies
from gnnrec.data.features.node_features import NodeFeatures
from gnnrec.data.prepared import PreparedDataset, message_splits
from gnnrec.data.rating_unit import RatingUnit
from gnnrec.distributed.world import World
from gnnrec.evaluation.lists import RatingLists, list_split
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.evaluation.rating import RatingMetrics, score_split
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.user_chunks import UserChunks
from gnnrec.inference.list_encoder import ListEncoder
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.new_movie_encoder import embed_movies
from gnnrec.inference.rating_encoder import RatingEncoder
from gnnrec.inference.user_encoder import UserEncoder, Vectors
from gnnrec.inference.user_rows import UserRows
from gnnrec.models import layer_file
from gnnrec.models.build import build_replicated, mean_degrees, used_features
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.head import DotHead
from gnnrec.models.interest import Interest
from gnnrec.models.layerwise import embed_all
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.row_memory import row_memory
from gnnrec.models.tables import NodeTables
from gnnrec.training.checkpoint.info import INTEREST, checkpoints
from gnnrec.training.checkpoint.opened import OpenedCheckpoint, open_checkpoint
from gnnrec.training.checkpoint.rows import RowFiles, copy_rows
from gnnrec.training.checkpoint.tensors import check_kinds


@dataclasses.dataclass
class RatingRun(LoadedRun):
    """A rating model.

    Attributes:
        best: The best checkpoint, which has interest once the run has finished; None before the first validation.
    """

    model: RatingModel
    best: OpenedCheckpoint | None = None

    @classmethod
    def load(
        cls, config: TrainConfig, dataset: PreparedDataset, world: World, checkpoint: OpenedCheckpoint
    ) -> RatingRun:
        """Opens a checkpoint."""
        degrees = mean_degrees(dataset, message_splits(config.refit))
        time = config.model.time and dataset.timestamp is not None
        options = layer_file.of_run(config.model, checkpoint.directory.parents[1])
        model = build_replicated(options, dataset, degrees, time, world, config.seed)
        checkpoint.load_model(model)
        best: OpenedCheckpoint | None = checkpoint
        path = checkpoint.directory.parents[1]
        if not checkpoint.directory.name.startswith("best"):
            has_best = world.run_on_rank0(lambda: bool(checkpoints(path, "best")))
            best = open_checkpoint(path, "best", world) if has_best else None
        return cls(config, dataset, world, checkpoint, model.eval(), best)

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
        users = self.model.user_tables(self.graph, memory, self.user_features)
        copy_rows(self._rows.read(self.part, users.memory.host_memory), users)
        return users

    @property
    def _rows(self) -> RowFiles:
        """The user rows of the checkpoint, after a check that they are those of the model."""
        rows = self.checkpoint.users
        rows.check({name: (shape, torch.get_default_dtype()) for name, shape in self.model.user_row_shapes.items()})
        return rows

    def embed(self, chunk: int = 65536) -> NodeEmbeddings:
        return embed_all(self.model, self.users, self.graph, chunk)

    @cached_property
    def interest(self) -> Interest | None:
        """Interest of the run; None without interest."""
        if self.best is None or INTEREST not in self.best.lists:
            return None
        state, path = self.best.lists[INTEREST], self.best.directory / f"{INTEREST}.pt"
        check_kinds(path, state, Interest.kinds(state, self.dataset.num_movies))
        return Interest.of_state(state, self.world.device)

    @property
    def interest_fingerprint(self) -> str | None:
        return None if self.best is None else self.best.info.files.get(f"{INTEREST}.pt")

    def encoder(self, chunk: int, state: dict[str, Tensor] | None = None) -> RatingEncoder | ListEncoder:
        chunks = UserChunks(self.dataset, self.world, self.known_splits, torch.get_default_dtype(), chunk)
        features = self.user_features
        rating = RatingEncoder(self.model, UserRows(self._rows, self.world.device, features), chunks, state)
        if self.interest is None:
            return rating
        return ListEncoder(rating, self.interest, self.dataset, self.known_splits, chunk)

    def evaluate(self, split: int, embeddings: NodeEmbeddings, lengths: tuple[int, ...] = ()) -> RatingMetrics:
        return score_split(self.model, embeddings, self.dataset, self.graph, split)

    def evaluate_lists(
        self, split: int, embeddings: NodeEmbeddings, lengths: tuple[int, ...] = ()
    ) -> RankingMetrics | None:
        config = self.config
        held_out = list_split(self.dataset, self.world, split, config.refit, config.interest, config.seed)
        return RatingLists(self.model, embeddings, self.interest).measure(
            dataclasses.replace(held_out, lengths=lengths)
        )

    @property
    def movie_features(self) -> NodeFeatures | None:
        return used_features(self.config.model, self.dataset, "movie")

    @property
    def user_features(self) -> NodeFeatures | None:
        return used_features(self.config.model, self.dataset, "user")

    @torch.no_grad()
    def embed_new_movies(self, movies: NewMovies, encoder: UserEncoder) -> Vectors:
        vectors = embed_movies(self.model, self.dataset, movies.x, movies.table["genres"].to_pylist())
        if not isinstance(encoder, ListEncoder):
            return vectors
        target = encoder.unknown_target.expand(len(movies), -1)
        return Vectors(torch.cat([vectors.vector, target], 1), vectors.bias)

    @property
    def rating_unit(self) -> RatingUnit:
        """Unit of the ratings of the dataset, which exports and predictions have."""
        return RatingUnit.of(self.dataset.manifest)

    @torch.no_grad()
    def exported_movies(self, vectors: Tensor) -> Tensor:
        head, dim = self.model.head, self.config.model.dim
        if not isinstance(head, DotHead):
            return vectors
        return torch.cat([vectors[:, :dim] * head.linear.weight * self._head_scale, vectors[:, dim:]], 1)

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
        formulas, interest = {"score": self._formula("")}, {}
        if self.interest is not None:
            dim, whole = self.config.model.dim, self.config.model.dim + self.interest.dim
            rating, product = self._formula(f"[:{dim}]"), f"dot(user.embedding[{dim}:], movie.embedding[{dim}:])"
            dot = isinstance(self.model.head, DotHead)
            formulas = {"score": self._formula("") if dot else f"rating + {product}", "rating": rating}
            scale = self.rating_unit.std / self.interest.rating_weight
            interest = {
                "interest": {
                    "columns": [dim, whole],
                    "interest": f"{product} / scale, in standard deviations over all movies; times user.interest_norm "
                    "it is the score of EASE less its mean over all movies",
                    "scale": scale,
                    **self.interest.chosen(),
                }
            }
        return {
            "head": self.config.model.head,
            **formulas,
            "rating_scale": list(self.rating_unit.scale),
            **interest,
            "message_splits": {False: "train", True: "train and validation", "all": "all"}[self.config.refit],
        }

    def _formula(self, columns: str) -> str:
        """Describes how the given columns of embeddings, such as ``[:64]``, are scored by the head."""
        if isinstance(self.model.head, DotHead):
            return f"offset + user.bias + movie.bias + dot(user.embedding{columns}, movie.embedding{columns})"
        return (
            f"offset + user.bias + movie.bias + out_weight @ relu(user_weight @ user.embedding{columns} + user_bias"
            f" + movie_weight @ movie.embedding{columns}), with the arrays of head.npz"
        )
