"""Bipartite graph of one rank: all message edges of its users."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from torch import Tensor

from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.data.rating_unit import RatingUnit
from gnnrec.distributed.world import World
from gnnrec.graph.dataset_edges import DatasetEdges, read_edges
from gnnrec.graph.partition import Partition, partition
from gnnrec.graph.time_bins import Clock
from gnnrec.kernels.edge_orders import EdgeOrders
from gnnrec.kernels.edges import EdgeTimeBins
from gnnrec.kernels.ragged import transpose
from gnnrec.kernels.sorting import sort_within
from gnnrec.kernels.statistics import time_bins

#: Edges whose years are marked at a time.
_BLOCK = 1 << 16


@dataclasses.dataclass
class RankGraph:
    """Message edges of the users of one rank.

    Edges are identified in three ways: by their *position by user* (sorted by local user, then time or movie), by their
    *position by movie* (sorted by movie, then user), and by their global id (the position in the prepared arrays),
    which does not depend on the number of ranks and from which folds and draws are computed. Training on whole
    neighborhoods needs edges by user only; positions by movie are computed on first use.

    Attributes:
        world: The ranks.
        part: The owned user rows.
        num_users_global: Users of the whole dataset.
        num_movies: Movies of the whole dataset; every rank has all.
        user_ptr: int64 ``[users + 1]``, positions by user.
        movie: int32 ``[edges]``, by user.
        rating: Standardized ratings, float ``[edges]``, by user; their dtype is that of all computations.
        level: uint8 ``[edges]``, by user: nearest rating level.
        num_levels: Number of rating levels.
        rating_unit: Unit of the ratings of the dataset, and their scale.
        edge_id: int32 or int64 ``[edges]``, by user: global ids.
        movie_degree: Raters on all ranks, int64 ``[movies]``.
        movie_start: Start of this rank's raters in the movie's global rater list, int64 ``[movies]``.
        clock: Origin and bins of time; None in models without time.
        time: Seconds by the clock, int32 ``[edges]``, by user; None in models without time.
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
    rating_unit: RatingUnit
    edge_id: Tensor
    movie_degree: Tensor
    movie_start: Tensor
    clock: Clock | None = None
    time: Tensor | None = None

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
    def local_rows(self) -> Tensor:
        """Local rows of this rank's users, int64 ``[users]``."""
        return torch.arange(self.num_users, device=self.device)

    @cached_property
    def user_degree(self) -> Tensor:
        """int64 ``[users]``."""
        return self.user_ptr.diff()

    @cached_property
    def _by_movie(self) -> tuple[Tensor, Tensor, Tensor]:
        if self.clock is not None:
            return transpose(self.user_ptr, self.movie, self.num_movies)
        shared = self.edge_orders.by_movie
        return shared.movie_pointer, shared.order, shared.user

    @cached_property
    def edge_orders(self) -> EdgeOrders:
        """Orders of the edges for statistics on GPUs. The first access is a collective in models with time."""
        if self.clock is None:
            return EdgeOrders(self.user_ptr, self.movie, self.num_movies)
        cell, width = self._bins[0].cell, self.clock.windows.num_movie_half_bins
        return EdgeOrders(self.user_ptr, self.movie, self.num_movies, cell, self.rated_years, width)

    @cached_property
    def time_bins(self) -> EdgeTimeBins | None:
        """Half-width bins of the edges; None in models without time. The first access is a collective."""
        return None if self.clock is None else self._bins[0]

    @property
    def rated_years(self) -> Tensor:
        """Half-width bins of movies that have a rating on any rank, int64 ``[cells]``, ascending.

        They are positions in a table ``[movies * half-width bins]``, in which most bins of most movies are empty. The
        first access is a collective.
        """
        return self._bins[1]

    @cached_property
    def _bins(self) -> tuple[EdgeTimeBins, Tensor]:
        year, steps = time_bins(self.user_ptr, self.time, self.clock.windows)
        width, blocks = self.clock.windows.num_movie_half_bins, (self.movie.split(_BLOCK), year.split(_BLOCK))
        rated = torch.zeros(self.num_movies * width, dtype=torch.uint8, device=self.device)
        for movies, years in zip(*blocks):
            rated[movies.long() * width + years] = 1
        rated = self.world.all_reduce_max_(rated).nonzero().squeeze(1)
        number = torch.full((self.num_movies * width,), -1, dtype=torch.int32, device=self.device)
        number[rated] = torch.arange(rated.numel(), dtype=torch.int32, device=self.device)
        cell = torch.empty_like(self.movie)
        for cells, movies, years in zip(cell.split(_BLOCK), *blocks):
            torch.index_select(number, 0, movies.long() * width + years, out=cells)
        return EdgeTimeBins(cell, steps), rated

    @property
    def movie_ptr(self) -> Tensor:
        """int64 ``[movies + 1]``, positions by movie."""
        return self._by_movie[0]

    @property
    def order(self) -> Tensor:
        """Position by user of each edge by movie, int32 or int64 ``[edges]``."""
        return self._by_movie[1]

    @property
    def user(self) -> Tensor:
        """Local user row of each edge by movie, int32 ``[edges]``."""
        return self._by_movie[2]

    @cached_property
    def rating_by_movie(self) -> Tensor:
        """float ``[edges]``."""
        return self.rating.index_select(0, self.order)

    @cached_property
    def mean_degrees(self) -> tuple[float, float]:
        """Mean message edges of a user and of a movie, over the whole dataset."""
        edges = max(self.num_edges_global, 1)
        return edges / self.num_users_global, edges / self.num_movies


def build_rank_graph(
    dataset: PreparedDataset,
    world: World,
    splits: tuple[int, ...] = (TRAIN,),
    dtype: torch.dtype = torch.float32,
    time: bool = False,
) -> RankGraph:
    """Reads this rank's range of a prepared dataset.

    Args:
        dataset: The prepared dataset; only the owned range is read.
        world: The ranks; every rank calls this (two collectives over the movies).
        splits: Splits whose edges carry messages: train, and validation too when refitting; all for ``refit all``.
        dtype: Floating-point type of standardized ratings and of all computations.
        time: Sort the edges of a user by time, for temporal biases, if the dataset has times.
    """
    part = partition(dataset.manifest.shards, world.rank, world.size)
    edges, clock, seconds = read_edges(dataset, part, splits), None, None
    if time and dataset.timestamp is not None:
        clock, seconds = _sort_by_time(edges, world)
    movie = edges.movie()
    degrees = world.all_gather(torch.bincount(movie, minlength=dataset.num_movies).to(world.device))
    movie_degree, movie_start = degrees.sum(0), degrees[: world.rank].sum(0)
    return _graph(world, part, edges, movie, dtype, movie_degree, movie_start, clock, seconds)


def build_chunk_graph(
    dataset: PreparedDataset,
    users: range,
    splits: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> RankGraph:
    """Builds the graph of some users alone, without times and without a collective.

    Args:
        dataset: The prepared dataset; only the edges of these users are read.
        users: Global user rows.
        splits: Splits whose edges carry messages.
        dtype: Floating-point type of ratings.
        device: Device of the graph.
    """
    part = Partition((users.start, users.stop), 0, 1)
    edges = read_edges(dataset, part, splits)
    movie = edges.movie()
    degree = torch.bincount(movie, minlength=dataset.num_movies).to(device)
    return _graph(World(device=device), part, edges, movie, dtype, degree, torch.zeros_like(degree))


def _sort_by_time(edges: DatasetEdges, world: World) -> tuple[Clock, Tensor]:
    """Sorts edges by user, then time, in place; returns the clock of all ranks and seconds by it, int32 ``[edges]``."""
    time = edges.time()
    clock = Clock.from_times(time, world)
    seconds = clock.seconds(time)
    del time
    order = sort_within(edges.user_ptr, seconds)
    edges.edge_id = edges.edge_id.index_select(0, order)
    return clock, seconds.index_select(0, order)


def _graph(
    world: World,
    part: Partition,
    edges: DatasetEdges,
    movie: Tensor,
    dtype: torch.dtype,
    movie_degree: Tensor,
    movie_start: Tensor,
    clock: Clock | None = None,
    time: Tensor | None = None,
) -> RankGraph:
    manifest, device = edges.dataset.manifest, world.device
    movie, time = movie.to(device), None if time is None else time.to(device)
    levels, unit = manifest.rating["levels"], RatingUnit.of(manifest)
    rating = unit.standardize_(edges.rating().to(dtype))
    return RankGraph(
        world=world,
        part=part,
        num_users_global=edges.dataset.num_users,
        num_movies=edges.dataset.num_movies,
        user_ptr=edges.user_ptr.to(device),
        movie=movie,
        rating=rating.to(device),
        level=unit.levels(rating, levels).to(device),
        num_levels=len(levels),
        rating_unit=unit,
        edge_id=edges.edge_id.to(device),
        movie_degree=movie_degree,
        movie_start=movie_start,
        clock=clock,
        time=time,
    )
