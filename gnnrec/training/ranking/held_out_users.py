"""Train users that are held out inside, on whom settings of a ranking model are chosen."""

from __future__ import annotations

import dataclasses

import torch

from gnnrec import rng
from gnnrec.distributed.world import World
from gnnrec.evaluation.lists import MEASURED_USERS
from gnnrec.evaluation.ranking_split import RankingSplit, only_users
from gnnrec.graph.interactions import Interactions, select_edges
from gnnrec.kernels.ragged import owners
from gnnrec.models.ease import select_movies
from gnnrec.training.ranking.training_data import RankingData, ranking_data

#: Share of the train users that are held out, and of their likes that are to be found from the others.
HELD_OUT_USERS, HELD_OUT_LIKES = 0.2, 0.2
#: Most movies of the choice: the most liked ones.
CHOICE_MOVIES = 4096


@dataclasses.dataclass(frozen=True)
class InnerSplit:
    """Train users without those that are held out inside, and these, restricted to the most liked movies.

    Attributes:
        training: The others; movies are numbered among the chosen ones.
        held_out: The held-out users, with the same numbers.
    """

    training: RankingData
    held_out: RankingSplit


def hold_out_users(
    liked: Interactions,
    weak: Interactions | None,
    num_movies: int,
    user_power: float,
    world: World,
    seed: int,
    first_row: int,
) -> InnerSplit | None:
    """Holds out a fifth of the users, at most about 10,000; every rank calls this.

    The draw depends on the seed and the rows of users alone, so it is the same on any number of ranks.

    Args:
        liked: Likes of this rank's users.
        weak: Their weak likes, or None on every rank.
        num_movies: Movies of the dataset.
        user_power: Exponent of the number of likes in a user's weight.
        world: The ranks.
        seed: Seed of the run.
        first_row: Global row of this rank's first user.

    Returns:
        None if no user can be held out.
    """
    active = liked.user_ptr.diff() > 0
    share = min(HELD_OUT_USERS, MEASURED_USERS / max(world.all_reduce_scalar(int(active.sum())), 1.0))
    rows = torch.arange(first_row, first_row + liked.num_users, device=active.device)
    chosen = active & (rng.uniform(rng.key(seed, "ranking users"), rows) < share)
    own, others = only_users(liked, chosen), only_users(liked, ~chosen)
    counts = world.all_reduce_sum_(torch.bincount(others.movie, minlength=num_movies))
    by_likes = counts.argsort(descending=True, stable=True)[: int((counts > 0).sum())]
    movies = by_likes[:CHOICE_MOVIES].sort().values
    own, others = (select_movies(part, movies, num_movies) for part in (own, others))
    drawn = rng.uniform(rng.key(seed, "ranking likes"), own.edge_id) < HELD_OUT_LIKES
    shown = select_edges(own, ~drawn)
    has_shown = (shown.user_ptr.diff() > 0)[owners(own.user_ptr, torch.int64)]
    targets = select_edges(own, drawn & has_shown)
    if not world.all_reduce_scalar(targets.num_edges) or not world.all_reduce_scalar(others.num_edges):
        return None
    split = RankingSplit(world, shown, shown, targets, None, len(movies))
    if weak is not None:
        weak = select_movies(only_users(weak, others.user_ptr.diff() > 0), movies, num_movies)
    return InnerSplit(ranking_data(others, len(movies), user_power, world, weak), split)
