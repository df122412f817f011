"""Training on relevant ratings: scores near one for movies that a user likes and near zero for all others."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import VALIDATION, PreparedDataset, Refit, message_splits
from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.evaluation.ranking_split import RankingSplit, known_splits, read_ranking_split
from gnnrec.graph.folds import Step
from gnnrec.graph.interactions import Interactions, read_interactions, slice_users, training_splits
from gnnrec.graph.partition import partition
from gnnrec.graph.ranking_batch import NegativeSampler, RankingBatch, UserSteps, message_weights
from gnnrec.kernels.lists import CSRLists
from gnnrec.models.closed_form_start import movie_penalty
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.ranking_model import RankingModel
from gnnrec.models.tables import NoTables
from gnnrec.training.optimizer import build_optimizer
from gnnrec.training.ranking.closed_form_start import (
    DEFAULT_L2,
    RankingData,
    choose_popularity_exponent,
    default_popularity_exponent,
    ranking_data,
    start_from_closed_form,
)
from gnnrec.training.ranking.penalty import TablePenalty
from gnnrec.training.ranking.sequential import FittedOrder, fit_sequential
from gnnrec.training.resolve_config import resolve_config
from gnnrec.training.trainer import Trainer


class RankingTrainer(Trainer):
    """The ranking model, its optimizer and its data on one rank. Every rank makes the same calls.

    Args:
        config: The configuration.
        dataset: The prepared dataset.
        world: The ranks.
        chosen: Settings of :meth:`chosen` from a checkpoint, from which the weights are restored later.
    """

    def __init__(
        self, config: TrainConfig, dataset: PreparedDataset, world: World, chosen: dict[str, float] | None = None
    ):
        config = resolve_config(config, dataset, world)
        super().__init__(config, dataset, world)
        self.options = options = config.ranking
        self.starts_fitted = options.start == "closed_form"
        self.part = partition(dataset.manifest.shards, world.rank, world.size)
        self.training = self._training(config.refit)
        self.users = NoTables()
        self._order: FittedOrder | None = None
        model = RankingModel(options, self.training.popularity, config.seed).to(world.device)
        if chosen is None:
            self._start(model)
        else:
            self.l2, self.num_factors = chosen["l2"], chosen["num_factors"]
        self.model = world.replicate(model)
        self.steps = UserSteps(self.training.liked, self.part, world, config.seed, options.users_a_step)
        self.steps_an_epoch = self.steps.steps_an_epoch
        self.num_edges = int(self.training.popularity.sum())
        self.optimizers = [build_optimizer(config.optimizer, model, self.num_edges / self.steps_an_epoch)]
        self.penalty = TablePenalty(model, self._movie_penalty(), options.table_l2)
        self.sampler = None
        if options.draws:
            self.sampler = NegativeSampler(self.training.popularity, options.negative_power, options.negatives)

    def _training(self, refit: Refit) -> RankingData:
        splits = training_splits(self.dataset.manifest.split["protocol"], refit)
        liked = self._read_liked(splits)
        return ranking_data(liked, self.dataset.num_movies, self.options.user_power, self.world)

    def _read_liked(self, splits: tuple[int, ...]) -> Interactions:
        options = self.options
        return read_interactions(
            self.dataset,
            self.part,
            splits,
            options.relevant,
            self.world.device,
            confidence=options.count_confidence,
        )

    def _start(self, model: RankingModel) -> None:
        """Sets tables, L2 and popularity exponent for the first step.

        In a refit, which trains on validation, they are chosen with a model that is fitted without it.
        """
        options, training, world = self.options, self.training, self.world
        self.l2, self.num_factors = options.l2 or DEFAULT_L2, options.dim
        model.set_popularity_exponent(default_popularity_exponent(options))
        if options.start == "random":
            return
        held_out = self.validation
        if self.config.refit and held_out is not None:
            without_validation = self._training(refit=False)
            trial = RankingModel(options, without_validation.popularity, self.config.seed).to(world.device)
            start = start_from_closed_form(trial, options, without_validation, held_out, world)
            options, held_out = (
                dataclasses.replace(
                    options, l2=start.l2, num_factors=start.num_factors, popularity_exponent=start.popularity_exponent
                ),
                None,
            )
        start = start_from_closed_form(model, options, training, held_out, world)
        self.l2, self.num_factors = start.l2, start.num_factors
        world.log(
            f"closed form: l2 {start.l2:g}, {start.num_factors} factors, "
            f"popularity exponent {start.popularity_exponent:.2f}"
        )

    def _movie_penalty(self) -> Tensor | None:
        """L2 of the closed form in units of the mean loss per user; None for other losses, which have other units."""
        if self.options.loss != "squared":
            return None
        penalty = movie_penalty(self.training.weighted_popularity, self.l2)
        return penalty.to(torch.get_default_dtype()) / max(self.steps.num_users, 1)

    @cached_property
    def validation(self) -> RankingSplit | None:
        """Validation users; None without validation."""
        split = self._split(VALIDATION)
        return split if self.world.all_reduce_scalar(split.targets.num_edges) else None

    def _split(self, split: int, places: bool = False) -> RankingSplit:
        options = self.options
        return read_ranking_split(self.dataset, self.world, split, options.relevant, places, options.count_confidence)

    def make_batch(self, epoch: int, index: int) -> tuple[Step, RankingBatch]:
        """Movies of this rank's users of a step, the weights of their messages, and sampled negatives."""
        step = self.steps.step(epoch, index)
        liked = slice_users(self.training.liked, step.seeds)
        lists = CSRLists(liked.user_ptr, liked.movie, self.dataset.num_movies)
        weight = self.training.user_weight
        stream = rng.key(self.config.seed, "step", step.epoch, step.index)
        dropped = rng.key(stream, "dropout")
        messages = message_weights(dropped, liked.edge_id, self.options.dropout, weight.dtype)
        batch = RankingBatch(lists, messages, weight[step.seeds])
        if liked.weight is not None:
            batch.confidence = liked.weight.to(weight.dtype)
            batch.message_weight = messages * batch.confidence
        if self.sampler is not None:
            self.sampler.add_to(batch, rng.key(stream, "negatives"), liked.edge_id)
        return step, batch

    def forward_backward(self, step: Step, batch: RankingBatch) -> Tensor:
        """Leaves the gradient of the mean loss per user in every parameter; returns the loss summed over this rank.

        Gradients are summed over ranks, so a rank's loss is divided by the number of users of all ranks. L2 is added
        once, after the sum.
        """
        (optimizer,) = self.optimizers
        optimizer.zero_grad(set_to_none=True)
        loss = self.model(batch)
        (loss / self.steps.users_a_step).backward()
        self.penalty.add_to_gradients()
        return loss.detach()

    def validate(self) -> RankingMetrics:
        """Metrics on validation with the best popularity exponent, which the model keeps."""
        if self.validation is None:
            return self.evaluate(VALIDATION)
        return choose_popularity_exponent(self.replicated, self.options, self.validation, self.world)

    def chosen(self) -> dict[str, float]:
        """Settings that validation chose or the options fixed."""
        return {
            "l2": self.l2,
            "num_factors": self.num_factors,
            "popularity_exponent": round(float(self.replicated.popularity_exponent), 6),
        }

    def fit_lists(self, embeddings: NodeEmbeddings) -> FittedOrder | None:
        """Order of likes, which the test metrics are then those of; None where it is not fitted."""
        tables = fit_sequential(self.config, self.dataset, self.world, self.replicated, self.l2)
        self._order = None if tables is None else FittedOrder(tables)
        return self._order

    def embed(self) -> NodeEmbeddings:
        """Vectors of this rank's users, from all their known ratings, and of all movies."""
        return self.replicated.embed(self._read_liked(known_splits(self.config.refit)))

    def evaluate(self, split: int, embeddings: NodeEmbeddings | None = None) -> RankingMetrics:
        """Metrics of a full ranking on one split, over all ranks, from the ratings that the split shows."""
        if self._order is not None:
            return self._split(split, places=True).rank(self._order.tables.scores)
        held_out = self.validation if split == VALIDATION and self.validation else self._split(split)
        return held_out.evaluate(self.replicated.message_embedding, self.replicated.movie_vectors())

    def fit_baselines(self) -> dict[str, dict[str, float]]:
        """Popularity and, for few movies, EASE on the same training ratings."""
        from gnnrec.baselines.ranking import fit_baselines

        splits = message_splits(self.config.refit)
        return fit_baselines(self.dataset, self.world, splits, self.config.seed, self.options.count_confidence)

    def bytes_a_step(self) -> int:
        """Bytes that a rank passes to collectives per step: the gradients."""
        return sum(
            table.numel() * table.element_size() for table in self.replicated.parameters() if table.requires_grad
        )
