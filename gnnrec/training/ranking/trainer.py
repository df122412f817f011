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
from gnnrec.graph.interactions import Interactions, read_interactions
from gnnrec.graph.partition import partition
from gnnrec.graph.ranking_batch import NegativeSampler, RankingBatch, UserSteps
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.user_messages import user_messages
from gnnrec.models.build import used_features
from gnnrec.models.closed_form_start import movie_penalty
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.ranking_model import RankingModel
from gnnrec.models.tables import NoTables
from gnnrec.training.fitted_lists import FittedLists
from gnnrec.training.optimizer import build_optimizer
from gnnrec.training.ranking.closed_form_start import (
    DEFAULT_L2,
    NOISE,
    ClosedFormStart,
    choose_popularity_exponent,
    default_popularity_exponent,
    start_from_closed_form,
)
from gnnrec.training.ranking.final_fit import FinalFit
from gnnrec.training.ranking.held_out_users import hold_out_users
from gnnrec.training.ranking.penalty import TablePenalty
from gnnrec.training.ranking.sequential import FittedOrder, fit_sequential
from gnnrec.training.ranking.training_data import RankingData, ranking_data, read_likes
from gnnrec.training.resolve_config import resolve_config
from gnnrec.training.train_state import TrainState
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
        self._fitted: FittedOrder | FinalFit | None = None
        model = self._new_model(self.training)
        if chosen is None:
            self._start(model)
        else:
            self.l2, self.num_factors = chosen["l2"], int(chosen["num_factors"])
            self.training = dataclasses.replace(self.training, weak_weight=chosen["weak_weight"])
        self.examples = self.training.examples() if options.loss == "squared" else self.training.liked
        self.model = world.replicate(model)
        self.steps = UserSteps(self.training.liked, self.part, world, config.seed, options.users_a_step, self.examples)
        self.steps_an_epoch = self.steps.steps_an_epoch
        self.num_edges = int(self.training.popularity.sum())
        self.optimizers = [build_optimizer(config.optimizer, model, self.num_edges / self.steps_an_epoch)]
        self.penalty = TablePenalty(model, self._movie_penalty(), options.table_l2)
        self.sampler = None
        if options.draws:
            self.sampler = NegativeSampler(self.training.popularity, options.negative_power, options.negatives)

    def _new_model(self, training: RankingData) -> RankingModel:
        features = used_features(self.config.model, self.dataset, "movie")
        return RankingModel(self.options, training.popularity, self.config.seed, features).to(self.world.device)

    def _training(self, refit: Refit) -> RankingData:
        relevant, confidence = self.options.relevant, self.options.count_confidence
        liked, weak = read_likes(self.dataset, self.part, relevant, refit, self.world, confidence)
        return ranking_data(liked, self.dataset.num_movies, self.options.user_power, self.world, weak)

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
        """Sets tables, L2, popularity exponent and the value of weak likes for the first step."""
        options, world = self.options, self.world
        self.l2, self.num_factors, weak_weight = options.l2 or DEFAULT_L2, options.dim, options.weak_weight or 0.0
        model.set_popularity_exponent(default_popularity_exponent(options))
        if options.start == "closed_form":
            start = self._chosen_start()
            held_out = self.validation if start is None else None
            options = options if start is None else start.fix(options)
            start = start_from_closed_form(model, options, self.training, held_out, world)
            self.l2, self.num_factors, weak_weight = start.l2, start.num_factors, start.weak_weight
            world.log(
                f"closed form: l2 {start.l2:g}, {start.num_factors} factors, popularity exponent "
                f"{start.popularity_exponent:.2f}, weak likes {start.weak_weight:g}"
            )
        model.fit_cold_rows(self.training.liked, world)
        self.training = dataclasses.replace(self.training, weak_weight=weak_weight)

    def _chosen_start(self) -> ClosedFormStart | None:
        """Settings that are chosen with a model of less data than that of the first step; None without such a choice.

        With whole users held out, some of the train users are held out inside: they are more than those of validation.
        In a refit, which trains on validation, the model is fitted without it.
        """
        options, world, seed = self.options, self.world, self.config.seed
        strong = self.dataset.manifest.split["protocol"] == "strong"
        if not strong and (not self.config.refit or self.validation is None):
            return None
        training, held_out, dtype = self._training(refit=False) if self.config.refit else self.training, None, None
        if strong:
            power, first_row = options.user_power, self.part.start
            inner = hold_out_users(training.liked, training.weak, training.num_movies, power, world, seed, first_row)
            if inner is not None:
                training, held_out, dtype = inner.training, inner.held_out, torch.float32
        held_out = held_out or self.validation
        if held_out is None:
            return None
        trial = RankingModel(options, training.popularity, seed).to(world.device)
        return start_from_closed_form(trial, options, training, held_out, world, dtype)

    def _movie_penalty(self) -> Tensor | None:
        """L2 of the closed form in units of the mean loss per user; None for other losses, which have other units."""
        if self.options.loss != "squared":
            return None
        penalty = movie_penalty(self.training.weighted_popularity(self.world), self.l2)
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
        pointer, weight, every = self.steps.pointer(step), self.training.user_weight, self.examples
        stream = rng.key(self.config.seed, "step", step.epoch, step.index)
        movie, edge_id, sent, value = user_messages(
            step.seeds,
            pointer,
            step.local_targets,
            (every.user_ptr, every.movie, every.edge_id, every.weight),
            rng.key(stream, "dropout"),
            self.options.dropout,
            weight,
        )
        lists = CSRLists(pointer, movie, self.dataset.num_movies)
        batch = RankingBatch(lists, sent, weight[step.seeds], value=value)
        if self.sampler is not None:
            self.sampler.add_to(batch, rng.key(stream, "negatives"), edge_id)
        return step, batch

    def forward_backward(self, step: Step, batch: RankingBatch) -> Tensor:
        """Leaves the gradient of the mean loss per user in every parameter; returns the loss summed over this rank.

        Gradients are summed over ranks, so a rank's loss is divided by the number of users of all ranks. L2 is added
        once, after the sum.
        """
        (optimizer,) = self.optimizers
        optimizer.zero_grad(set_to_none=True)
        loss = self.model(batch)
        self.backward(loss, self.steps.users_a_step)
        self.penalty.add_to_gradients()
        self.replicated.keep_cold_rows()
        return loss.detach()

    def validate(self) -> RankingMetrics:
        """Metrics on validation, with the best popularity exponent there unless it was chosen on train users."""
        if self.steps_taken:
            self.replicated.fit_cold_rows(self.training.liked, self.world)
        strong = self.dataset.manifest.split["protocol"] == "strong"
        if self.validation is None or (strong and self.starts_fitted):
            return self.evaluate(VALIDATION)
        return choose_popularity_exponent(self.replicated, self.options, self.validation, self.world)

    def becomes_best(self, validation: RankingMetrics, state: TrainState) -> bool:  # type: ignore[override]
        """Counts a validation; trained weights must be better than the closed form by a standard error."""
        best = super().becomes_best(validation, state)
        if not self.starts_fitted:
            return best
        loss = self.world.broadcast_object(validation.loss)
        if not self.steps_taken:
            state.untrained = loss
        if not self.steps_taken or state.untrained is None:  # the start is unknown after its weights were lost
            return best
        state.trained = min(loss, loss if state.trained is None else state.trained)
        return best and state.untrained - loss > NOISE / validation.count**0.5

    def chosen(self) -> dict[str, float]:
        """Settings that validation chose or the options fixed."""
        return {
            "l2": self.l2,
            "num_factors": self.num_factors,
            "popularity_exponent": round(float(self.replicated.popularity_exponent), 6),
            "weak_weight": self.training.weak_weight,
        }

    def fit_lists(self, embeddings: NodeEmbeddings, epoch: int) -> FittedLists | None:
        """Order of likes, or the closed form on validation users too; None where neither is fitted.

        The test metrics are then those of this fit.
        """
        self._fitted = self._fit_order() or (self._fit_again() if not epoch else None)
        return self._fitted

    def _fit_order(self) -> FittedOrder | None:
        tables = fit_sequential(
            self.config, self.dataset, self.world, self.replicated, self.l2, self.training.user_weight
        )
        return None if tables is None else FittedOrder(tables)

    def _fit_again(self) -> FinalFit | None:
        """Closed form of the chosen settings on train and validation users; None where the users are the same."""
        strong = self.dataset.manifest.split["protocol"] == "strong"
        wanted = strong and self.starts_fitted and self.options.validation_users and not self.config.refit
        if not wanted or self.validation is None:
            return None
        training = self._training(refit=True)
        model = self._new_model(training)
        exponent = self.chosen()["popularity_exponent"]
        settings = ClosedFormStart(self.l2, self.num_factors, exponent, self.training.weak_weight).fix(self.options)
        start_from_closed_form(model, settings, training, None, self.world)
        model.fit_cold_rows(training.liked, self.world)
        users = round(self.world.all_reduce_scalar(int((training.liked.user_ptr.diff() > 0).sum())))
        self.world.log(f"closed form: fitted again with the validation users, {users:,} users in all")
        return FinalFit(model, users)

    def embed(self) -> NodeEmbeddings:
        """Vectors of this rank's users, from all their known ratings, and of all movies."""
        return self.replicated.embed(self._read_liked(known_splits(self.config.refit)))

    def evaluate(self, split: int, embeddings: NodeEmbeddings | None = None) -> RankingMetrics:
        """Metrics of a full ranking on one split, over all ranks, from the ratings that the split shows."""
        if isinstance(self._fitted, FittedOrder):
            return self._split(split, places=True).rank(self._fitted.tables.scores)
        held_out = self.validation if split == VALIDATION and self.validation else self._split(split)
        fitted_again = split != VALIDATION and isinstance(self._fitted, FinalFit)
        model = self._fitted.model if fitted_again else self.replicated
        return held_out.evaluate(model.message_rows(), model.movie_vectors())

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
