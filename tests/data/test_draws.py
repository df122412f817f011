"""Random numbers of NumPy arrays are those of tensors, whose tests are in test_rng.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec import rng
from gnnrec.data import draws


@pytest.mark.parametrize("stream", [0, -1, 2**63 - 1, -(2**63), rng.key(3, "split", "rating")])
def test_numbers_are_those_of_tensors(stream):
    counters = np.array([[0, 1, 2, -1], [2**31, 2**62, 2**63 - 1, -(2**63)]])
    tensor = torch.from_numpy(counters.copy())
    assert draws.bits(stream, counters).tolist() == rng.bits(stream, tensor).tolist()
    assert draws.uniform(stream, counters).tolist() == rng.uniform(stream, tensor).tolist()
    assert draws.key(stream, "a") == rng.key(stream, "a")
    assert np.array_equal(counters, tensor.numpy())


def test_permutations_are_those_of_tensors_and_ties_stay_in_order():
    ids = np.random.default_rng(0).integers(0, 50, 1000)
    drawn = draws.permutation(7, ids)
    assert drawn.tolist() == rng.permutation(7, torch.from_numpy(ids)).tolist()
    assert all(np.diff(drawn[ids[drawn] == value]).min() > 0 for value in range(50))
