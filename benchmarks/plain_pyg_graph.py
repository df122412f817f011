"""The train edges of a prepared dataset behind PyG's ``LinkNeighborLoader``, for the plain PyG recipe."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch_geometric.typing
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torch_geometric.data import HeteroData
from torch_geometric.loader import LinkNeighborLoader

from gnnrec.data.prepared import TRAIN, VALIDATION, PreparedDataset
from gnnrec.errors import UserError

USER, MOVIE = "user", "movie"
RATES, RATED_BY = (USER, "rates", MOVIE), (MOVIE, "rated_by", USER)


def sampler_package() -> str:
    """The package that PyG samples with: ``pyg-lib`` or ``torch-sparse``.

    Raises:
        UserError: Neither is installed.
    """
    if torch_geometric.typing.WITH_PYG_LIB:
        return "pyg-lib"
    if torch_geometric.typing.WITH_TORCH_SPARSE:
        return "torch-sparse"
    raise UserError("the plain PyG recipe needs pyg-lib or torch-sparse, and neither is installed: see CONTRIBUTING.md")


class PlainGraph:
    """The train edges of a prepared dataset, ready for sampling; built once and shared by all recipes.

    Args:
        data: A prepared dataset or its directory.
        fan_out: Neighbors that are sampled per node and relation, hop by hop.

    Attributes:
        loader: A ``LinkNeighborLoader`` that makes a batch of an int64 tensor of train edge positions.
        mean: Mean train rating.
        scale: Lowest and highest rating.
        validation: int64 users ``[edges]``, int64 movies and float32 ratings of the validation edges.
        build_seconds: Reading the arrays and sorting both relations.
    """

    def __init__(self, data: Path | PreparedDataset, fan_out: Sequence[int] = (10, 10)):
        started = time.perf_counter()
        self.sampler = sampler_package()
        data = data if isinstance(data, PreparedDataset) else PreparedDataset(data)
        self.num_users, self.num_movies = data.num_users, data.num_movies
        self.scale = data.manifest.rating["min"], data.manifest.rating["max"]
        user, movie, rating = _edges(data, TRAIN)
        self.validation = _edges(data, VALIDATION)
        if rating.numel() == 0:
            raise UserError(f"{data.directory} has no train ratings: run gnnrec prepare with another split")
        self.num_edges, self.mean = rating.numel(), rating.double().mean().item()
        graph = HeteroData()
        graph[USER].num_nodes, graph[MOVIE].num_nodes = self.num_users, self.num_movies
        graph[RATES].edge_index = torch.stack([user, movie])
        graph[RATED_BY].edge_index = torch.stack([movie, user])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*without a 'pyg-lib' installation.*")
            self.loader = LinkNeighborLoader(
                graph,
                num_neighbors={RATES: list(fan_out), RATED_BY: list(fan_out)},
                edge_label_index=(RATES, graph[RATES].edge_index),
                edge_label=rating,
            )
        self.build_seconds = time.perf_counter() - started

    def shuffle_seconds(self) -> float:
        """Seconds that one permutation of all train edges takes, which an epoch needs and a step does not."""
        started = time.perf_counter()
        torch.randperm(self.num_edges)
        return time.perf_counter() - started

    def adjacency(self, device: torch.device) -> dict[tuple[str, str, str], Tensor]:
        """Whole neighborhoods: sparse CSR ``[receivers, senders]`` of ones by relation, from the sampler's arrays."""
        sampler, nodes, found = self.loader.link_sampler, {USER: self.num_users, MOVIE: self.num_movies}, {}
        for relation in (RATES, RATED_BY):
            pointer, sender = (arrays["__".join(relation)] for arrays in (sampler.colptr_dict, sampler.row_dict))
            size = nodes[relation[2]], nodes[relation[0]]
            found[relation] = csr(pointer, sender, size).to(device)
        return found


def _edges(data: PreparedDataset, split: int) -> tuple[Tensor, Tensor, Tensor]:
    """int64 users, int64 movies and float32 ratings of a split."""
    chosen = np.flatnonzero(data.split[:] == split)
    user = np.searchsorted(data.user_ptr[:], chosen, side="right") - 1
    movie = data.movie[:][chosen].astype(np.int64)
    return torch.from_numpy(user), torch.from_numpy(movie), torch.from_numpy(data.rating[:][chosen])


def csr(pointer: Tensor, column: Tensor, size: tuple[int, int]) -> Tensor:
    """A sparse CSR matrix of ones, float32 of ``size``, with int64 ``pointer`` ``[rows + 1]`` and ``column``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
        values = torch.ones(column.numel(), device=column.device)
        return torch.sparse_csr_tensor(pointer, column, values, size, check_invariants=False)


class ShuffledBatches(Sampler):
    """Batches of positions, int64 ``[batch_size]`` and fewer in the last, each position once an epoch.

    Args:
        positions: How many there are.
        batch_size: Positions a batch.
        seed: Seed of the first epoch's order.
    """

    def __init__(self, positions: int, batch_size: int, seed: int = 0):
        self.positions, self.batch_size = positions, batch_size
        self.endless = False
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(self.positions, generator=self.generator)
        while True:
            for start in range(0, self.positions, self.batch_size):
                # A copy: a worker process would be sent the whole order with a view of it.
                yield order[start : start + self.batch_size].clone()
            if not self.endless:
                return

    def __len__(self) -> int:
        return math.ceil(self.positions / self.batch_size)


def batch_loader(graph: PlainGraph, batches: ShuffledBatches, workers: int, pin_memory: bool) -> DataLoader:
    """Yields ``HeteroData`` of the sampled neighborhoods of ``batches``.

    Args:
        graph: The graph.
        batches: Positions of train edges.
        workers: Worker processes that sample; 0 for this process.
        pin_memory: Put batches where a GPU copies from fastest.
    """
    return DataLoader(
        _Positions(),
        batch_size=None,
        sampler=batches,
        collate_fn=graph.loader,
        num_workers=workers,
        persistent_workers=workers > 0,
        # Forked workers share the graph of this process; spawned ones would each get a copy.
        multiprocessing_context="fork" if workers else None,
        pin_memory=pin_memory,
    )


class _Positions(Dataset):
    """The data set that ``DataLoader`` indexes: the tensor of positions, which the link loader then samples for."""

    def __getitem__(self, positions: Tensor) -> Tensor:
        return positions
