"""Gradients of sums and pair scores: numerically, through views, and from noncontiguous gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gnnrec.kernels import dispatch
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.pairs import pair_dots, pair_scores
from gnnrec.kernels.sums import gather_sums, scatter_sums
from tests.kernels.ragged_examples import assert_near, dense_matrices, ragged_lists, random_table

ROWS, COLUMNS, WIDTH = 9, 7, 5
EXAMPLES = {
    "many": ragged_lists(ROWS, COLUMNS, 11, torch.float64, 1.3),
    "same entry twice": CSRLists(
        torch.tensor([0, 0, 3, *[3] * 7]),
        torch.tensor([4, 4, 1], dtype=torch.int32),
        COLUMNS,
        torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64),
    ),
    "one": CSRLists(
        torch.tensor([0] * 5 + [1] * 5),
        torch.tensor([6], dtype=torch.int32),
        COLUMNS,
        torch.tensor([1.5], dtype=torch.float64),
    ),
    "none": CSRLists(
        torch.zeros(ROWS + 1, dtype=torch.int64),
        torch.zeros(0, dtype=torch.int32),
        COLUMNS,
        torch.zeros(0, dtype=torch.float64),
    ),
}


@pytest.fixture(params=EXAMPLES)
def lists(request) -> CSRLists:
    return EXAMPLES[request.param]


@pytest.fixture(params=["cpu", "reference"], autouse=True)
def implementation(request):
    with dispatch.forced(request.param):
        yield


@pytest.fixture(params=["gather", "scatter"])
def sums(request, lists):
    """Operator, the dense matrices that it represents, and the rows of its tables."""
    plain, scaled = dense_matrices(lists)
    if request.param == "gather":
        return gather_sums, plain, scaled, COLUMNS
    return scatter_sums, plain.T, scaled.T, ROWS


def tables_of(rows: int, count: int = 2) -> list[Tensor]:
    return [random_table(rows, WIDTH, torch.float64, seed) for seed in range(count)]


@pytest.mark.slow
def test_sums_pass_gradcheck(sums, lists):
    operator, _, _, rows = sums
    assert torch.autograd.gradcheck(lambda value, second: operator(value, second, lists), tables_of(rows))
    assert torch.autograd.gradcheck(lambda value: operator(value, None, lists), tables_of(rows, 1))


def test_pair_scores_pass_gradcheck(lists):
    biases = [table[:, 0].detach().requires_grad_() for table in (*tables_of(ROWS, 1), *tables_of(COLUMNS, 1))]
    inputs = [*tables_of(ROWS, 1), *tables_of(COLUMNS, 1), *biases]
    assert torch.autograd.gradcheck(lambda *inputs: pair_scores(*inputs, lists), inputs)


@pytest.mark.parametrize("cast", range(1, 15))
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float64], ids=["bfloat16", "float64"])
def test_pair_scores_take_inputs_of_different_precision(lists, cast, low):
    tables = [*tables_of(ROWS, 1), *tables_of(COLUMNS, 1)]
    inputs = [*tables, *(table[:, 0].detach() for table in tables)]
    inputs = [
        tensor.detach().to(low if cast >> place & 1 else torch.float32).requires_grad_()
        for place, tensor in enumerate(inputs)
    ]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    actual, expected = pair_scores(*inputs, lists), pair_scores(*exact, lists)
    assert actual.dtype == (torch.float64 if low == torch.float64 else torch.float32)
    assert_near(actual, expected, 1e-6)
    gradients = zip(torch.autograd.grad(actual.sum(), inputs), torch.autograd.grad(expected.sum(), exact), inputs)
    for ours, theirs, tensor in gradients:
        assert ours.dtype == tensor.dtype
        assert_near(ours, theirs, 1e-6 if tensor.dtype != torch.bfloat16 else 2**-8)


@pytest.mark.parametrize("constant", [0, 1])
def test_one_table_may_need_no_gradient(sums, lists, constant):
    operator, plain, scaled, rows = sums
    pair = tables_of(rows)
    pair[constant] = pair[constant].detach()
    leaf = pair[1 - constant]
    expected = torch.autograd.grad((plain @ pair[0] + scaled @ pair[1]).square().sum(), leaf)[0]
    actual = torch.autograd.grad(operator(*pair, lists).square().sum(), leaf)[0]
    assert_near(actual, expected, 1e-12)


GRADIENTS = {
    "transposed": lambda rows, width: torch.randn(width, rows, dtype=torch.float64).T,
    "expanded": lambda rows, width: torch.tensor(1.5, dtype=torch.float64).expand(rows, width),
    "every second column": lambda rows, width: torch.randn(rows, 2 * width, dtype=torch.float64)[:, ::2],
}


@pytest.mark.parametrize("shape", GRADIENTS)
def test_tables_and_gradients_may_be_views(sums, lists, shape):
    operator, plain, scaled, rows = sums
    torch.manual_seed(0)
    wide = torch.randn(rows, 3 * WIDTH, dtype=torch.float64, requires_grad=True)
    parts = wide[:, WIDTH : 2 * WIDTH], wide[:, 2 * WIDTH :]
    gradient = GRADIENTS[shape](len(plain), WIDTH)
    expected = torch.autograd.grad(plain @ parts[0] + scaled @ parts[1], wide, gradient, retain_graph=True)[0]
    actual = torch.autograd.grad(operator(*parts, lists), wide, gradient)[0]
    assert_near(actual, expected, 1e-12)


def test_pair_dots_of_views_and_of_a_gradient_that_is_expanded(lists):
    torch.manual_seed(0)
    rows = torch.randn(ROWS, 2 * WIDTH, dtype=torch.float64, requires_grad=True)
    columns = torch.randn(WIDTH, COLUMNS, dtype=torch.float64, requires_grad=True)
    owner = torch.repeat_interleave(torch.arange(ROWS), lists.pointer.diff())
    dense = (rows[:, WIDTH:] @ columns)[owner, lists.entry.long()]
    actual = pair_dots(rows[:, WIDTH:], columns.T, lists.pointer, lists.entry)
    assert_near(actual, dense, 1e-12)
    expected = torch.autograd.grad(dense.sum(), (rows, columns))
    for ours, theirs in zip(torch.autograd.grad(actual.sum(), (rows, columns)), expected):
        assert_near(ours, theirs, 1e-12)
