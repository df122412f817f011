"""Fits the order of likes after training, with settings chosen on validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking_split import RankingSplit, read_ranking_split
from gnnrec.graph.history import in_order, windows
from gnnrec.graph.interactions import Interactions, read_interactions, training_splits
from gnnrec.graph.partition import partition
from gnnrec.kernels.order_sums import order_sums
from gnnrec.models.closed_form_start import item_model, top_eigenvectors
from gnnrec.models.ease import RatedMovies
from gnnrec.models.gram import FLOAT64_MOVIES, weighted_gram
from gnnrec.models.order_options import (
    DEFAULT_EXPONENT,
    DEFAULT_L2,
    DEFAULT_NEXT_WEIGHT,
    EXPONENTS,
    L2_GRID,
    NEXT_WEIGHTS,
)
from gnnrec.models.ranking_model import RankingModel
from gnnrec.models.sequential import HALF_LIFE, SequentialTables
from gnnrec.models.standardized_tables import standardize_tables
from gnnrec.training.checkpoint.info import ORDER
from gnnrec.training.ranking.closed_form_start import NOISE, descend, tables_of_rank_0
from gnnrec.training.ranking.training_data import ranking_data

#: Protocols whose held-out movies come after those that are shown.
LATER_PROTOCOLS = ("leave-last", "global-time")
#: Distance of two likes up to which the first one is in the history of the second: its weight is 2^-10 there.
REACH = int(10 * HALF_LIFE)
#: Likes of a window of the closed form, and between the starts of two windows.
WINDOW, STEP = 20, 10

Tables = tuple[Tensor, Tensor]


@dataclasses.dataclass(frozen=True)
class FittedOrder:
    """The order of likes of a trained model.

    Attributes:
        tables: Its tables.
    """

    tables: SequentialTables
    stem: ClassVar[str] = ORDER

    def chosen(self) -> dict[str, float]:
        """Returns settings that validation chose or the options fixed, for the summary."""
        return self.tables.chosen()

    def state(self) -> dict[str, Tensor]:
        """Returns the tensors of a checkpoint."""
        return self.tables.state()


def uses_order(config: TrainConfig, dataset: PreparedDataset) -> bool:
    """Returns whether the order of likes is fitted: there are times, and held-out movies come later."""
    later = dataset.manifest.split["protocol"] in LATER_PROTOCOLS
    return config.order.enabled and later and dataset.timestamp is not None


def fit_sequential(
    config: TrainConfig,
    dataset: PreparedDataset,
    world: World,
    model: RankingModel,
    l2: float,
    user_weight: Tensor,
) -> SequentialTables | None:
    """Fits the order of likes on the ratings that a ranking model is trained on.

    The first score has the tables of the model, or those of its closed form on windows of likes in time, whichever is
    better on validation.

    Args:
        config: The configuration.
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        model: The trained model, without DDP.
        l2: L2 of its closed form.
        user_weight: Weights of this rank's users in it, float ``[users]``.

    Returns:
        None if the order is switched off, not known, or gains less than a standard error on validation.
    """
    if not uses_order(config, dataset):
        return None
    options, protocol = config.order, dataset.manifest.split["protocol"]
    part = partition(dataset.manifest.shards, world.rank, world.size)
    splits = training_splits(protocol, config.refit)
    reading = config.ranking.relevant, world.device, True, config.ranking.count_confidence
    liked = read_interactions(dataset, part, splits, *reading)
    of_model = model.message_rows(), model.movie_vectors()
    following = _next_tables(config, dataset, world, liked, user_weight)
    if config.refit:
        exponent = DEFAULT_EXPONENT if options.exponent is None else options.exponent
        next_weight = DEFAULT_NEXT_WEIGHT if options.next_weight is None else options.next_weight
        return SequentialTables.of_tables(of_model, following(options.l2 or DEFAULT_L2), exponent, next_weight)
    held_out = read_ranking_split(
        dataset, world, VALIDATION, config.ranking.relevant, True, config.ranking.count_confidence
    )
    users = world.all_reduce_scalar(int((held_out.targets.user_ptr.diff() > 0).sum()))
    if not users:
        return None
    search = _Search(held_out, following)
    plain = search.loss(SequentialTables.of_tables(of_model, of_model, 0.0, 0.0))
    candidates = [of_model]
    if config.ranking.start == "closed_form" and dataset.num_movies <= config.ranking.closed_form_movies:
        candidates.append(_window_tables(config, dataset, world, liked, model, l2))
    best = min([search.with_exponent(tables, options.exponent) for tables in candidates], key=search.loss)
    best = search.with_next(best, options.l2, options.next_weight)
    gained = search.loss(best) < plain - NOISE / users**0.5
    world.log(
        f"order of likes: exponent {best.exponent:g}, weight of the next movie {best.next_weight:g}"
        if gained
        else "order of likes: left out, since it gains less than a standard error on validation"
    )
    return best if gained else None


@dataclasses.dataclass
class _Search:
    """Choices on validation.

    Attributes:
        held_out: Validation users.
        following: Maps L2 to tables of the second score.
    """

    held_out: RankingSplit
    following: Callable[[float], Tables]
    _losses: dict[tuple, tuple[float, SequentialTables]] = dataclasses.field(default_factory=dict)

    def loss(self, tables: SequentialTables) -> float:
        """Loss on validation, measured once; every rank calls this and gets the same."""
        following = id(tables.next_embedding) if tables.next_weight else 0
        key = id(tables.liked_embedding), tables.exponent, following, tables.next_weight
        if key not in self._losses:
            self.held_out.world.check_stop()
            loss = self.held_out.world.broadcast_object(self.held_out.rank(tables.scores).loss or 0.0)
            self._losses[key] = loss, tables  # which keeps the identities of its tables
        return self._losses[key][0]

    def with_exponent(self, liked: Tables, exponent: float | None) -> SequentialTables:
        """Tables of the first score alone with the best exponent, or the given one."""
        tables = SequentialTables.of_tables(liked, liked, exponent or 0.0, 0.0)
        if exponent is not None:
            return tables
        best = descend(
            EXPONENTS, DEFAULT_EXPONENT, lambda value: self.loss(dataclasses.replace(tables, exponent=value))
        )
        return dataclasses.replace(tables, exponent=best)

    def with_next(self, tables: SequentialTables, l2: float, next_weight: float | None) -> SequentialTables:
        """Adds the second score with the best L2 and weight, or the given ones."""
        if next_weight == 0:
            return tables
        found: dict[float, SequentialTables] = {}

        def at(strength: float) -> SequentialTables:
            if strength not in found:
                embedding, target = standardize_tables(*self.following(strength))
                weight = DEFAULT_NEXT_WEIGHT if next_weight is None else next_weight
                found[strength] = dataclasses.replace(
                    tables, next_embedding=embedding, next_target=target, next_weight=weight
                )
            return found[strength]

        both = at(l2 or descend(L2_GRID, DEFAULT_L2, lambda strength: self.loss(at(strength))))
        if next_weight is not None:
            return both
        best = descend(
            NEXT_WEIGHTS, DEFAULT_NEXT_WEIGHT, lambda value: self.loss(dataclasses.replace(both, next_weight=value))
        )
        return dataclasses.replace(both, next_weight=best)


def _window_tables(
    config: TrainConfig, dataset: PreparedDataset, world: World, liked: Interactions, model: RankingModel, l2: float
) -> Tables:
    """Tables of the closed form on windows of likes in time, with the model's popularity discount."""
    cut, _ = windows(liked, WINDOW, STEP)
    data = ranking_data(cut, dataset.num_movies, config.ranking.user_power, world)
    gram = weighted_gram(cut, dataset.num_movies, data.user_weight, world)
    embedding, target = tables_of_rank_0(world, lambda: item_model(gram, l2).tables(config.ranking.dim))
    return embedding, target * model.popularity_discount().to(target)[:, None]


def _next_tables(
    config: TrainConfig, dataset: PreparedDataset, world: World, liked: Interactions, user_weight: Tensor
) -> Callable[[float], Tables]:
    """Returns the tables of the next movie by L2 of the ridge regression from histories of liked movies."""
    movies = RatedMovies.most_rated(liked, dataset.num_movies, world, config.order.movies)
    own = movies.only(dataclasses.replace(liked, movie=in_order(liked), weight=None))
    size = movies.row.numel()
    dtype = torch.float64 if size <= FLOAT64_MOVIES else torch.float32
    read = own.user_ptr.cpu(), own.movie.cpu(), user_weight.double().cpu()
    sums = order_sums(*read, size, 2 ** (-1 / HALF_LIFE), REACH, dtype)
    products, successors = (world.all_reduce_sum_(table.to(world.device)) for table in sums)

    def solve(l2: float) -> Tables:
        ridge = products.clone()
        ridge.diagonal().add_(l2)
        weights = torch.cholesky_solve(successors, torch.linalg.cholesky(ridge))
        target = top_eigenvectors(products, weights, config.ranking.dim)
        return movies.expand(weights @ target, 0), movies.expand(target, 0)

    return lambda l2: tables_of_rank_0(world, lambda: solve(l2))
