"""Random numbers in bulk are those of gnnrec.rng, bit for bit."""

from __future__ import annotations

import pytest
import torch

from gnnrec import rng
from gnnrec.kernels import dispatch
from gnnrec.kernels.random import small_integers

COUNTERS = torch.cat([torch.arange(1000), torch.tensor([2**31 - 1, 2**31, 2**40 + 3, 2**63 - 1])])


@pytest.fixture(params=["cpu", "reference"], autouse=True)
def implementation(request, several_threads):
    with dispatch.forced(request.param):
        yield


@pytest.mark.parametrize("below", [1, 2, 3, 10, 255, 256])
@pytest.mark.parametrize("seed", [0, 1, "a purpose"])
def test_small_integers_are_those_of_counters(below, seed):
    stream = rng.key(seed, "fold", 3)
    found = small_integers(stream, COUNTERS, below)
    assert found.dtype == torch.uint8 and found.shape == COUNTERS.shape
    assert torch.equal(found.long(), rng.integers(stream, COUNTERS, below))
    assert below == 1 or len(found.unique()) > 1


def test_keys_of_both_signs():
    keys = [rng.key(seed) for seed in range(20)]
    assert min(keys) < 0 < max(keys)
    for stream in [*keys, 0, -1, 2**63 - 1, -(2**63)]:
        expected = rng.integers(stream, COUNTERS, 7)
        assert torch.equal(small_integers(stream, COUNTERS, 7).long(), expected)


def test_counters_of_32_bits():
    small = COUNTERS[COUNTERS < 2**31]
    assert torch.equal(small_integers(5, small.to(torch.int32), 200), small_integers(5, small, 200))


def test_every_third_counter_and_none():
    assert torch.equal(small_integers(5, COUNTERS[::3], 9), small_integers(5, COUNTERS, 9)[::3])
    assert small_integers(5, COUNTERS[:0], 9).shape == (0,)
