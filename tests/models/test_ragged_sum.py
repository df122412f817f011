"""Fused sums and dot products against dense matrices, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gnnrec.graph.batch import Messages, Targets
from gnnrec.kernels.ragged import counting_sort, owners
from gnnrec.models.ragged_sum import pair_dot, ragged_sum

RECEIVERS, SENDERS, CHANNELS = 9, 7, 5


def messages_of(receiver: Tensor, sender: Tensor) -> Messages:
    """Edges in both orders; what a sum does not look at is left out."""
    pointer, order = counting_sort(receiver, RECEIVERS)
    sender = sender[order].to(torch.int32)
    sender_pointer, by_sender = counting_sort(sender, SENDERS)
    return Messages(
        pointer=pointer,
        sender=sender,
        sender_pointer=sender_pointer,
        receiver=owners(pointer)[by_sender],
        order=by_sender,
        **dict.fromkeys(("weight", "weight_by_sender", "residual", "residual_by_sender", "level", "num_levels")),
        **dict.fromkeys(("degree", "sender_degree", "inflation", "total")),
    )


@pytest.fixture(params=["many", "one", "none"])
def messages(request) -> Messages:
    torch.manual_seed(0)
    if request.param == "none":
        nothing = torch.zeros(0, dtype=torch.int64)
        return messages_of(nothing, nothing)
    if request.param == "one":
        return messages_of(torch.tensor([4]), torch.tensor([6]))
    # Receivers 0 and 8 and sender 3 have no edges; pairs may occur twice.
    sender = torch.randint(0, SENDERS - 1, (40,))
    return messages_of(torch.randint(1, RECEIVERS - 1, (40,)), sender + (sender >= 3))


def dense_matrix(messages: Messages, weight: Tensor) -> Tensor:
    """``[receivers, senders]`` sums of weights, differentiable."""
    slots = messages.owner.long() * SENDERS + messages.sender.long()
    return weight.new_zeros(RECEIVERS * SENDERS).index_add(0, slots, weight).view(RECEIVERS, SENDERS)


def inputs(messages: Messages, dtype=torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    values = torch.randn(SENDERS, CHANNELS, dtype=dtype, requires_grad=True)
    return values, torch.randn(messages.sender.numel(), dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_ragged_sum_is_a_dense_product(messages, given, dtype):
    values, weight = inputs(messages, dtype)
    by_sender = weight.detach()[messages.order] if given else None
    out = ragged_sum(values, messages, weight, by_sender)
    expected = dense_matrix(messages, weight) @ values
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert out.dtype == dtype
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)
    projection = torch.randn_like(out)
    found = torch.autograd.grad(out, (values, weight), projection)
    for ours, theirs in zip(found, torch.autograd.grad(expected, (values, weight), projection)):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    assert (found[0] != 0).any() == (messages.sender.numel() > 0)


@pytest.mark.parametrize("given", [True, False])
def test_ragged_sum_passes_gradcheck(messages, given):
    values, weight = inputs(messages)
    by_sender = weight.detach()[messages.order] if given else None
    # A fixed copy by sender does not follow the weights that gradcheck moves, so weights are then held.
    leaves = (values, weight.detach()) if given else (values, weight)
    assert torch.autograd.gradcheck(lambda *leaf: ragged_sum(leaf[0], messages, leaf[1], by_sender), leaves)


def test_ragged_sum_with_one_input_that_needs_no_gradient(messages):
    values, weight = inputs(messages)
    out = ragged_sum(values.detach(), messages, weight)
    (found,) = torch.autograd.grad(out.square().sum(), weight)
    expected = (dense_matrix(messages, weight) @ values.detach()).square().sum()
    torch.testing.assert_close(found, torch.autograd.grad(expected, weight)[0])
    (found,) = torch.autograd.grad(ragged_sum(values, messages, weight.detach()).square().sum(), values)
    expected = (dense_matrix(messages, weight.detach()) @ values).square().sum()
    torch.testing.assert_close(found, torch.autograd.grad(expected, values)[0])


def test_ragged_sum_of_values_and_gradients_that_are_views(messages):
    values, weight = inputs(messages)
    wide = torch.randn(SENDERS, 3 * CHANNELS, dtype=torch.float64, requires_grad=True)
    out = ragged_sum(wide[:, CHANNELS : 2 * CHANNELS], messages, weight)
    expected = dense_matrix(messages, weight) @ wide[:, CHANNELS : 2 * CHANNELS]
    # A transposed and an expanded gradient are not contiguous.
    for projection in (torch.randn(CHANNELS, RECEIVERS, dtype=torch.float64).T, torch.ones((), dtype=torch.float64)):
        projection = projection.expand(RECEIVERS, CHANNELS)
        ours = torch.autograd.grad(out, (wide, weight), projection, retain_graph=True)
        theirs = torch.autograd.grad(expected, (wide, weight), projection, retain_graph=True)
        for a, b in zip(ours, theirs):
            torch.testing.assert_close(a, b)


def targets_of(counts: list[int], movie: list[int]) -> Targets:
    pointer = torch.tensor([0, *counts]).cumsum(0)
    movie = torch.tensor(movie, dtype=torch.int32)
    return Targets(pointer, movie, torch.zeros(len(movie)), max(len(movie), 1))


TARGETS = {
    "some": targets_of([2, 0, 3, 0, 1, 0, 0, 0, 2], [6, 0, 1, 2, 6, 0, 6, 5]),
    "same pair twice": targets_of([0, 3, 0, 0, 0, 0, 0, 0, 0], [4, 4, 1]),
    "none": targets_of([0] * 9, []),
}


@pytest.fixture(params=list(TARGETS))
def targets(request) -> Targets:
    return TARGETS[request.param]


def pair_inputs(dtype=torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    users = torch.randn(RECEIVERS, CHANNELS, dtype=dtype, requires_grad=True)
    return users, torch.randn(SENDERS, CHANNELS, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_pair_dot_picks_from_the_dense_product(targets, dtype):
    users, movies = pair_inputs(dtype)
    user = torch.repeat_interleave(torch.arange(RECEIVERS), targets.pointer.diff())
    out, expected = pair_dot(users, movies, targets), (users @ movies.T)[user, targets.movie.long()]
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)
    projection = torch.randn_like(out)
    found = torch.autograd.grad(out, (users, movies), projection)
    for ours, theirs in zip(found, torch.autograd.grad(expected, (users, movies), projection)):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    assert (found[0] != 0).any() == (targets.movie.numel() > 0)


def test_pair_dot_passes_gradcheck(targets):
    assert torch.autograd.gradcheck(lambda users, movies: pair_dot(users, movies, targets), pair_inputs())


def test_pair_dot_of_a_gradient_that_is_expanded(targets):
    users, movies = pair_inputs()
    user = torch.repeat_interleave(torch.arange(RECEIVERS), targets.pointer.diff())
    ours = torch.autograd.grad(pair_dot(users, movies, targets).sum(), (users, movies))
    theirs = torch.autograd.grad((users @ movies.T)[user, targets.movie.long()].sum(), (users, movies))
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b)
