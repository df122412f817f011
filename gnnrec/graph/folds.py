"""K-fold supervision: assigns target edges and seed users to the steps of an epoch.

Every epoch assigns each training edge to a random fold. An epoch has K passes over the users; in pass ``f`` the edges
of fold ``f`` are targets and carry no messages. A step takes one slice of every shard's shuffled users, so every rank
has the same number of steps, every edge is a target exactly once per epoch, and nothing depends on the number of ranks.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.graph.fold_biases import FoldBiases, fold_biases, group_of
from gnnrec.graph.fold_sums import Folds
from gnnrec.graph.partition import Partition
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.kernels.ragged import offsets, ranges
from gnnrec.kernels.random import small_integers

#: Most users of all passes of an epoch whose slices are drawn once, which takes 32 MB. Otherwise they are drawn twice:
#: to be counted, and to be used.
MOST_KEPT = 1 << 22


@dataclasses.dataclass(frozen=True)
class Step:
    """One optimizer step.

    Attributes:
        epoch: Epoch, from 0.
        index: Step within the epoch, from 0.
        fold: Fold of the targets; its edges carry no messages.
        seeds: Local rows of this rank's seed users, int64, or None for all users in row order.
        num_targets: Targets of all ranks in this step.
        local_targets: Targets of this rank in this step; None if not counted.
    """

    epoch: int
    index: int
    fold: int
    seeds: Tensor | None
    num_targets: int
    local_targets: int | None = None


class Epoch:
    """Folds and steps of one epoch.

    Args:
        graph: The rank's graph.
        seed: Seed of the run.
        epoch: Epoch, from 0.
        folds: K, 2 to 256.
        seed_users: Seed users per step over all ranks; 0 for all users.
    """

    def __init__(self, graph: RankGraph, seed: int, epoch: int, folds: int, seed_users: int = 0):
        self.graph, self.seed, self.epoch, self.num_folds = graph, seed, epoch, folds
        self.slices = -(-graph.num_users_global // seed_users) if seed_users > 0 else 1
        stream = rng.key(seed, "fold", epoch)
        self.fold = small_integers(stream, graph.edge_id, folds)
        self._pass: tuple[int, Tensor] | None = None  # a fold and the seeds of all of its steps
        self._biases: FoldBiases | None = None
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}  # slices of folds

    @property
    def num_steps(self) -> int:
        return self.num_folds * self.slices

    @cached_property
    def folds(self) -> Folds:
        """Edges and sums by fold; the first access is a collective."""
        return Folds.build(self.graph, self.fold, self.num_folds)

    def biases(self, fold: int) -> FoldBiases:
        """Returns biases of a group of folds with this one; the first call for a group is a collective."""
        if self._biases is None or fold not in self._biases.folds:
            self._biases = None  # frees the previous group first
            self._biases = fold_biases(self.graph, self.folds, group_of(self.graph, fold, self.num_folds))
        return self._biases

    @cached_property
    def _targets(self) -> Tensor:
        """Positions by user of all edges, sorted by fold, then user."""
        return torch.argsort(self.fold, stable=True)

    @cached_property
    def _target_ptr(self) -> Tensor:
        """Start of each (fold, user) list in :attr:`_targets`: ``[folds * users + 1]``."""
        return offsets(self.folds.user_count.flatten())

    def targets(self, fold: int, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Selects the target edges of some users.

        Args:
            fold: Fold.
            seeds: Local user rows, or None for all in row order.

        Returns:
            Targets per user, int64 ``[seeds]``, and the positions by user of the targets, grouped by user.
        """
        first = fold * self.graph.num_users
        starts = self._target_ptr[first : first + self.graph.num_users + 1]
        if seeds is None:
            return starts.diff(), self._targets[int(starts[0]) : int(starts[-1])]
        counts = starts.diff()[seeds]
        return counts, self._targets[ranges(starts[seeds], counts)]

    def step(self, index: int) -> Step:
        """Returns step ``index`` of this epoch, from 0; the first call is a collective."""
        fold, position = divmod(index, self.slices)
        targets, local_targets, count = self._counts[index]
        seeds = None
        if self.slices > 1:
            first = sum(number for _, number in self.local_sizes(fold)[:position])
            seeds = self.seeds(fold)[first : first + count]
        return Step(self.epoch, index, fold, seeds, targets, local_targets)

    def seeds(self, fold: int) -> Tensor:
        """Returns local rows of this rank's users, sorted by the step of a pass whose seeds they are, then row."""
        if self._pass is None or self._pass[0] != fold:
            self._pass = fold, self._slices(fold)[0]
        return self._pass[1]

    def local_sizes(self, fold: int) -> list[tuple[int, int]]:
        """Returns the targets and the seed users of this rank in each step of a pass."""
        steps = self._counts[fold * self.slices : (fold + 1) * self.slices]
        return [(targets, seeds) for _, targets, seeds in steps]

    @cached_property
    def _counts(self) -> list[list[int]]:
        """Targets of all ranks, those of this one, and its seed users, in every step; one collective per epoch."""
        if self.slices == 1:
            targets = self.folds.user_count.sum(1)
            local = torch.stack([targets, torch.full_like(targets, self.graph.num_users)])
        else:
            local = torch.cat([self._local_counts(fold) for fold in range(self.num_folds)], 1)
        return torch.cat([self.graph.world.all_reduce_sum_(local[:1].clone()), local]).T.tolist()

    def _local_counts(self, fold: int) -> Tensor:
        """Targets and seed users of this rank in the steps of a pass, int64 ``[2, slices]``."""
        order, pointer = self._slices(fold)
        return torch.stack([offsets(self.folds.user_count[fold][order])[pointer], pointer]).diff()

    def _slices(self, fold: int) -> tuple[Tensor, Tensor]:
        """Returns local users sorted by step, and the start of each step ``[slices + 1]``."""
        if fold in self._kept:
            return self._kept[fold]
        drawn = self._slicing.draw(rng.key(self.seed, "shuffle", self.epoch, fold))
        if self.num_folds * self.graph.num_users <= MOST_KEPT:
            self._kept[fold] = drawn
        return drawn

    @cached_property
    def _slicing(self) -> StratifiedSlices:
        return StratifiedSlices(self.graph.part, self.slices, self.graph.device)


class StratifiedSlices:
    """Splits the users of a rank into slices with equal parts of every shard, anew for each key.

    User number ``i`` of a shard of ``n`` users in random order belongs to slice ``(i * slices // n + turn) % slices``.
    ``turn`` is the shard's position in a random order of all shards, so that shards smaller than the number of slices
    neither crowd into a few slices nor always share a slice with the same other shards.

    Args:
        part: The owned users.
        slices: Number of slices, the same on every rank.
        device: Device of the results.
    """

    def __init__(self, part: Partition, slices: int, device: torch.device):
        self.part, self.slices, self.device = part, slices, device
        sizes = torch.tensor(part.shards, device=device).diff()
        numbers = torch.arange(sizes.numel(), device=device)
        self._shard = torch.repeat_interleave(numbers, sizes, output_size=part.num_users)
        self._rows = torch.arange(part.start, part.stop, device=device)
        place = torch.arange(part.num_users, device=device) - (offsets(sizes)[:-1])[self._shard]
        # Of users sorted by shard, before the turn.
        self._slice = place * slices // sizes[self._shard]
        self._every_slice = torch.arange(slices + 1, device=device)

    def draw(self, stream: int) -> tuple[Tensor, Tensor]:
        """Draws the slices.

        Args:
            stream: Key from :func:`gnnrec.rng.key`, a new one for every split.

        Returns:
            Local users sorted by slice, then row, int64 ``[users]``, and the start of each slice, int64
            ``[slices + 1]``.
        """
        shuffled = rng.permutation(stream, self._rows)
        shuffled = shuffled[torch.argsort(self._shard[shuffled], stable=True)]
        # Of few numbers, so the host draws them.
        turn = torch.argsort(rng.permutation(rng.key(stream, "shards"), torch.arange(self.part.num_shards)))
        turn = turn[self.part.first_shard :].to(self.device, non_blocking=True)
        position = (self._slice + turn[self._shard]) % self.slices
        # Sorting the users of a slice by row makes memory accesses sequential.
        by_row = torch.argsort(position * self.part.num_users + shuffled)
        return shuffled[by_row], torch.searchsorted(position[by_row], self._every_slice)


def stratified_slices(part: Partition, slices: int, stream: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Draws :class:`StratifiedSlices` once."""
    return StratifiedSlices(part, slices, device).draw(stream)
