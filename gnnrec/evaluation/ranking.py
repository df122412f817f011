"""How well movies are ranked: every movie of the catalogue for every user, exactly, over all ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions, slice_users
from gnnrec.kernels.ragged import owners

#: Rank up to which a movie counts as recommended, for coverage.
_COVERED = 20
#: Scores held at a time, at most, unless one user's are more.
_SCORES = 1 << 24
#: Ranks past this one matter to MRR alone, which wants one of them.
_LISTED = 100

#: Told of some users: local rows, int64 ``[n]``; and their Recall@20, Recall@50, NDCG@100 and reciprocal rank, float64
#: ``[n, 4]``.
OnUsers = Callable[[Tensor, Tensor], None]


@dataclasses.dataclass(frozen=True)
class RankingMetrics:
    """Means over the users who have something to find; None where there are none.

    Recall and NDCG follow Liang et al., "Variational autoencoders for collaborative filtering" (WWW 2018, section 4.2).

    Attributes:
        recall_at_20: Relevant movies among the first 20, over ``min(20, relevant movies)``.
        recall_at_50: The same for 50.
        ndcg_at_100: ``sum 1 / log2(1 + rank)`` of the relevant movies among the first 100, over its largest value.
        mrr: One over the rank of the first relevant movie, in the whole ranking.
        coverage: Share of the catalogue that is among the first 20 of any of the users.
        count: Users, of all ranks.
    """

    recall_at_20: float | None
    recall_at_50: float | None
    ndcg_at_100: float | None
    mrr: float | None
    coverage: float | None
    count: int
    unit: ClassVar[str] = "users"

    def figures(self) -> dict[str, float | None]:
        """Metric name -> value, as summaries and trackers store them."""
        return {
            "recall@20": self.recall_at_20,
            "recall@50": self.recall_at_50,
            "ndcg@100": self.ndcg_at_100,
            "mrr": self.mrr,
            "coverage": self.coverage,
        }

    @property
    def loss(self) -> float | None:
        """What validation minimises."""
        return None if self.ndcg_at_100 is None else -self.ndcg_at_100

    @property
    def headline(self) -> str:
        return f"NDCG@100 {self.ndcg_at_100:.4f}"

    def __str__(self) -> str:
        if self.ndcg_at_100 is None:
            return "no users with something to find"
        return (
            f"Recall@20 {self.recall_at_20:.4f}  Recall@50 {self.recall_at_50:.4f}  NDCG@100 {self.ndcg_at_100:.4f}  "
            f"MRR {self.mrr:.4f}  coverage {self.coverage:.4f}  {self.count:,} users"
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
) -> RankingMetrics:
    """Metrics of a full ranking, a chunk of users at a time.

    Equal scores are ranked by movie row, and scores that are not numbers last, so the result is the same on any
    device. Sums are all-reduced in float64.

    Args:
        score: From local user rows, int64 ``[n]``, to scores, float ``[n, movies]``. It must not call collectives:
            ranks have different numbers of users.
        seen: Ratings whose movies are left out of their user's ranking. Usually the ratings of the shown splits,
            low ones too: ``read_interactions(dataset, part, ranking_splits(...)[0], None, device)``.
        targets: What is to be found. Movies outside of the catalogue are never found.
        world: The ranks; every rank calls this with its own users.
        num_movies: Movies of the dataset.
        candidates: The catalogue, bool ``[movies]`` (:func:`gnnrec.graph.interactions.catalogue`); None is all.
        chunk: Users scored at a time, at most: with many movies they are fewer.
        on_users: Told of each chunk of users.
    """
    device = targets.movie.device
    if candidates is None:
        candidates = torch.ones(num_movies, dtype=torch.bool, device=device)
    sums = torch.zeros(5, dtype=torch.float64, device=device)
    covered = torch.zeros(num_movies, dtype=torch.uint8, device=device)
    users = targets.user_ptr.diff().nonzero().squeeze(1)
    chunk = max(1, min(chunk, _SCORES // num_movies))
    for chosen in world.lockstep(torch.split(users, chunk) if users.numel() else []):
        scores = _allowed_scores(score(chosen), seen, chosen, candidates)
        wanted = slice_users(targets, chosen)
        place = _places(scores)
        figures = _figures(scores, place, wanted)
        sums += torch.cat([figures.sum(0), figures.new_tensor([len(chosen)])])
        if on_users is not None:
            on_users(chosen, figures)
        covered |= ((place > 0) & (place <= _COVERED)).any(0)
    *means, count = world.all_reduce_sum_(sums).tolist()
    covered = world.all_reduce_max_(covered)
    if count == 0:
        return RankingMetrics(None, None, None, None, None, 0)
    coverage = covered.sum().item() / max(int(candidates.sum()), 1)
    recall_20, recall_50, ndcg, mrr = (value / count for value in means)
    return RankingMetrics(recall_20, recall_50, ndcg, mrr, coverage, int(count))


def _allowed_scores(scores: Tensor, seen: Interactions, users: Tensor, candidates: Tensor) -> Tensor:
    """A copy with minus infinity for movies that are not ranked, and no such value anywhere else."""
    lowest, highest = torch.finfo(scores.dtype).min, torch.finfo(scores.dtype).max
    scores = scores.nan_to_num(nan=lowest, neginf=lowest, posinf=highest)
    seen = slice_users(seen, users)
    scores[owners(seen.user_ptr, torch.int64), seen.movie.long()] = -torch.inf
    return scores.masked_fill_(~candidates, -torch.inf)


def _places(scores: Tensor) -> Tensor:
    """Place of each user's first 100 movies, from 1; 0 for the others and for those that are not ranked.

    Args:
        scores: Float ``[n, movies]``.

    Returns:
        int16 ``[n, movies]``.
    """
    listed = min(_LISTED, scores.shape[1])
    values, movie = scores.topk(listed, 1)
    movie, by_movie = movie.sort(1)
    values, by_score = values.gather(1, by_movie).sort(dim=1, descending=True, stable=True)
    movie = movie.gather(1, by_score)
    # Where equal scores reach beyond the list, topk has taken any of them.
    tied = ((scores >= values[:, -1:]).sum(1) > listed).nonzero().squeeze(1)
    if tied.numel():
        whole = scores[tied].sort(dim=1, descending=True, stable=True)
        values[tied], movie[tied] = whole.values[:, :listed], whole.indices[:, :listed]
    place = torch.arange(1, listed + 1, dtype=torch.int16, device=scores.device).expand_as(movie)
    place = place.masked_fill(values == -torch.inf, 0)
    return torch.zeros_like(scores, dtype=torch.int16).scatter_(1, movie, place)


def _figures(scores: Tensor, place: Tensor, wanted: Interactions) -> Tensor:
    """Recall at 20 and 50, NDCG at 100 and reciprocal rank of users: float64 ``[n, 4]``.

    Args:
        scores: Float ``[n, movies]``.
        place: Their first places, see :func:`_places`.
        wanted: What these users are to find, at least one movie each.
    """
    row, movie = owners(wanted.user_ptr, torch.int64), wanted.movie.long()
    count = wanted.user_ptr.diff()
    rank = place[row, movie].double()
    rank[rank == 0] = torch.inf

    def by_user(values: Tensor, reduce: str = "sum") -> Tensor:
        return torch.segment_reduce(values, reduce, offsets=wanted.user_ptr)

    def recall(k: int) -> Tensor:
        return by_user((rank <= k).double()) / count.clamp(max=k)

    gain = 1 / torch.log2(1 + torch.arange(1, _LISTED + 1, dtype=torch.float64, device=rank.device))
    ndcg = by_user(1 / torch.log2(1 + rank)) / gain.cumsum(0)[count.clamp(max=_LISTED) - 1]
    first = by_user(rank, "min")
    lost = first.isinf().nonzero().squeeze(1)
    if lost.numel():
        own = scores[row, movie].double()
        best = by_user(own, "max")
        at_best = torch.where(own == best[row], movie.double(), torch.inf)
        first[lost] = _counted_rank(scores[lost], best[lost].to(scores.dtype), by_user(at_best, "min")[lost])
    return torch.stack([recall(20), recall(50), ndcg, 1 / first], 1)


def _counted_rank(scores: Tensor, own: Tensor, movie: Tensor) -> Tensor:
    """Rank of one movie of each user in the whole ranking, float64 ``[n]``; infinite where it is not ranked.

    Args:
        scores: Float ``[n, movies]``.
        own: Score of the movie, float ``[n]``.
        movie: Its row, ``[n]``.
    """
    row = torch.arange(scores.shape[1], device=scores.device)
    ahead = (scores > own[:, None]) | ((scores == own[:, None]) & (row < movie[:, None]))
    return (ahead.sum(1) + 1).double().masked_fill(own == -torch.inf, torch.inf)
