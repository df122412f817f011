"""The bipartite graph of one rank: all message edges of its users, sorted both ways."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.distributed import World
from gnnrec.graph.drift import TimeBins, time_bins
from gnnrec.graph.partition import Partition, partition
from gnnrec.kernels.ragged import counting_sort, index_dtype, offsets, owners


@dataclasses.dataclass
class RankGraph:
    """Message edges of the users of one rank.

    An edge has three names: its *position by user* (edges sorted by local user, then movie), its *position by movie*
    (sorted by movie, then user), and its global id (its position in the prepared arrays), which is the same on every
    world size and is what folds and draws are computed from.

    Attributes:
        world: The ranks.
        part: The owned user rows.
        num_users_global: Users of the whole dataset.
        num_movies: Movies, all of them on every rank.
        user_ptr: int64 ``[users + 1]``, positions by user.
        movie: int32 ``[edges]``, by user.
        rating: float ``[edges]``, by user; its dtype is the dtype of everything computed from it.
        level: uint8 ``[edges]``, by user: nearest rating level.
        num_levels: Number of rating levels.
        rating_scale: Lowest and highest possible rating.
        edge_id: int64 ``[edges]``, by user: global ids.
        movie_ptr: int64 ``[movies + 1]``, positions by movie.
        user: int32 ``[edges]``, by movie: local user rows.
        order: int32 or int64 ``[edges]``: position by user of each edge by movie.
        movie_degree: int64 ``[movies]``: raters on all ranks.
        movie_start: int64 ``[movies]``: where this rank's raters start in the movie's global rater list.
        time_bins: Message edges cut into bins of time; None where time plays no part.
    """

    world: World
    part: Partition
    num_users_global: int
    num_movies: int
    user_ptr: Tensor
    movie: Tensor
    rating: Tensor
    level: Tensor
    num_levels: int
    rating_scale: tuple[float, float]
    edge_id: Tensor
    movie_ptr: Tensor
    user: Tensor
    order: Tensor
    movie_degree: Tensor
    movie_start: Tensor
    time_bins: TimeBins | None = None

    @property
    def num_users(self) -> int:
        """Users of this rank."""
        return self.part.num_users

    @property
    def num_edges(self) -> int:
        """Message edges of this rank."""
        return self.movie.numel()

    @property
    def device(self) -> torch.device:
        return self.rating.device

    @property
    def dtype(self) -> torch.dtype:
        return self.rating.dtype

    @cached_property
    def num_edges_global(self) -> int:
        """Message edges of all ranks."""
        return int(self.movie_degree.sum())

    @cached_property
    def user_rows(self) -> Tensor:
        """Global rows of this rank's users, int64 ``[users]``."""
        return torch.arange(self.part.start, self.part.stop, device=self.device)

    @cached_property
    def user_degree(self) -> Tensor:
        """int64 ``[users]``."""
        return self.user_ptr.diff()

    @cached_property
    def rating_by_movie(self) -> Tensor:
        return self.rating[self.order]

    @cached_property
    def level_by_movie(self) -> Tensor:
        return self.level[self.order]

    @cached_property
    def inverse_order(self) -> Tensor:
        """Position by movie of each edge by user."""
        inverse = torch.empty_like(self.order)
        inverse[self.order] = torch.arange(self.num_edges, dtype=self.order.dtype, device=self.device)
        return inverse

    @cached_property
    def mean_degrees(self) -> tuple[float, float]:
        """Message edges a user and a movie, over the whole dataset."""
        edges = max(self.num_edges_global, 1)
        return edges / self.num_users_global, edges / self.num_movies


def build_rank_graph(
    dataset: PreparedDataset,
    world: World,
    splits: tuple[int, ...] = (TRAIN,),
    dtype: torch.dtype = torch.float32,
    time: bool = False,
) -> RankGraph:
    """Reads this rank's range of a prepared dataset and sorts its edges both ways.

    Args:
        dataset: The prepared dataset; only the owned range is read.
        world: The ranks; every rank calls this (two collectives over the movies).
        splits: Splits whose edges carry messages: train, and validation too when refitting. Never test.
        dtype: Floating-point type of ratings and of everything computed from them.
        time: Cut edges into bins of time, where the dataset has times.
    """
    part = partition(dataset.manifest.shards, world.rank, world.size)
    edges = read_edges(dataset, part, splits)
    levels = np.asarray(dataset.manifest.rating["levels"], dtype=np.float64)
    midpoints = torch.tensor((levels[1:] + levels[:-1]) / 2)
    level = torch.bucketize(edges.rating.to(torch.float64), midpoints).to(torch.uint8)
    movie_ptr, order = counting_sort(edges.movie, dataset.num_movies)
    local = owners(edges.user_ptr, index_dtype(part.num_users))
    bins = None
    if time and edges.time is not None:
        rows = {"user": local.to(world.device), "movie": edges.movie.to(world.device)}
        sizes = {"user": part.num_users, "movie": dataset.num_movies}
        bins = time_bins(rows, sizes, edges.time.to(world.device), world)
    degrees = world.gather(movie_ptr.diff().to(world.device))
    on = world.device
    return RankGraph(
        world=world,
        part=part,
        num_users_global=dataset.num_users,
        num_movies=dataset.num_movies,
        user_ptr=edges.user_ptr.to(on),
        movie=edges.movie.to(on),
        rating=edges.rating.to(on, dtype),
        level=level.to(on),
        num_levels=len(levels),
        rating_scale=(dataset.manifest.rating["min"], dataset.manifest.rating["max"]),
        edge_id=edges.edge_id.to(on),
        movie_ptr=movie_ptr.to(on),
        user=local[order].to(on),
        order=order.to(on),
        movie_degree=degrees.sum(0),
        movie_start=degrees[: world.rank].sum(0),
        time_bins=bins,
    )


@dataclasses.dataclass
class Edges:
    """Ratings of one rank's users in some of the splits, sorted by user, then movie.

    Attributes:
        user_ptr: int64 ``[users + 1]``.
        movie: int32 ``[edges]``.
        rating: float32 ``[edges]``.
        edge_id: int64 ``[edges]``, positions in the prepared arrays.
        time: Seconds since 1970, int64 ``[edges]``; None where the dataset has no times.
    """

    user_ptr: Tensor
    movie: Tensor
    rating: Tensor
    edge_id: Tensor
    time: Tensor | None


def read_edges(dataset: PreparedDataset, part: Partition, splits: tuple[int, ...]) -> Edges:
    """The edges of ``splits`` that belong to the users of ``part``."""
    pointer = torch.from_numpy(np.array(dataset.user_ptr[part.start : part.stop + 1]))
    first, last = int(pointer[0]), int(pointer[-1])
    split = np.asarray(dataset.split[first:last])
    chosen = np.flatnonzero(np.isin(split, splits))
    counts = np.zeros(last - first + 1, dtype=np.int64)
    np.cumsum(np.isin(split, splits), out=counts[1:])
    return Edges(
        user_ptr=offsets(torch.from_numpy(counts)[pointer - first].diff()),
        movie=torch.from_numpy(dataset.movie[first:last][chosen]),
        rating=torch.from_numpy(dataset.rating[first:last][chosen]),
        edge_id=torch.from_numpy(chosen + first),
        time=None if dataset.timestamp is None else torch.from_numpy(dataset.timestamp[first:last][chosen]),
    )
