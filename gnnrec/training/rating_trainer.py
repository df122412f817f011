"""Training on ratings: squared errors of held-out folds, coupled L2."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

from gnnrec import rng
from gnnrec.baselines.rating import fit_baselines
from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import PreparedDataset, message_splits
from gnnrec.distributed.world import World
from gnnrec.evaluation.feature_worth import feature_worth
from gnnrec.evaluation.rating import RatingMetrics, held_out, score_split
from gnnrec.evaluation.rating_buckets import rmse_by_degree
from gnnrec.graph.batch import Batch
from gnnrec.graph.build_sampler import build_sampler, exchanges_used_movies
from gnnrec.graph.folds import Epoch, Step
from gnnrec.graph.inclusion_probability import inclusion_probability
from gnnrec.graph.loader import RatingLoader
from gnnrec.graph.rank_graph import build_rank_graph
from gnnrec.models import layer_file
from gnnrec.models.build import build_model
from gnnrec.models.control_variate import snapshot
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.row_memory import row_memory
from gnnrec.models.stale_sums import StaleSums
from gnnrec.models.tables import NodeTables
from gnnrec.training.checkpoint.info import CheckpointInfo, user_range
from gnnrec.training.checkpoint.read import load_weights, read_rows
from gnnrec.training.checkpoint.tensors import Kind
from gnnrec.training.checkpoint.write import CheckpointState
from gnnrec.training.fitted_lists import FittedLists
from gnnrec.training.interest import FittedInterest, fit_interest
from gnnrec.training.lists import measure_lists
from gnnrec.training.optimizer import build_optimizer, message_lr_scale, message_lr_scales, place_state
from gnnrec.training.rating_validation import RatingValidation
from gnnrec.training.regularization import CoupledL2
from gnnrec.training.standard_error import exceeds_standard_error
from gnnrec.training.trainer import Trainer
from gnnrec.training.weights import Weights


class RatingTrainer(Trainer):
    """The model, its optimizers and its data on one rank. Every rank makes the same calls.

    Args:
        config: The configuration.
        dataset: The prepared dataset.
        world: The ranks.
        exclude: Keep targets out of their own message graph. Only tests switch it off.
    """

    users: NodeTables

    def __init__(self, config: TrainConfig, dataset: PreparedDataset, world: World, exclude: bool = True):
        super().__init__(dataclasses.replace(config, objective="rating"), dataset, world)
        config = self.config
        splits = message_splits(config.refit)
        self.graph = build_rank_graph(dataset, world, splits, torch.get_default_dtype(), config.model.time)
        memory = row_memory(config.user_rows, config.run_dir)
        options = layer_file.of_run(config.model, config.run_dir)
        if config.init_from is not None:  # rows are those of the other run, or zeros
            options = dataclasses.replace(options, init_std=0.0, movie_id_init_std=0.0)
        model, self.users = build_model(options, self.graph, dataset, config.seed, memory)
        self.part, self.num_edges = self.graph.part, self.graph.num_edges_global
        self.model = world.replicate(model)
        if "id_embedding" in model.movies.tables():
            world.collective_stats.equal_gradients = {model.movies.id_embedding.data_ptr()}
        self.control_variate = config.loader.samples and config.loader.control_variate and config.model.layers > 0
        self.loader = RatingLoader(
            self.graph,
            build_sampler(config.loader, self.graph, config.model.layers, config.seed, memory is not None),
            config.model.message_dropout,
            self.control_variate,
            exclude,
            exchanges_used_movies(config.loader, self.graph, config.model.layers),
        )
        self._stale_sums: tuple[tuple[int, int], list[StaleSums]] | None = None
        self._epoch: Epoch | None = None
        self._shrinkage = config.model.shrinkage or 1.0
        self._user_errors: Tensor | None = None
        self._lowest_user_errors: Tensor | None = None
        self._pass_start: tuple[tuple[int, int], Weights] | None = None
        first = self.epoch(0)
        self.steps_an_epoch, self.steps_a_pass = first.num_steps, first.slices
        probability = None
        if memory is not None and self.steps_a_pass > 1:
            probability = inclusion_probability(
                self.graph,
                self.steps_a_pass,
                config.loader.raters_per_movie,
                self.steps_an_epoch if self.loader.one_hop else 0,
            )
        self.regularization = CoupledL2(config.regularization, self.graph, model, self.users, probability)
        targets_a_step = self.num_edges / self.steps_an_epoch
        # Users sum over message embeddings of movies, movies over those of users; movie degrees are already global.
        movie_scale = message_lr_scale(config.optimizer, self.graph.user_degree, world)
        user_scale = message_lr_scale(config.optimizer, self.graph.movie_degree, World())
        self.optimizers = [
            build_optimizer(
                config.optimizer,
                model,
                targets_a_step,
                message_lr_scales(movie_scale, user_scale),
            ),
            build_optimizer(
                config.optimizer,
                self.users,
                targets_a_step,
                {"message_embedding": user_scale, "residual_embedding": user_scale},
                probability,
            ),
        ]
        if memory is not None:
            place_state(self.optimizers[1], memory)

    def epoch(self, number: int) -> Epoch:
        """Folds and steps of one epoch."""
        return Epoch(self.graph, self.config.seed, number, self.config.loader.folds, self.config.loader.seed_users)

    def make_batch(self, epoch: int, index: int) -> tuple[Step, Batch]:
        """Messages and targets of step ``index`` of an epoch, both from 0."""
        if self._epoch is None or self._epoch.epoch != epoch:
            self._epoch = None  # frees the previous epoch before the next one is made
            self._epoch = self.epoch(epoch)
        step = self._epoch.step(index)
        return step, self.loader.batch(self._epoch, step)

    def forward_backward(self, step: Step, batch: Batch) -> Tensor:
        """Leaves the gradient of the global loss in every parameter; returns this rank's squared error.

        The result is in the unit of the dataset. The loss of a rank is its squared error over the number of targets of
        *all* ranks, and gradients are summed, so this is the gradient of the global mean. L2 is added once, after
        the sum.
        """
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with self._autocast(), record_function("forward"):
            step_key = rng.key(self.config.seed, "step", step.epoch, step.index)
            pass_key = self.pass_key(step.epoch, step.fold)
            squared_error = self.model(batch, self.users.rows(batch.users), step_key, self.stale_sums(step), pass_key)
        with record_function("backward"):
            self._exchange_only(batch.used_movies)
            self.backward(squared_error, batch.targets.count)
        self.regularization.add_to_gradients()
        return squared_error.detach() * self.graph.rating_unit.std**2

    def pass_key(self, epoch: int, fold: int) -> int:
        """Key of what is random in a whole pass over the users."""
        return rng.key(self.config.seed, "pass", epoch, fold)

    def _exchange_only(self, movies: Tensor | None) -> None:
        """Sums only these rows of the gradients of movie tables over ranks; None for all."""
        tables = () if movies is None else self.replicated.movies.parameters()
        self.world.collective_stats.gradient_rows = {table.data_ptr(): movies for table in tables}

    def constrain(self) -> None:
        self.replicated.keep_norms()

    def stale_sums(self, step: Step) -> list[StaleSums] | None:
        """Stale sums for the control variate of a step whose batch was just made; recorded once per pass."""
        if not self.control_variate:
            return None
        pass_id = (step.epoch, step.fold)
        if self._stale_sums is None or self._stale_sums[0] != pass_id:
            with record_function("control_variate"):
                self._stale_sums = pass_id, self._snapshot(pass_id)
        return self._stale_sums[1]

    def _snapshot(self, pass_id: tuple[int, int]) -> list[StaleSums]:
        """Sums at the weights at the start of the pass: the current ones, unless the run was resumed in mid-pass."""
        current = Weights.copy_of(self.replicated, self.users)
        resumed = self._pass_start is not None and self._pass_start[0] == pass_id
        if resumed:
            self._pass_start[1].restore(self.replicated, self.users)
        else:
            self._pass_start = pass_id, current
        key = self.pass_key(*pass_id)
        stale_sums = snapshot(self.replicated, self.users, self.graph, self.loader.current, key)
        if resumed:
            current.restore(self.replicated, self.users)
        return stale_sums

    def checkpoint_state(self) -> CheckpointState:
        """Everything that a step changes; in mid-pass also the weights at the start of the pass."""
        contents = super().checkpoint_state()
        if self.control_variate and self.steps_taken % self.steps_a_pass:
            start = self._pass_start[1]
            contents.replicated["pass_model"], contents.by_user["pass_users"] = start.model, start.users
        if self._lowest_user_errors is not None:
            contents.by_user["validation"] = {"squared_error": self._lowest_user_errors}
        return contents

    def restore(self, directory: Path, info: CheckpointInfo) -> None:
        if "pass_model.pt" in info.files:
            load_weights(directory, info, self.replicated, self.users, self.part, prefix="pass_")
            epoch, step = divmod(info.step, self.steps_an_epoch)
            self._pass_start = (epoch, step // self.steps_a_pass), Weights.copy_of(self.replicated, self.users)
        if any(user_range(name, "validation") for name in info.files):
            kind: dict[str, Kind] = {"squared_error": ((), torch.float64)}
            stored = read_rows(directory, "validation", info, self.part, expected=kind)
            errors = stored.get("squared_error", torch.zeros(0, dtype=torch.float64))  # a rank may have no users
            self._lowest_user_errors = errors.to(self.graph.device)
        super().restore(directory, info)

    def embed(self) -> NodeEmbeddings:
        """Exact embeddings of this rank's users and of all movies."""
        self.loader.release()
        return self._validation.embed()

    @cached_property
    def _validation(self) -> RatingValidation:
        arguments = self.replicated, self.users, self.dataset, self.graph, self.config.model.shrinkage
        return RatingValidation(*arguments)

    def evaluate(self, split: int, embeddings: NodeEmbeddings | None = None) -> RatingMetrics:
        """RMSE and MAE on one split, over all ranks, with all neighbors and predictions clipped to the scale."""
        return score_split(self.replicated, embeddings or self.embed(), self.dataset, self.graph, split)

    def validate(self) -> RatingMetrics:
        """RMSE and MAE on validation with the best shrinkage, which the best checkpoint contains."""
        self.loader.release()
        validated = self._validation.measure()
        self._shrinkage, self._user_errors = validated.shrinkage, validated.user_errors
        return validated.metrics

    def is_best(self, lowest: bool) -> bool:
        """Chooses the newest weights whose validation error is not above the lowest by more than a standard error.

        Errors are compared user by user, since those of one user go together.
        """
        if lowest:
            self._lowest_user_errors = self._user_errors
        if lowest or self._lowest_user_errors is None:  # resumed from a checkpoint without them
            return lowest
        return not exceeds_standard_error(self._user_errors - self._lowest_user_errors, self.world)

    def best_weights(self) -> CheckpointState:
        """Weights with the shrinkage of the last validation; a model in training keeps 1, or the given one."""
        if self._user_errors is None:  # nothing was validated
            self._validation.fit_cold_movies()
        contents = super().best_weights()
        shrinkage = torch.full_like(self.replicated.shrinkage, self._shrinkage)
        contents.replicated["model"] = {**contents.replicated["model"], "shrinkage": shrinkage}
        return contents

    def chosen(self) -> dict[str, float]:
        """The shrinkage."""
        return {"shrinkage": round(self.replicated.shrinkage.item(), 6)}

    def breakdown(self, split: int, embeddings: NodeEmbeddings) -> dict[str, list[dict]]:
        """RMSE of a split by the number of training ratings of the user, and of the movie."""
        targets = held_out(self.dataset, self.part, split, self.world, self.graph.dtype)
        return rmse_by_degree(self.replicated.score(embeddings, targets), targets, self.graph)

    def feature_worth(self) -> dict[str, dict[str, dict[str, float]]]:
        """Growth of the RMSE on validation if a column of features belongs to other nodes."""
        return {} if self.config.refit else feature_worth(self.replicated, self.users, self.graph, self.dataset)

    def fit_baselines(self) -> dict[str, dict[str, float]]:
        """Global mean, biases and biased MF, fitted on the same edges."""
        return fit_baselines(self.dataset, self.world, message_splits(self.config.refit), self.config.seed)

    def fit_lists(self, embeddings: NodeEmbeddings, epoch: int) -> FittedInterest | None:
        """Interest, fitted on the ratings that the model is trained on."""
        return fit_interest(self.config, self.dataset, self.world, self.replicated, embeddings)

    def measure_lists(self, embeddings: NodeEmbeddings, fitted: FittedLists | None) -> dict[str, Any]:
        """Test metrics of lists by interest and predicted rating, next to baselines on the same ratings."""
        interest = fitted if isinstance(fitted, FittedInterest) else None
        return measure_lists(self.config, self.dataset, self.world, self.replicated, embeddings, interest)

    def bytes_a_step(self) -> int:
        """Most bytes that a rank passes to collectives a step: sums of messages, gradients of states and tables."""
        size = torch.finfo(self.world.collective_stats.wire or self.graph.dtype).bits // 8
        convs = [layer.to_movies for layer in self.replicated.encoder.layers]
        width = sum(conv.out_channels + conv.heads + conv.receiver_heads for conv in convs)
        width += self.config.model.dim * max(len(convs), 1)
        logits = 0 if self.control_variate else sum(conv.heads for conv in convs)
        equal = self.world.collective_stats.equal_gradients
        exchanged = (
            parameter.numel()
            for parameter in self.replicated.parameters()
            if parameter.requires_grad and parameter.data_ptr() not in equal
        )
        largest_logits = self.graph.num_movies * logits * (torch.finfo(self.graph.dtype).bits // 8)
        return (self.graph.num_movies * width + sum(exchanged)) * size + largest_logits
