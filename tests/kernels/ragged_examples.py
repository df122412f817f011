"""Ragged lists for tests of kernels, and the dense matrices that they represent."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.lists import CSRLists


def ragged_lists(
    rows: int,
    columns: int,
    longest: int,
    dtype: torch.dtype,
    weight: float = 1.0,
    factor: bool = True,
    row_scale: bool = True,
) -> CSRLists:
    """Builds lists of 0 to 5 entries and one of ``longest``, mostly the same entry; no list has the last column."""
    random = np.random.default_rng(rows)
    counts = random.integers(0, 6, rows)
    counts[[0, rows // 2, rows - 1]] = 0, longest, 0
    pointer = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
    entries = int(pointer[-1])
    entry = random.integers(0, columns - 1, entries).astype(np.int32)
    start = int(pointer[rows // 2])
    entry[start : start + longest * 3 // 4] = 2
    return CSRLists(
        pointer,
        torch.from_numpy(entry),
        columns,
        torch.from_numpy(random.normal(size=entries)).to(dtype) if factor else None,
        weight,
        torch.from_numpy(random.uniform(0.5, 2, rows)).to(dtype) if row_scale else None,
    )


def dense_matrices(lists: CSRLists) -> tuple[Tensor, Tensor | None]:
    """Returns the matrices of factors of values and of second values, float64 ``[rows, columns]`` both."""
    shape = lists.rows, lists.columns
    plain, scaled = np.zeros(shape), None if lists.factor is None else np.zeros(shape)
    for row in range(lists.rows):
        scale = 1.0 if lists.row_scale is None else float(lists.row_scale[row])
        for place in range(int(lists.pointer[row]), int(lists.pointer[row + 1])):
            plain[row, int(lists.entry[place])] += scale * lists.weight
            if scaled is not None:
                scaled[row, int(lists.entry[place])] += scale * float(lists.factor[place])
    return torch.from_numpy(plain), None if scaled is None else torch.from_numpy(scaled)


def random_table(rows: int, width: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Draws a differentiable table of normal numbers ``[rows, width]``."""
    drawn = np.random.default_rng(seed).normal(size=(rows, width))
    return torch.from_numpy(drawn).to(dtype).requires_grad_()


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Asserts equal shapes, and differences within ``tolerance`` times the largest expected number."""
    assert actual.shape == expected.shape
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * largest)
