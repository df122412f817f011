"""Metrics of lists at any length, under the definitions that publications and libraries have.

Names are ``METRIC@K``. Of a user with ``n`` relevant held-out movies and a list whose first ``K`` movies hold ``h`` of
them, at ranks ``r``:

====================  =============================================================================================
``hit_rate``          1 if ``h > 0``, else 0; also called HR
``precision``         ``h / K``, also of lists that are shorter
``recall``            ``h / min(K, n)`` (Liang et al., "Variational autoencoders for collaborative filtering", WWW 2018)
``recall_all``        ``h / n`` (scikit-learn, PyG, trec_eval)
``ndcg``              ``sum 1 / log2(1 + r)`` over its largest value for ``min(K, n)`` movies (Liang et al.)
``map``               ``sum h(r) / r`` over ``min(K, n)``, where ``h(r)`` counts relevant movies up to rank ``r`` (PyG)
``map_all``           the same over ``n`` (trec_eval, ranx)
``map_found``         the same over ``h``, or 0 (cornac, some tutorials)
``mrr``               ``1 / r`` of the first relevant movie, 0 without one
====================  =============================================================================================

They are means over users with relevant held-out movies. The following are of all lists together:

====================  =============================================================================================
``coverage``          share of the catalog that is in any list
``novelty``           mean of ``-log2`` of the share of users who have rated a listed movie, in bits (Vargas and
                      Castells, "Rank and relevance in novelty and diversity metrics", RecSys 2011)
``popularity``        mean number of known ratings of a listed movie
``popular``           share of the movies in lists that are popular: of the hundredth with the most known ratings
``personalization``   1 less the mean share of movies that the lists of two users have in common
====================  =============================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions
from gnnrec.kernels.ragged import owners

#: Metrics that are means over users, and metrics of all lists.
OF_USERS = ("hit_rate", "precision", "recall", "recall_all", "ndcg", "map", "map_all", "map_found", "mrr")
OF_LISTS = ("coverage", "novelty", "popularity", "popular", "personalization")


class ListTotals:
    """Sums of the metrics over the users of this rank.

    Args:
        lengths: Lengths of lists.
        ratings: Known ratings of each movie, over all ranks, int64 ``[movies]``.
        popular: Popular movies, bool ``[movies]``.
        candidates: The catalog, bool ``[movies]``.
        users: Users with known ratings, of all ranks.
    """

    def __init__(self, lengths: Sequence[int], ratings: Tensor, popular: Tensor, candidates: Tensor, users: int):
        self.lengths, self.candidates = tuple(lengths), candidates
        rarity = -torch.log2(ratings.double().clamp(min=1) / max(users, 1))
        self._of_movie = torch.stack([rarity, ratings.double(), popular.double()], 1)
        device = ratings.device
        self._users = torch.zeros(len(self.lengths), len(OF_USERS), dtype=torch.float64, device=device)
        self._listed = torch.zeros(len(self.lengths), ratings.numel(), dtype=torch.int64, device=device)
        self._count = torch.zeros(1, dtype=torch.float64, device=device)

    def add(self, listed: Tensor, relevant: Interactions) -> None:
        """Adds some users.

        Args:
            listed: Their lists, as long as the longest length or as the catalog, best first, -1 after the last movie:
                int64 ``[n, length]``.
            relevant: Their relevant held-out movies, at least one each.
        """
        if not self.lengths:
            return
        count = relevant.user_ptr.diff().double()
        is_relevant = torch.zeros(listed.shape, dtype=torch.float64, device=listed.device)
        row = owners(relevant.user_ptr, torch.int64)
        found = listed[row] == relevant.movie.long()[:, None]
        hit = found.any(1)
        is_relevant[row[hit], found[hit].int().argmax(1)] = 1
        rank = torch.arange(1, listed.shape[1] + 1, dtype=torch.float64, device=listed.device)
        up_to = is_relevant.cumsum(1)
        gain = is_relevant / torch.log2(1 + rank)
        largest = (1 / torch.log2(1 + rank)).cumsum(0)
        precision = is_relevant * up_to / rank
        for number, length in enumerate(self.lengths):
            hits, most = up_to[:, :length][:, -1], count.clamp(max=length)
            attainable = largest[most.clamp(max=len(rank)).long() - 1]
            average = precision[:, :length].sum(1)
            first = (is_relevant[:, :length] / rank[:length]).amax(1)
            values = (
                (hits > 0).double(), hits / length, hits / most, hits / count, gain[:, :length].sum(1) / attainable,
                average / most, average / count, average / hits.clamp(min=1), first,
            )  # fmt: skip
            self._users[number] += torch.stack(values, 1).sum(0)
            movies = listed[:, :length]
            self._listed[number] += torch.bincount(movies[movies >= 0], minlength=self._listed.shape[1])
        self._count += listed.shape[0]

    def figures(self, world: World) -> dict[str, float]:
        """Metric ``NAME@K`` -> value, over all ranks; every rank calls this. Empty without users or lengths."""
        if not self.lengths:
            return {}
        of_users, listed = world.all_reduce_sum_(self._users), world.all_reduce_sum_(self._listed)
        count = world.all_reduce_sum_(self._count).item()
        figures: dict[str, float] = {}
        if not count:
            return figures
        for number, length in enumerate(self.lengths):
            means = (of_users[number] / count).tolist()
            figures |= {f"{name}@{length}": mean for name, mean in zip(OF_USERS, means)}
            times = listed[number].double()
            total = max(times.sum().item(), 1.0)
            novelty, popularity, popular = (times @ self._of_movie / total).tolist()
            coverage = (times > 0).sum().item() / max(int(self.candidates.sum()), 1)
            pairs, mean_length = count * (count - 1) / 2, total / count
            common = (times * (times - 1)).sum().item() / 2 / max(pairs, 1) / mean_length
            values = (coverage, novelty, popularity, popular, 1 - common)
            figures |= {f"{name}@{length}": value for name, value in zip(OF_LISTS, values)}
        return figures
