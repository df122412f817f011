"""Values and gradients of fused dropout against the mask of gnnrec.rng."""

from __future__ import annotations

import pytest
import torch

from gnnrec import rng
from gnnrec.kernels import dispatch
from gnnrec.kernels.dropout import dropout, tanh_dropout

ROWS = torch.cat([torch.arange(3, 90), torch.tensor([2**33 + 1, 0])])
OPERATORS = {"alone": (dropout, lambda states: states), "after tanh": (tanh_dropout, torch.tanh)}


@pytest.fixture(params=["cpu", "reference"], autouse=True)
def implementation(request, several_threads):
    with dispatch.forced(request.param):
        yield


def states_of(width: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(width)
    return (3 * torch.randn(len(ROWS), width, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("width", [1, 4, 7, 64])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.97])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=lambda dtype: str(dtype)[6:])
def test_values_and_gradients_equal_masking(name, width, rate, dtype):
    operator, before = OPERATORS[name]
    states, stream = states_of(width, dtype), rng.key(1, "dropout")
    mask = rng.dropout_mask(stream, ROWS, width, rate)
    exact = states.detach().double().requires_grad_()
    expected = before(exact) * mask / (1 - rate)
    actual = operator(states, ROWS, stream, rate)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2**-7}[dtype]
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)
    assert torch.equal(actual == 0, ~mask) and (rate == 0 or width < 4 or not mask.all())

    gradient = torch.randn(actual.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    ours = torch.autograd.grad(actual, states, gradient)[0]
    theirs = torch.autograd.grad(expected, exact, gradient.double())[0]
    # 1 - tanh ** 2 loses digits where tanh is near 1.
    loose = tolerance * 8 / (1 - rate)
    torch.testing.assert_close(ours.double(), theirs, rtol=loose, atol=loose)
    assert (ours[~mask] == 0).all()


@pytest.mark.parametrize("name", OPERATORS)
def test_states_and_gradients_may_be_views(name):
    operator, before = OPERATORS[name]
    states = torch.randn(2 * 6, len(ROWS), dtype=torch.float64, requires_grad=True)
    mask = rng.dropout_mask(9, ROWS, 6, 0.3)
    actual, expected = operator(states.T[:, ::2], ROWS, 9, 0.3), before(states.T[:, ::2]) * mask / 0.7
    torch.testing.assert_close(actual, expected)
    for gradient in (torch.ones(()).expand(actual.shape), torch.randn(6, len(ROWS)).T):
        ours = torch.autograd.grad(actual, states, gradient.double(), retain_graph=True)[0]
        theirs = torch.autograd.grad(expected, states, gradient.double(), retain_graph=True)[0]
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", OPERATORS)
def test_nothing_is_changed_in_place(name):
    states = states_of(8, torch.float64)
    before = states.detach().clone()
    out = OPERATORS[name][0](states, ROWS, 3, 0.4)
    after = out.detach().clone()
    torch.autograd.grad(out.sum(), states)
    assert torch.equal(states, before) and torch.equal(out, after)


def test_no_rows_give_no_rows():
    assert dropout(torch.zeros(0, 5), ROWS[:0], 1, 0.5).shape == (0, 5)
    assert tanh_dropout(torch.zeros(0, 5), ROWS[:0], 1, 0.5).shape == (0, 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dropout", "tanh_dropout"])
def test_operators_pass_opcheck(name):
    operator = getattr(torch.ops.gnnrec, name).default
    assert set(torch.library.opcheck(operator, (states_of(8, torch.float32), ROWS, 5, 0.3)).values()) == {"SUCCESS"}
