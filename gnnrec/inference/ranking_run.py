"""A trained ranking model, opened for inference."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.features.new_movies import NewMovies
from gnnrec.data.features.node_features import NodeFeatures
from gnnrec.data.prepared import VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.evaluation.ranking_split import RankingSplit, known_splits, read_ranking_split
from gnnrec.graph.interactions import Interactions
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.ranking_encoder import RankingEncoder
from gnnrec.inference.user_encoder import UserEncoder, Vectors
from gnnrec.models.build import used_features
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.ranking_model import RankingModel
from gnnrec.models.sequential import HALF_LIFE, SequentialTables
from gnnrec.training.checkpoint.info import FINAL, ORDER
from gnnrec.training.checkpoint.opened import OpenedCheckpoint
from gnnrec.training.checkpoint.tensors import check_kinds


@dataclasses.dataclass
class RankingRun(LoadedRun):
    """A ranking model. Users are embedded from all their known relevant ratings.

    Attributes:
        model: The model, fitted again with the validation users where the run has done so.
    """

    model: RankingModel

    @classmethod
    def load(
        cls, config: TrainConfig, dataset: PreparedDataset, world: World, checkpoint: OpenedCheckpoint
    ) -> RankingRun:
        """Opens a checkpoint."""
        return cls(config, dataset, world, checkpoint, _loaded(config, dataset, world, checkpoint, final=True))

    @cached_property
    def measured(self) -> RankingModel:
        """The model that was measured on validation: its training did not use the validation users."""
        if FINAL not in self.checkpoint.lists:
            return self.model
        return _loaded(self.config, self.dataset, self.world, self.checkpoint, final=False)

    @cached_property
    def order(self) -> SequentialTables | None:
        """Order of likes, which the best checkpoint has once the run has finished; None where it was not fitted."""
        if ORDER not in self.checkpoint.lists:
            return None
        state = self.checkpoint.lists[ORDER]
        check_kinds(self.directory / f"{ORDER}.pt", state, SequentialTables.kinds(state, self.dataset.num_movies))
        return SequentialTables.of_state(state, self.world.device)

    @property
    def interest_fingerprint(self) -> str | None:
        return self.info.files.get(f"{ORDER}.pt") or self.info.files.get(f"{FINAL}.pt")

    @property
    def known_splits(self) -> tuple[int, ...]:
        return known_splits(self.config.refit)

    def encoder(self, chunk: int, state: dict[str, Tensor] | None = None) -> RankingEncoder:
        return RankingEncoder(self.model, self.order, self.dataset, self.known_splits, self.config.ranking, chunk)

    def embed(self, chunk: int = 65536) -> NodeEmbeddings:
        encoder = self.encoder(chunk)
        users = encoder.users(range(self.part.start, self.part.stop))
        return NodeEmbeddings(users.vector, encoder.movies.vector, users.bias, encoder.movies.bias, encoder.offset)

    def evaluate(self, split: int, embeddings: NodeEmbeddings, lengths: tuple[int, ...] = ()) -> RankingMetrics:
        return dataclasses.replace(self.held_out(split), lengths=lengths).rank(self.scorer(split))

    def held_out(self, split: int) -> RankingSplit:
        """Reads one held-out split; every rank calls this."""
        options, places = self.config.ranking, self.order is not None
        return read_ranking_split(self.dataset, self.world, split, options.relevant, places, options.count_confidence)

    def scorer(self, split: int) -> Callable[[Interactions], Tensor]:
        """Returns the scores of all movies from shown ratings of a held-out split, float ``[users, movies]``."""
        return (self.order or (self.measured if split == VALIDATION else self.model)).scores

    @property
    def movie_features(self) -> NodeFeatures | None:
        # Standardized scores of the order of likes are relative to the movies of the dataset.
        return None if self.order is not None else used_features(self.config.model, self.dataset, "movie")

    def embed_new_movies(self, movies: NewMovies, encoder: UserEncoder) -> Vectors:
        vectors = self.model.new_movie_vectors(torch.from_numpy(movies.x).to(self.model.target))
        return Vectors(vectors, vectors.new_zeros(len(vectors)))

    def scoring(self) -> dict:
        return {
            "head": "dot",
            "score": "dot(user.embedding, movie.embedding)",
            "relevant": self.config.ranking.relevant,
            "count_confidence": self.config.ranking.count_confidence,
            "popularity_discount": round(float(self.model.popularity_exponent), 6),
            **({} if self.order is None else {"order_of_likes": self.order.chosen() | {"half_life": HALF_LIFE}}),
            "message_splits": "all" if self.config.refit == "all" else "all but test",
        }


def _loaded(
    config: TrainConfig, dataset: PreparedDataset, world: World, checkpoint: OpenedCheckpoint, final: bool
) -> RankingModel:
    popularity = torch.zeros(dataset.num_movies, device=world.device)  # the checkpoint has it
    features = used_features(config.model, dataset, "movie")
    model = RankingModel(config.ranking, popularity, config.seed, features).to(world.device)
    checkpoint.load_model(model, final)
    return model.eval()
