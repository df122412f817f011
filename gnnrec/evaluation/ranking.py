"""How well movies are ranked: every movie of the catalogue for every user, exactly, over all ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from gnnrec.distributed import World
from gnnrec.graph.interactions import Interactions
from gnnrec.graph.ragged import offsets, owners, ranges

#: Rank up to which a movie counts as recommended, for coverage.
_COVERED = 20
#: Scores compared with a target at a time.
_BLOCK = 1 << 23


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
        chunk: Users scored at a time.
    """
    device = targets.movie.device
    if candidates is None:
        candidates = torch.ones(num_movies, dtype=torch.bool, device=device)
    sums = torch.zeros(5, dtype=torch.float64, device=device)
    covered = torch.zeros(num_movies, dtype=torch.uint8, device=device)
    users = targets.user_ptr.diff().nonzero().squeeze(1)
    for start in range(0, users.numel(), chunk):
        chosen = users[start : start + chunk]
        scores = _allowed_scores(score(chosen), seen, chosen, candidates)
        wanted = targets.user_ptr.diff()[chosen]
        movie = targets.movie[ranges(targets.user_ptr[chosen], wanted)].long()
        rank = _ranks(scores, owners(offsets(wanted), torch.int64), movie)
        sums += _sums(rank, wanted)
        covered |= _first(scores, _COVERED).any(0)
    *means, count = world.sum_(sums).tolist()
    covered = world.max_(covered)
    if count == 0:
        return RankingMetrics(None, None, None, None, None, 0)
    coverage = covered.sum().item() / max(int(candidates.sum()), 1)
    return RankingMetrics(*(value / count for value in means), coverage, int(count))


def _allowed_scores(scores: Tensor, seen: Interactions, users: Tensor, candidates: Tensor) -> Tensor:
    """A copy with minus infinity for movies that are not ranked, and no such value anywhere else."""
    lowest, highest = torch.finfo(scores.dtype).min, torch.finfo(scores.dtype).max
    scores = scores.nan_to_num(nan=lowest, neginf=lowest, posinf=highest)
    count = seen.user_ptr.diff()[users]
    movie = seen.movie[ranges(seen.user_ptr[users], count)].long()
    scores[owners(offsets(count), torch.int64), movie] = -torch.inf
    return scores.masked_fill_(~candidates, -torch.inf)


def _ranks(scores: Tensor, row: Tensor, movie: Tensor) -> Tensor:
    """Rank of each target in its user's ranking, from 1; infinite where it is not ranked. float64 ``[targets]``.

    Counting what stands before a target is exact, needs no sorting, and is fast, for targets are few.

    Args:
        scores: Float ``[n, movies]``.
        row: Row of each target, int64 ``[targets]``.
        movie: Its movie, int64 ``[targets]``.
    """
    own = scores[row, movie]
    place = torch.arange(scores.shape[1], device=scores.device)
    before = []
    block = max(1, _BLOCK // scores.shape[1])
    for start in range(0, row.numel(), block):
        part = slice(start, start + block)
        others, mine = scores[row[part]], own[part, None]
        ahead = (others > mine) | ((others == mine) & (place < movie[part, None]))
        before.append(ahead.sum(1))
    rank = torch.cat(before).double() + 1
    return rank.masked_fill_(own == -torch.inf, torch.inf)


def _sums(rank: Tensor, wanted: Tensor) -> Tensor:
    """Sums over users of recall at 20 and 50, NDCG at 100, reciprocal rank, and 1: float64 ``[5]``.

    Args:
        rank: float64 ``[targets]``, in the order of users.
        wanted: Targets of each user, int64 ``[users]``, at least 1.
    """
    pointer = offsets(wanted)

    def by_user(values: Tensor, reduce: str = "sum") -> Tensor:
        return torch.segment_reduce(values, reduce, offsets=pointer)

    def recall(k: int) -> Tensor:
        return by_user((rank <= k).double()) / wanted.clamp(max=k)

    gain = 1 / torch.log2(1 + torch.arange(1, 101, dtype=torch.float64, device=rank.device))
    ideal = gain.cumsum(0)[wanted.clamp(max=100) - 1]
    ndcg = by_user(torch.where(rank <= 100, 1 / torch.log2(1 + rank), 0.0)) / ideal
    first = by_user(1 / rank, "max")
    return torch.stack([recall(20).sum(), recall(50).sum(), ndcg.sum(), first.sum(), ndcg.new_tensor(ndcg.numel())])


def _first(scores: Tensor, k: int) -> Tensor:
    """Whether a movie is among the first ``k``, bool ``[n, movies]``; of equal scores the lower rows are."""
    k = min(k, scores.shape[1])
    last = scores.topk(k, 1).values[:, -1:]
    above, level = scores > last, scores == last
    room = k - above.sum(1, keepdim=True)
    return (above | (level & (level.cumsum(1) <= room))) & (scores > -torch.inf)
