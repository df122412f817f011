"""Sums over pairs of entries against a dense product."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.kernels import dispatch
from gnnrec.kernels.gram import pair_sums
from gnnrec.kernels.lists import CSRLists


@pytest.fixture(params=["cpu", "reference"], autouse=True)
def implementation(request):
    with dispatch.forced(request.param):
        yield


def sparse(dense: np.ndarray, factors: bool = False) -> CSRLists:
    pointer = torch.from_numpy(np.concatenate([[0], (dense != 0).sum(1).cumsum()])).long()
    factor = torch.from_numpy(dense[dense != 0]) if factors else None
    return CSRLists(pointer, torch.from_numpy(np.nonzero(dense)[1]).int(), dense.shape[1], factor)


@pytest.mark.parametrize("factors", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("first, last", [(0, 70), (0, 1), (13, 40), (69, 70), (5, 5)])
@pytest.mark.parametrize("rows", [0, 1, 900])
def test_sums_equal_the_dense_product(rows, first, last, weighted, factors):
    generator = np.random.default_rng(rows)
    dense = generator.random((rows, 70)) < generator.random(70)
    if factors:
        dense = dense * generator.uniform(0.5, 3, dense.shape)
    weight = generator.random(rows) if weighted else np.ones(rows)
    expected = np.triu((dense.T @ (weight[:, None] * dense))[first:last, first:])
    actual = pair_sums(sparse(dense, factors), torch.from_numpy(weight) if weighted else None, first, last)
    assert actual.dtype == torch.float64
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12, atol=0)


def test_threads_do_not_change_a_bit(monkeypatch):
    generator = np.random.default_rng(1)
    lists, weight = sparse(generator.random((2000, 60)) < 0.3), torch.from_numpy(generator.random(2000))
    one = pair_sums(lists, weight, 0, 60)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert torch.equal(pair_sums(lists, weight, 0, 60), one)
    finally:
        torch.set_num_threads(before)
