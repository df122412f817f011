"""Ranking metrics: every movie of the catalog is ranked for every user, exactly, over all ranks."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.evaluation.list_metrics import ListTotals
from gnnrec.evaluation.user_sums import UserSums
from gnnrec.graph.interactions import Interactions, slice_users
from gnnrec.kernels import top_reference
from gnnrec.kernels.ragged import owners
from gnnrec.kernels.top import best_columns, first_ranks

#: Lowest rank at which a movie counts as recommended, for coverage and the share of popular movies.
_COVERED = 20
#: Share of the catalog that counts as popular.
_POPULAR = 0.01
#: Most scores in memory at a time, unless one user has more.
_SCORES = 1 << 24
#: Lower ranks only matter for MRR, which needs one of them per user.
_LISTED = 100

#: Metrics that are means over users, in the order of :func:`_figures`.
_OF_USERS = ("recall@20", "recall@50", "ndcg@100", "mrr", "ndcg@20")

#: Called with users, as local rows int64 ``[n]``, and float64 ``[n, 5]``: their Recall@20, Recall@50, NDCG@100,
#: reciprocal rank and NDCG@20.
OnUsers = Callable[[Tensor, Tensor], None]


@dataclasses.dataclass(frozen=True)
class RankingMetrics:
    """Means over the users with relevant held-out movies; None without such users.

    Recall and NDCG follow Liang et al., "Variational autoencoders for collaborative filtering" (WWW 2018, section 4.2).

    Attributes:
        recall_at_20: Relevant movies among the first 20, over ``min(20, relevant movies)``.
        recall_at_50: The same for 50.
        ndcg_at_100: ``sum 1 / log2(1 + rank)`` of the relevant movies among the first 100, over its largest value.
        mrr: One over the rank of the first relevant movie, in the whole ranking.
        coverage: Share of the catalog that is among the first 20 movies of any user.
        ndcg_at_20: Like ``ndcg_at_100``, among the first 20.
        popular: Share of popular movies among the first 20 movies of all users. Popular is the hundredth of the catalog
            with the most ratings that are left out of rankings, which are known ones.
        count: Users, of all ranks.
        at: Metrics at further lengths that were asked for (:mod:`gnnrec.evaluation.list_metrics`).
        sums_by_user: Computes :attr:`by_user`; None if there are none.
    """

    recall_at_20: float | None
    recall_at_50: float | None
    ndcg_at_100: float | None
    mrr: float | None
    coverage: float | None
    ndcg_at_20: float | None
    popular: float | None
    count: int
    at: dict[str, float] = dataclasses.field(default_factory=dict)
    sums_by_user: Callable[[], UserSums] | None = dataclasses.field(default=None, repr=False, compare=False)
    unit: ClassVar[str] = "users"

    @cached_property
    def by_user(self) -> UserSums | None:
        """Metrics of this rank's users that are means over users, by local rows."""
        return None if self.sums_by_user is None else self.sums_by_user()

    def figures(self) -> dict[str, float | None]:
        """Metric name -> value, as summaries and trackers store them."""
        return {
            "recall@20": self.recall_at_20,
            "recall@50": self.recall_at_50,
            "ndcg@100": self.ndcg_at_100,
            "mrr": self.mrr,
            "coverage": self.coverage,
            "ndcg@20": self.ndcg_at_20,
            "popular": self.popular,
        }

    @property
    def loss(self) -> float | None:
        """Loss that validation minimizes."""
        return None if self.ndcg_at_100 is None else -self.ndcg_at_100

    @property
    def headline(self) -> str:
        return f"NDCG@100 {self.ndcg_at_100:.4f}"

    def __str__(self) -> str:
        if self.ndcg_at_100 is None:
            return "no users with relevant held-out movies"
        return (
            f"Recall@20 {self.recall_at_20:.4f}  Recall@50 {self.recall_at_50:.4f}  NDCG@20 {self.ndcg_at_20:.4f}  "
            f"NDCG@100 {self.ndcg_at_100:.4f}  MRR {self.mrr:.4f}  coverage {self.coverage:.4f}  "
            f"popular {self.popular:.4f}  {self.count:,} users"
        )


@torch.no_grad()
def evaluate_ranking(
    score: Callable[[Tensor], Tensor],
    seen: Interactions,
    targets: Interactions,
    world: World,
    num_movies: int,
    candidates: Tensor | None = None,
    chunk: int = 1024,
    on_users: OnUsers | None = None,
    lengths: Sequence[int] = (),
) -> RankingMetrics:
    """Metrics of a full ranking, computed for chunks of users.

    Equal scores are ranked by movie row, and NaN last, so the result is the same on any device. Sums are all-reduced
    in float64.

    Args:
        score: Maps local user rows, int64 ``[n]``, to scores, float ``[n, movies]``. It must not call collectives:
            ranks have different numbers of users.
        seen: Ratings whose movies are left out of their user's ranking. Usually the ratings of the shown splits,
            low ones too: ``read_interactions(dataset, part, ranking_splits(...)[0], None, device)``.
        targets: Relevant held-out ratings. Movies outside of the catalog are never found.
        world: The ranks; every rank calls this with its own users.
        num_movies: Movies of the dataset.
        candidates: The catalog, bool ``[movies]`` (:func:`gnnrec.graph.interactions.candidate_movies`); None for all.
        chunk: Most users scored at a time; with many movies there are fewer.
        on_users: Called with each chunk of users.
        lengths: Lengths of lists at which further metrics are computed.
    """
    device = targets.movie.device
    if candidates is None:
        candidates = torch.ones(num_movies, dtype=torch.bool, device=device)
    sums = torch.zeros(8, dtype=torch.float64, device=device)
    covered = torch.zeros(num_movies, dtype=torch.uint8, device=device)
    ratings = world.all_reduce_sum_(torch.bincount(seen.movie, minlength=num_movies))
    popular = _popular(ratings, candidates)
    raters = int(world.all_reduce_scalar(int((seen.user_ptr.diff() > 0).sum()))) if lengths else 0
    totals = ListTotals(lengths, ratings, popular, candidates, raters)
    depth = max((_LISTED, *lengths))
    users = targets.user_ptr.diff().nonzero().squeeze(1)
    of_users: list[Tensor] = []
    chunk = max(1, min(chunk, _SCORES // num_movies))
    for rows in world.lockstep(torch.split(users, chunk) if users.numel() else []):
        scores, known = score(rows), slice_users(seen, rows)
        listed, relevant = _listed(scores, known, candidates, depth), slice_users(targets, rows)
        figures = _figures(scores, listed[:, :_LISTED], known, candidates, relevant)
        totals.add(listed, relevant)
        first = listed[:, :_COVERED]
        first = first[first >= 0]
        sums[:5] += figures.sum(0)
        sums[5] += popular[first].sum()
        sums[6:] += sums.new_tensor([first.numel(), len(rows)])
        of_users.append(figures)
        if on_users is not None:
            on_users(rows, figures)
        covered[first] = 1
    *means, popular_listed, all_listed, count = world.all_reduce_sum_(sums).tolist()
    covered = world.all_reduce_max_(covered)
    if count == 0:
        return RankingMetrics(None, None, None, None, None, None, None, 0)
    coverage = covered.sum().item() / max(int(candidates.sum()), 1)
    recall_20, recall_50, ndcg, mrr, ndcg_20 = (value / count for value in means)
    share = popular_listed / max(all_listed, 1)
    at = totals.figures(world)
    by_user = functools.partial(_by_user, users, of_users)
    return RankingMetrics(recall_20, recall_50, ndcg, mrr, coverage, ndcg_20, share, int(count), at, by_user)


def _by_user(users: Tensor, figures: list[Tensor]) -> UserSums:
    """Metrics of single users, from :func:`_figures` of chunks of them."""
    values = (torch.cat(figures) if figures else torch.zeros(0, len(_OF_USERS), dtype=torch.float64)).T.cpu().numpy()
    return UserSums(users.cpu().numpy(), np.ones(len(users)), dict(zip(_OF_USERS, values)))


def _popular(ratings: Tensor, candidates: Tensor) -> Tensor:
    """The popular movies of the catalog, by their ratings: bool ``[movies]``; ties are broken by row."""
    order = ratings.masked_fill(~candidates, -1).argsort(descending=True, stable=True)
    popular = torch.zeros_like(candidates)
    popular[order[: math.ceil(_POPULAR * int(candidates.sum()))]] = True
    return popular


def _listed(scores: Tensor, seen: Interactions, candidates: Tensor, depth: int) -> Tensor:
    """Rows of each user's first movies, best first, -1 after the last one: int64 ``[n, depth or less]``."""
    movie, _ = best_columns(scores, candidates, seen.user_ptr, seen.movie, depth)
    known = torch.segment_reduce(candidates[seen.movie.long()].double(), "sum", offsets=seen.user_ptr)
    wanted = (int(candidates.sum()) - known).clamp(max=movie.shape[1])
    short = ((movie >= 0).sum(1) < wanted).nonzero().squeeze(1)
    if short.numel():  # scores that are not finite are ranked too, last
        left_out = slice_users(seen, short)
        allowed = top_reference.ranked_scores(scores[short], candidates, left_out.user_ptr, left_out.movie)
        movie[short] = top_reference.best_columns(allowed, None, seen.user_ptr[:1], seen.movie[:0], movie.shape[1])[0]
    return movie.long()


def _figures(scores: Tensor, listed: Tensor, seen: Interactions, candidates: Tensor, relevant: Interactions) -> Tensor:
    """Recall at 20 and 50, NDCG at 100, reciprocal rank and NDCG at 20 of users: float64 ``[n, 5]``.

    Args:
        scores: Float ``[n, movies]``.
        listed: The first movies, see :func:`_listed`.
        seen: Ratings of these users whose movies are left out.
        candidates: The catalog, bool ``[movies]``.
        relevant: Relevant held-out movies of these users, at least one each.
    """
    row, movie = owners(relevant.user_ptr, torch.int64), relevant.movie.long()
    count = relevant.user_ptr.diff()
    found = listed[row] == movie[:, None]
    rank = torch.where(found.any(1), found.int().argmax(1) + 1.0, torch.inf).double()

    def by_user(values: Tensor, reduce: str = "sum") -> Tensor:
        return torch.segment_reduce(values, reduce, offsets=relevant.user_ptr)

    def recall(k: int) -> Tensor:
        return by_user((rank <= k).double()) / count.clamp(max=k)

    gain = 1 / torch.log2(1 + torch.arange(1, _LISTED + 1, dtype=torch.float64, device=rank.device))

    def ndcg(k: int) -> Tensor:
        own = torch.where(rank <= k, 1 / torch.log2(1 + rank), 0.0)
        return by_user(own) / gain.cumsum(0)[count.clamp(max=k) - 1]

    first = by_user(rank, "min")
    unlisted = first.isinf().nonzero().squeeze(1)
    if unlisted.numel():
        known, wanted = slice_users(seen, unlisted), slice_users(relevant, unlisted)
        first[unlisted] = first_ranks(
            scores, unlisted, candidates, known.user_ptr, known.movie, wanted.user_ptr, wanted.movie
        )
    return torch.stack([recall(20), recall(50), ndcg(100), 1 / first, ndcg(20)], 1)
