"""Closed-form start of a ranking model, with settings chosen on held-out users: L2 of the closed form, number of
singular vectors, the exponent of the popularity that scores are divided by, and the value of weak likes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.evaluation.ranking_split import RankingSplit
from gnnrec.models.ranking_model import RankingModel
from gnnrec.models.ranking_options import WEAK_WEIGHT, RankingOptions
from gnnrec.training.ranking.training_data import RankingData

#: L2 strengths to choose from, and the default without held-out users.
L2_GRID, DEFAULT_L2 = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0), 300.0
#: Exponents to choose from, and the default of each start without held-out users.
POPULARITY_EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75)
DEFAULT_POPULARITY_EXPONENT = {"closed_form": 0.2, "random": 0.75}
#: Standard deviation over users of the change in NDCG with fewer factors: .025 to .063 on the validation users of
#: ml-latest-small and two synthetic sets. A setting that is not the usual one must gain one standard error: with few
#: held-out users the best of many settings is best by chance.
NOISE = 0.05


@dataclasses.dataclass(frozen=True)
class ClosedFormStart:
    """A chosen start.

    Attributes:
        l2: Strength of L2.
        num_factors: Singular vectors kept.
        popularity_exponent: Exponent of popularity.
        weak_weight: Value of weak likes.
        loss: Loss on held-out users; infinite without them.
    """

    l2: float
    num_factors: int
    popularity_exponent: float
    weak_weight: float
    loss: float = math.inf

    def fix(self, options: RankingOptions) -> RankingOptions:
        """Returns options with these settings."""
        return dataclasses.replace(
            options,
            l2=self.l2,
            num_factors=self.num_factors,
            popularity_exponent=self.popularity_exponent,
            weak_weight=self.weak_weight,
        )


def start_from_closed_form(
    model: RankingModel,
    options: RankingOptions,
    training: RankingData,
    held_out: RankingSplit | None,
    world: World,
    dtype: torch.dtype | None = None,
) -> ClosedFormStart:
    """Sets the tables and the popularity exponent of a model to those of the closed form.

    Rank 0 computes, since the eigenvectors of two ranks would differ by rounding; every rank calls this.

    Args:
        model: The model.
        options: Its options; open ones are chosen on held-out users.
        training: Data for the closed form; the value of weak likes in it does not matter.
        held_out: Held-out users; None without any.
        world: The ranks.
        dtype: Type of the matrices; None for that of :func:`gnnrec.models.gram.weighted_gram`.
    """
    usual = WEAK_WEIGHT if options.weak_weight is None else options.weak_weight
    usual = 0.0 if training.weak is None else usual
    search = _StartSearch(model, options, dataclasses.replace(training, weak_weight=usual), held_out, world, dtype)
    chosen = search.best([options.num_factors or options.dim])
    if held_out is not None:
        users = world.all_reduce_scalar(int((held_out.targets.user_ptr.diff() > 0).sum()))
        least = NOISE / math.sqrt(users)
        if not options.num_factors:
            other = search.best(factor_grid(options.dim))
            chosen = other if other.loss < chosen.loss - least else chosen
        if usual and options.weak_weight is None:
            search.release()
            training = dataclasses.replace(training, weak_weight=0.0)
            likes = _StartSearch(model, chosen.fix(options), training, held_out, world, dtype)
            other = likes.best([chosen.num_factors])
            if other.loss < chosen.loss - least:
                chosen, search = other, likes
    model.set_tables(*search.tables(chosen.l2), chosen.num_factors)
    model.set_popularity_exponent(chosen.popularity_exponent)
    return chosen


class _StartSearch:
    """Starts with one value of weak likes; every rank makes the same calls.

    Args:
        model: Receives the tables of each start that is measured.
        options: Its options.
        training: Data for the closed form.
        held_out: Held-out users, or None.
        world: The ranks.
        dtype: Type of the matrices.
    """

    def __init__(
        self,
        model: RankingModel,
        options: RankingOptions,
        training: RankingData,
        held_out: RankingSplit | None,
        world: World,
        dtype: torch.dtype | None,
    ):
        self.model, self.options, self.training, self.held_out = model, options, training, held_out
        self.world = world
        self._problem = training.item_problem(world, dtype)
        self._tables: dict[float, tuple[Tensor, Tensor]] = {}

    def tables(self, l2: float) -> tuple[Tensor, Tensor]:
        """Returns the tables for a strength of L2, float ``[movies, dim]``."""

        def compute() -> tuple[Tensor, Tensor]:
            assert self._problem is not None
            source, target = self._problem.tables(l2, self.options.dim)
            return source.to(self.model.message_embedding).cpu(), target.to(self.model.target).cpu()

        if l2 not in self._tables:
            self._tables[l2] = self.world.run_on_rank0(compute)
        return self._tables[l2]

    def release(self) -> None:
        """Frees matrices; tables that were computed stay."""
        self._problem = None

    def best(self, candidates: list[int]) -> ClosedFormStart:
        """Finds the best start: over all numbers of factors, and downhill over L2 and the popularity exponent."""
        best_by_l2: dict[float, ClosedFormStart] = {}
        options = self.options
        self.model.set_popularity_exponent(default_popularity_exponent(options))

        def loss(l2: float) -> float:
            self.world.check_stop()
            starts = {count: self._start(l2, count) for count in candidates}
            # All candidates: the curve over factors has several valleys. Of equal ones the largest is taken.
            best_by_l2[l2] = starts[min(reversed(candidates), key=lambda count: starts[count].loss)]
            return best_by_l2[l2].loss

        grid = L2_GRID if self.held_out and not options.l2 else [options.l2 or DEFAULT_L2]
        return best_by_l2[descend(grid, options.l2 or DEFAULT_L2, loss)]

    def _start(self, l2: float, num_factors: int) -> ClosedFormStart:
        model, held_out = self.model, self.held_out
        model.set_tables(*self.tables(l2), num_factors)
        if held_out is not None and held_out.cold:
            model.fit_cold_rows(self.training.liked, self.world)
        metrics = choose_popularity_exponent(model, self.options, held_out, self.world) if held_out else None
        value = math.inf if metrics is None else self.world.broadcast_object(metrics.loss)
        exponent = round(float(model.popularity_exponent), 6)
        return ClosedFormStart(l2, num_factors, exponent, self.training.weak_weight, value)


def tables_of_rank_0(world: World, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Computes two tables on rank 0 and returns them on every rank: those of two ranks would differ by rounding."""
    embedding, target = world.run_on_rank0(lambda: tuple(table.cpu() for table in compute()))
    return embedding.to(world.device), target.to(world.device)


def candidate_factors(dim: int) -> list[int]:
    """Numbers of singular vectors to choose from: ``dim``, half of it, and so on to a 32nd."""
    return sorted({max(1, dim >> shift) for shift in range(6)})


def factor_grid(dim: int) -> list[int]:
    """Returns :func:`candidate_factors` and three quarters of each."""
    candidates = candidate_factors(dim)
    return sorted({*candidates, *(max(1, 3 * count // 4) for count in candidates)})


def choose_popularity_exponent(
    model: RankingModel, options: RankingOptions, held_out: RankingSplit, world: World
) -> RankingMetrics:
    """Sets the popularity exponent that is best on held-out users, near the current one, and returns its metrics.

    Args:
        model: The model.
        options: Its options; an exponent of 0 or more is fixed, others are chosen.
        held_out: Held-out users.
        world: The ranks; every rank calls this.
    """
    metrics: dict[float, RankingMetrics] = {}

    def loss(exponent: float) -> float:
        model.set_popularity_exponent(exponent)
        metrics[exponent] = held_out.evaluate(model.message_rows(), model.movie_vectors())
        value = metrics[exponent].loss
        return world.broadcast_object(math.inf if value is None else value)

    if options.popularity_exponent >= 0:
        best = options.popularity_exponent
        loss(best)
    else:
        best = descend(POPULARITY_EXPONENTS, float(model.popularity_exponent), loss)
    model.set_popularity_exponent(best)
    return metrics[best]


def descend(values: Sequence[float], start: float, loss: Callable[[float], float]) -> float:
    """Minimizes a curve with one valley over ascending values: goes downhill from the value nearest to ``start``."""
    losses: dict[int, float] = {}

    def at(index: int) -> float:
        if not 0 <= index < len(values):
            return math.inf
        if index not in losses:
            losses[index] = loss(values[index])
        return losses[index]

    index = min(range(len(values)), key=lambda number: abs(values[number] - start))
    while True:
        lowest = min((index, index - 1, index + 1), key=at)
        if lowest == index:
            return values[index]
        index = lowest


def default_popularity_exponent(options: RankingOptions) -> float:
    """Popularity exponent before one is chosen."""
    return (
        options.popularity_exponent if options.popularity_exponent >= 0 else DEFAULT_POPULARITY_EXPONENT[options.start]
    )
