"""Edges of some users in a prepared dataset: their positions, and their columns one at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from gnnrec.data.blocks import blocks, look_up
from gnnrec.data.prepared import PreparedDataset
from gnnrec.graph.partition import Partition
from gnnrec.kernels.ragged import index_dtype


@dataclasses.dataclass
class DatasetEdges:
    """Positions of the ratings of one rank's users in some of the splits, and readers of their columns.

    A column is read when it is asked for, in blocks, so that only columns that are used take memory.

    Attributes:
        dataset: The prepared dataset.
        user_ptr: int64 ``[users + 1]``.
        edge_id: Positions in the prepared arrays, sorted by user, int32 or int64 ``[edges]``.
    """

    dataset: PreparedDataset
    user_ptr: Tensor
    edge_id: Tensor

    def movie(self) -> Tensor:
        """Reads movie rows, int32 ``[edges]``."""
        return self._column(self.dataset.movie)

    def rating(self) -> Tensor:
        """Reads ratings in the unit of the dataset, float32 ``[edges]``."""
        return self._column(self.dataset.rating)

    def time(self) -> Tensor:
        """Reads seconds since 1970, int64 ``[edges]``, of a dataset with times."""
        return self._column(self.dataset.timestamp)

    def _column(self, column: np.ndarray) -> Tensor:
        return torch.from_numpy(look_up(column, self.edge_id.numpy()))


def read_edges(
    dataset: PreparedDataset, part: Partition, splits: tuple[int, ...], lowest: float | None = None
) -> DatasetEdges:
    """Finds the edges of the users of ``part`` in ``splits``, sorted by user, then movie.

    Args:
        dataset: The prepared dataset; only the range of these users is read.
        part: The users.
        splits: The splits.
        lowest: Lowest rating of an edge; None for all ratings.

    Raises:
        UserError: The arrays hold values out of bounds, or do not match their checksums.
    """
    dataset.check(part.start, part.stop)
    pointer = np.array(dataset.user_ptr[part.start : part.stop + 1])
    first, last = int(pointer[0]), int(pointer[-1])
    split, rating = dataset.split[first:last], dataset.rating[first:last]
    in_splits = np.zeros(256, bool)
    in_splits[list(splits)] = True
    dtype = np.int32 if index_dtype(dataset.num_ratings) == torch.int32 else np.int64
    edge_id, count = np.empty(last - first, dtype), 0
    for block in blocks(last - first):
        mask = in_splits[split[block]]
        if lowest is not None:
            mask &= rating[block] >= np.float32(lowest)
        positions = np.flatnonzero(mask) + (first + block.start)
        edge_id[count : count + len(positions)] = positions
        count += len(positions)
    edge_id.resize(count, refcheck=False)
    user_ptr = np.searchsorted(edge_id, pointer.astype(dtype))
    return DatasetEdges(dataset, torch.from_numpy(user_ptr), torch.from_numpy(edge_id))
