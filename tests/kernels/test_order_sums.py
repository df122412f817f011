"""Sums over histories against their definition, one movie at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.kernels import dispatch
from gnnrec.kernels.order_sums import order_sums

COUNTS, MOVIES, DECAY = [0, 1, 2, 9, 30, 41], 41, 0.8


@pytest.fixture(params=["cpu", "reference"], autouse=True)
def implementation(request):
    with dispatch.forced(request.param):
        yield


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(0)
    movie = np.concatenate([generator.permutation(MOVIES)[:count] for count in COUNTS])
    pointer = np.concatenate([[0], np.cumsum(COUNTS)])
    return torch.from_numpy(pointer), torch.from_numpy(movie).int(), torch.from_numpy(generator.random(len(COUNTS)))


def test_sums_are_those_of_all_histories():
    pointer, movie, weight = inputs()
    products, successors = np.zeros((2, MOVIES, MOVIES))
    for user, count in enumerate(COUNTS):
        own = movie[pointer[user] : pointer[user + 1]].tolist()
        history = np.zeros(MOVIES)
        for place in range(1, count):
            history = DECAY * history
            history[own[place - 1]] += 1
            products += weight[user].item() * np.outer(history, history)
            successors[:, own[place]] += weight[user].item() * history
    found = order_sums(pointer, movie, weight, MOVIES, DECAY, 100, torch.float64)
    np.testing.assert_allclose(found[0].numpy(), products, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found[1].numpy(), successors, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("reach", [0, 1, 7])
def test_pairs_beyond_reach_are_left_out(reach):
    _, movie, weight = inputs()
    one = torch.tensor([0, COUNTS[-1]])  # a single user, so that no other adds to a pair
    own = movie[-COUNTS[-1] :]
    whole = order_sums(one, own, weight[-1:], MOVIES, DECAY, 100, torch.float64)
    found = order_sums(one, own, weight[-1:], MOVIES, DECAY, reach, torch.float64)
    place = np.argsort(own.numpy())
    near = torch.from_numpy(np.abs(place[:, None] - place) <= reach)
    for actual, complete in zip(found, whole):
        torch.testing.assert_close(actual, torch.where(near, complete, 0.0), rtol=1e-12, atol=1e-15)


def test_threads_and_types():
    pointer, movie, weight = inputs()
    before = torch.get_num_threads()
    one = order_sums(pointer, movie, weight, MOVIES, DECAY, 100, torch.float64)
    torch.set_num_threads(3)
    try:
        for first, second in zip(one, order_sums(pointer, movie, weight, MOVIES, DECAY, 100, torch.float64)):
            assert torch.equal(first, second)
    finally:
        torch.set_num_threads(before)
    single = order_sums(pointer, movie, weight, MOVIES, DECAY, 100, torch.float32)
    for first, second in zip(one, single):
        torch.testing.assert_close(first.float(), second, rtol=1e-5, atol=1e-6)
