"""Fits interest after training. L2 and the number of factors are chosen on train ratings that are held out inside, and
the weight of the predicted rating on validation."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import TRAIN, VALIDATION, PreparedDataset, message_splits
from gnnrec.distributed.world import World
from gnnrec.evaluation.lists import MEASURED_USERS, RatingLists, list_split
from gnnrec.evaluation.ranking_split import RankingSplit
from gnnrec.graph.interactions import Interactions, read_interactions, select_edges
from gnnrec.graph.partition import partition
from gnnrec.models.ease import Ease, EaseProblem, ease_problem, select_movies
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.interest import Interest
from gnnrec.models.interest_options import DEFAULT_RATING_WEIGHT, RATING_WEIGHTS
from gnnrec.models.rating_model import RatingModel
from gnnrec.training.checkpoint.info import INTEREST
from gnnrec.training.kept_interest import kept_interest
from gnnrec.training.ranking.closed_form_start import NOISE, candidate_factors, descend, tables_of_rank_0

#: L2 strengths to choose from, and the default without ratings to choose on.
L2_GRID, DEFAULT_L2 = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0), 200.0
#: Share of the train ratings on which L2 and the number of factors are chosen.
HELD_OUT = 0.2
#: Most movies with which L2 and the number of factors are chosen: the most rated ones. The search for L2 starts with
#: the first of these.
CHOICE_MOVIES, FIRST_MOVIES = 4096, 1024


@dataclasses.dataclass(frozen=True)
class FittedInterest:
    """Interest, and the solution of full rank that its tables approximate, which is EASE.

    Attributes:
        interest: For lists.
        ease: For the comparison; None for interest that was kept.
        problem: The ratings that both are fitted on; None for interest that was kept.
    """

    interest: Interest
    ease: Ease | None
    problem: EaseProblem | None
    stem: ClassVar[str] = INTEREST

    def chosen(self) -> dict[str, float]:
        """Returns settings that validation chose or the options fixed, for the summary."""
        return self.interest.chosen()

    def state(self) -> dict[str, Tensor]:
        """Returns the tensors of a checkpoint."""
        return self.interest.state()


def fit_interest(
    config: TrainConfig, dataset: PreparedDataset, world: World, model: RatingModel, embeddings: NodeEmbeddings
) -> FittedInterest | None:
    """Fits interest on the ratings that a rating model is trained on, which are test ratings only with refit ``all``.

    L2 and the number of factors are chosen by the NDCG of interest alone on a fifth of the train ratings, fitted to the
    others: validation has too few ratings. Then the weight of the predicted rating is chosen by the NDCG of lists on
    validation. A refit trains on validation, so its weight cannot be chosen.

    Args:
        config: The configuration.
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        model: The trained model, without DDP.
        embeddings: Its embeddings of this rank's users and of all movies.

    Returns:
        None if interest is switched off.
    """
    options = config.interest
    if not options.enabled:
        return None
    if options.keep and config.init_from is not None:
        kept = kept_interest(config.init_from, dataset, world)
        if kept is not None:
            return FittedInterest(kept, None, None)
    if dataset.num_movies > options.movies:
        world.log(
            f"interest: of {dataset.num_movies:,} movies the {options.movies:,} most rated ones (--interest.movies)"
        )
    l2, num_factors = _choose_tables(config, dataset, world)
    rated = _ratings(dataset, world, message_splits(config.refit))
    problem = ease_problem(rated, dataset.num_movies, world, options.movies)
    ease = problem.solve(l2)
    embedding, target = tables_of_rank_0(world, lambda: ease.tables(num_factors))
    interest = Interest.of_tables(embedding, target, l2, options.rating_weight or DEFAULT_RATING_WEIGHT)
    if config.init_from is not None:  # its vectors follow those of the run before, also where fewer factors are left
        interest = interest.widened(options.num_factors)
    if not config.refit and not options.rating_weight:
        held_out = list_split(dataset, world, VALIDATION, False, options, config.seed)
        if world.all_reduce_scalar(held_out.targets.num_edges):
            interest = _with_best_weight(interest, model, embeddings, held_out)
    world.log(f"interest: l2 {l2:g}, {interest.dim} factors, weight of the rating {interest.rating_weight:g}")
    return FittedInterest(interest, ease, problem)


def _ratings(dataset: PreparedDataset, world: World, splits: tuple[int, ...]) -> Interactions:
    part = partition(dataset.manifest.shards, world.rank, world.size)
    return read_interactions(dataset, part, splits, None, world.device)


def _choose_tables(config: TrainConfig, dataset: PreparedDataset, world: World) -> tuple[float, int]:
    """Chooses L2 with all factors, then the number of factors, with the most rated movies.

    The search for L2 starts at the best one for fewer movies. Fewer factors than all must gain a standard error.
    """
    options = config.interest
    most = options.num_factors or options.dim
    if options.l2 and options.num_factors:
        return options.l2, most
    rated = _ratings(dataset, world, (TRAIN,))
    drawn = rng.uniform(rng.key(config.seed, "interest"), rated.edge_id) < HELD_OUT
    rated, targets = select_edges(rated, ~drawn), select_edges(rated, drawn)
    first_row = partition(dataset.manifest.shards, world.rank, world.size).start
    held_out = RankingSplit(world, rated, rated, targets, None, dataset.num_movies)
    held_out = held_out.sampled(MEASURED_USERS, rng.key(config.seed, "interest users"), first_row)
    users = int(world.all_reduce_scalar(int((held_out.targets.user_ptr.diff() > 0).sum())))
    if not users:
        return options.l2 or DEFAULT_L2, most
    popularity = world.all_reduce_sum_(torch.bincount(rated.movie, minlength=dataset.num_movies))
    by_popularity = popularity.argsort(descending=True, stable=True)[: options.movies]

    def best_l2(movies: int, start: float) -> tuple[_Choice, float]:
        choice = _Choice(rated, held_out, by_popularity[:movies].sort().values, options.dim)
        return choice, options.l2 or descend(L2_GRID, start, lambda l2: choice.loss(l2, most))

    l2 = options.l2 or DEFAULT_L2
    if not options.l2 and len(by_popularity) > FIRST_MOVIES:
        _, l2 = best_l2(FIRST_MOVIES, l2)
    choice, l2 = best_l2(CHOICE_MOVIES, l2)
    if options.num_factors:
        return l2, most
    losses = {count: choice.loss(l2, count) for count in candidate_factors(most)}
    best = min(losses, key=losses.__getitem__)
    return l2, best if losses[best] < losses[most] - NOISE / users**0.5 else most


class _Choice:
    """Losses of interest in some movies.

    Args:
        rated: Ratings to fit on.
        held_out: Ratings to find.
        movies: Rows of the movies, int64 ``[n]``, ascending.
        dim: Most factors.
    """

    def __init__(self, rated: Interactions, held_out: RankingSplit, movies: Tensor, dim: int):
        self.world, self.dim, self.held_out = held_out.world, dim, _only(held_out, movies)
        own = select_movies(rated, movies, held_out.num_movies)
        self.problem = ease_problem(own, len(movies), self.world, dtype=torch.float32)
        self.tables: dict[float, tuple[Tensor, Tensor]] = {}

    def loss(self, l2: float, factors: int) -> float:
        """Loss of the lists of interest alone; every rank calls this and gets the same."""
        self.world.check_stop()
        if l2 not in self.tables:
            ease = self.problem.solve(l2)
            self.tables[l2] = tables_of_rank_0(self.world, lambda: ease.tables(self.dim))
        embedding, target = (table[:, :factors].contiguous() for table in self.tables[l2])
        metrics = self.held_out.evaluate(embedding, target)
        return self.world.broadcast_object(metrics.loss or 0.0)


def _with_best_weight(
    interest: Interest, model: RatingModel, embeddings: NodeEmbeddings, held_out: RankingSplit
) -> Interest:
    """Chooses the weight of the rating by the lists of validation users."""

    def loss(weight: float) -> float:
        held_out.world.check_stop()
        lists = RatingLists(model, embeddings, dataclasses.replace(interest, rating_weight=weight))
        return held_out.world.broadcast_object(lists.measure(held_out).loss or 0.0)

    return dataclasses.replace(interest, rating_weight=descend(RATING_WEIGHTS, DEFAULT_RATING_WEIGHT, loss))


def _only(split: RankingSplit, movies: Tensor) -> RankingSplit:
    """Restricts a split to some movies, which are numbered by their position."""
    shown, seen, targets = (
        select_movies(ratings, movies, split.num_movies) for ratings in (split.shown, split.seen, split.targets)
    )
    return dataclasses.replace(split, shown=shown, seen=seen, targets=targets, num_movies=len(movies))
