"""Random numbers in bulk equal those of gnnrec.rng, bit for bit."""

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
def test_small_integers_equal_those_of_rng(below, seed):
    stream = rng.key(seed, "fold", 3)
    actual = small_integers(stream, COUNTERS, below)
    assert actual.dtype == torch.uint8 and actual.shape == COUNTERS.shape
    assert torch.equal(actual.long(), rng.integers(stream, COUNTERS, below))
    assert below == 1 or len(actual.unique()) > 1


def test_keys_of_both_signs_give_the_bits_of_rng():
    keys = [rng.key(seed) for seed in range(20)]
    assert min(keys) < 0 < max(keys)
    for stream in [*keys, 0, -1, 2**63 - 1, -(2**63)]:
        expected = rng.integers(stream, COUNTERS, 7)
        assert torch.equal(small_integers(stream, COUNTERS, 7).long(), expected)


def test_counters_may_be_int32():
    small = COUNTERS[COUNTERS < 2**31]
    assert torch.equal(small_integers(5, small.to(torch.int32), 200), small_integers(5, small, 200))


def test_counters_may_be_strided_or_empty():
    assert torch.equal(small_integers(5, COUNTERS[::3], 9), small_integers(5, COUNTERS, 9)[::3])
    assert small_integers(5, COUNTERS[:0], 9).shape == (0,)
