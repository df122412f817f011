"""Sorting within lists against Python's stable sort."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.kernels import dispatch
from gnnrec.kernels.sorting import sort_within


@pytest.fixture(params=["cpu", "reference"], autouse=True)
def implementation(request, several_threads):
    with dispatch.forced(request.param):
        yield


def expected_order(pointer: torch.Tensor, key: torch.Tensor) -> list[int]:
    keys, bounds = key.tolist(), pointer.tolist()
    return [place for a, b in zip(bounds[:-1], bounds[1:]) for place in sorted(range(a, b), key=keys.__getitem__)]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("largest", [0, 3, 2**31 - 2])
@pytest.mark.parametrize(
    "counts",
    [[5, 0, 1, 200, 0, 17, 2], [0, 0], [], [300], [1] * 40],
    ids=["mixed", "empty", "no lists", "one", "single"],
)
def test_keys_ascend_within_lists_and_ties_keep_their_order(counts, largest, dtype):
    pointer = torch.tensor([0, *np.cumsum(counts)], dtype=torch.int64)
    random = np.random.default_rng(len(counts))
    key = torch.from_numpy(random.integers(-largest, largest, int(pointer[-1]), endpoint=True)).to(dtype)
    actual = sort_within(pointer, key)
    assert actual.tolist() == expected_order(pointer, key)
    assert not actual.is_floating_point()


def test_extreme_keys_are_sorted():
    key = torch.tensor([5, -(2**31), 2**31 - 1, 0, -1, 2**31 - 1, -(2**31)], dtype=torch.int32)
    pointer = torch.tensor([0, 3, 7])
    assert sort_within(pointer, key).tolist() == [1, 0, 2, 6, 4, 3, 5]
