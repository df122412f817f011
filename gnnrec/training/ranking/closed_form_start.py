"""Closed-form start of a ranking model, with settings chosen on validation: L2 of the closed form, number of singular
vectors, and the exponent of the popularity that scores are divided by."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking import RankingMetrics
from gnnrec.evaluation.ranking_split import RankingSplit
from gnnrec.graph.interactions import Interactions
from gnnrec.models.closed_form_start import item_model
from gnnrec.models.gram import weighted_gram
from gnnrec.models.ranking_model import RankingModel
from gnnrec.models.ranking_options import RankingOptions

#: L2 strengths from which validation chooses, and the default without validation.
L2_GRID, DEFAULT_L2 = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0), 300.0
#: Exponents from which validation chooses, and the default of each start without validation.
POPULARITY_EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75)
DEFAULT_POPULARITY_EXPONENT = {"closed_form": 0.2, "random": 0.75}
#: Standard deviation over users of the change in NDCG with fewer factors: .025 to .063 on the validation users of
#: ml-latest-small and two synthetic sets. Fewer factors must gain one standard error: with few validation users the
#: best of many settings is best by chance.
NOISE = 0.05


@dataclasses.dataclass(frozen=True)
class RankingData:
    """Training data of a ranking model.

    Attributes:
        liked: Relevant training ratings of this rank's users.
        user_weight: Weight of each user in the loss, ``(ratings / mean ratings) ** power``, 0 for users without
            ratings: float ``[users]``.
        popularity: Ratings of each movie over all ranks, int64 ``[movies]``.
        weighted_popularity: The same with each rating weighted by its user's weight and the square of its confidence,
            float64 ``[movies]``: the diagonal of the weighted Gram matrix.
    """

    liked: Interactions
    user_weight: Tensor
    popularity: Tensor
    weighted_popularity: Tensor


def ranking_data(liked: Interactions, num_movies: int, user_power: float, world: World) -> RankingData:
    """Computes user weights and movie popularity from relevant ratings; every rank calls this.

    Args:
        liked: Relevant training ratings of this rank's users.
        num_movies: Movies of the dataset.
        user_power: Exponent of the number of ratings in a user's weight.
        world: The ranks.
    """
    popularity = world.all_reduce_sum_(torch.bincount(liked.movie, minlength=num_movies))
    ratings = liked.user_ptr.diff()
    has_some = ratings > 0
    mean = float(popularity.sum()) / max(world.all_reduce_scalar(int(has_some.sum())), 1.0)
    weight = torch.where(has_some, (ratings.clamp(min=1).double() / max(mean, 1e-12)) ** user_power, 0.0)
    of_rating = weight.repeat_interleave(ratings)
    if liked.weight is not None:
        of_rating = of_rating * liked.weight.square()
    weighted = torch.bincount(liked.movie, of_rating, minlength=num_movies)
    return RankingData(liked, weight.to(torch.get_default_dtype()), popularity, world.all_reduce_sum_(weighted))


@dataclasses.dataclass(frozen=True)
class ClosedFormStart:
    """A chosen start.

    Attributes:
        l2: Strength of L2.
        num_factors: Singular vectors kept.
        popularity_exponent: Exponent of popularity.
        loss: Loss on validation; infinite without validation.
    """

    l2: float
    num_factors: int
    popularity_exponent: float
    loss: float


def start_from_closed_form(
    model: RankingModel, options: RankingOptions, training: RankingData, held_out: RankingSplit | None, world: World
) -> ClosedFormStart:
    """Sets the tables and the popularity exponent of a model to those of the closed form.

    Rank 0 computes, since the eigenvectors of two ranks would differ by rounding; every rank calls this.

    Args:
        model: The model.
        options: Its options; open ones are chosen on validation.
        training: Data for the closed form.
        held_out: Validation users; None without validation.
        world: The ranks.
    """
    gram = weighted_gram(training.liked, training.popularity.numel(), training.user_weight, world)
    if not world.is_main:
        del gram  # used on rank 0 alone

    def closed_form_tables(l2: float) -> tuple[Tensor, Tensor]:
        source, target = item_model(gram, l2).tables(options.dim)
        return source.to(model.message_embedding).cpu(), target.to(model.target).cpu()

    tables: dict[float, tuple[Tensor, Tensor]] = {}

    def search(candidates: list[int]) -> ClosedFormStart:
        """Finds the best start: over all numbers of factors, and downhill over L2 and the popularity exponent."""
        best_by_l2: dict[float, ClosedFormStart] = {}
        model.set_popularity_exponent(default_popularity_exponent(options))

        def loss(l2: float) -> float:
            world.check_stop()
            if l2 not in tables:
                tables[l2] = world.run_on_rank0(lambda: closed_form_tables(l2))
            starts: dict[int, ClosedFormStart] = {}

            def loss_with_factors(num_factors: int) -> float:
                model.set_tables(*tables[l2], num_factors)
                metrics = choose_popularity_exponent(model, options, held_out, world) if held_out else None
                value = math.inf if metrics is None else world.broadcast_object(metrics.loss)
                starts[num_factors] = ClosedFormStart(l2, num_factors, float(model.popularity_exponent), value)
                return value

            # All candidates: the curve over factors has several valleys. Of equal ones the largest is taken.
            best = starts[min(reversed(candidates), key=loss_with_factors)]
            best_by_l2[l2] = best
            return best.loss

        grid = L2_GRID if held_out and not options.l2 else [options.l2 or DEFAULT_L2]
        return best_by_l2[descend(grid, options.l2 or DEFAULT_L2, loss)]

    chosen = search([options.num_factors or options.dim])
    if held_out and not options.num_factors:
        users = world.all_reduce_scalar(int((held_out.targets.user_ptr.diff() > 0).sum()))
        other = search(candidate_factors(options.dim))
        if other.loss < chosen.loss - NOISE / math.sqrt(users):
            chosen = other
    model.set_tables(*tables[chosen.l2], chosen.num_factors)
    model.set_popularity_exponent(chosen.popularity_exponent)
    return chosen


def tables_of_rank_0(world: World, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Computes two tables on rank 0 and returns them on every rank: those of two ranks would differ by rounding."""
    embedding, target = world.run_on_rank0(lambda: tuple(table.cpu() for table in compute()))
    return embedding.to(world.device), target.to(world.device)


def candidate_factors(dim: int) -> list[int]:
    """Numbers of singular vectors from which validation chooses: ``dim``, half of it, and so on to a 32nd."""
    return sorted({max(1, dim >> shift) for shift in range(6)})


def choose_popularity_exponent(
    model: RankingModel, options: RankingOptions, held_out: RankingSplit, world: World
) -> RankingMetrics:
    """Sets the popularity exponent that is best on validation, near the current one, and returns its metrics.

    Args:
        model: The model.
        options: Its options; an exponent of 0 or more is fixed, others are chosen.
        held_out: Validation users.
        world: The ranks; every rank calls this.
    """
    metrics: dict[float, RankingMetrics] = {}

    def loss(exponent: float) -> float:
        model.set_popularity_exponent(exponent)
        metrics[exponent] = held_out.evaluate(model.message_embedding, model.movie_vectors())
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
    """Popularity exponent before validation chooses one."""
    return (
        options.popularity_exponent if options.popularity_exponent >= 0 else DEFAULT_POPULARITY_EXPONENT[options.start]
    )
