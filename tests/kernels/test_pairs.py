"""Values and gradients of pair scores against a dense product."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gnnrec.kernels import dispatch
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.pairs import pair_dots, pair_scores
from tests.kernels.ragged_examples import assert_near, ragged_lists, random_table

ROWS, COLUMNS = 40, 12


def inputs(width: int, dtype: torch.dtype) -> list[Tensor]:
    biases = [
        random_table(count, 1, dtype, seed).detach()[:, 0].requires_grad_() for count, seed in ((ROWS, 3), (COLUMNS, 4))
    ]
    return [random_table(ROWS, width, dtype, 1), random_table(COLUMNS, width, dtype, 2), *biases]


def dense_scores(tables: list[Tensor], lists: CSRLists) -> Tensor:
    rows, columns, row_bias, column_bias = tables
    every = rows @ columns.T + row_bias[:, None] + column_bias
    pairs = [
        (row, int(lists.entry[place]))
        for row in range(lists.rows)
        for place in range(int(lists.pointer[row]), int(lists.pointer[row + 1]))
    ]
    return torch.stack([every[pair] for pair in pairs])


@pytest.mark.parametrize("implementation", ["cpu", "reference"])
@pytest.mark.parametrize(
    ("dtype", "width", "tolerance"),
    [(torch.float64, 10, 1e-12), (torch.float32, 64, 1e-5), (torch.float32, 100, 1e-5)],
    ids=str,
)
def test_scores_are_entries_of_a_dense_product(dtype, width, tolerance, implementation, several_threads):
    lists, tables = ragged_lists(ROWS, COLUMNS, 150, dtype), inputs(width, dtype)
    expected = dense_scores(tables, lists)
    gradient = random_table(expected.numel(), 1, dtype, 9).detach()[:, 0]
    wanted = torch.autograd.grad(expected, tables, gradient)
    with dispatch.forced(implementation):
        actual = pair_scores(*tables, lists)
        gradients = torch.autograd.grad(actual, tables, gradient)
    assert actual.dtype == dtype
    assert_near(actual, expected, tolerance)
    for gradient, expected_gradient in zip(gradients, wanted):
        assert gradient.dtype == dtype
        assert_near(gradient, expected_gradient, tolerance)


@pytest.mark.parametrize("implementation", ["cpu", "reference"])
def test_dots_are_scores_without_biases(implementation):
    lists, (rows, columns, row_bias, column_bias) = (
        ragged_lists(ROWS, COLUMNS, 30, torch.float64),
        inputs(10, torch.float64),
    )
    expected = dense_scores([rows, columns, 0 * row_bias, 0 * column_bias], lists)
    with dispatch.forced(implementation):
        assert_near(pair_dots(rows, columns, lists.pointer, lists.entry), expected, 1e-12)


@pytest.mark.parametrize("implementation", ["cpu", "reference"])
def test_no_pairs_have_no_scores_and_no_gradients(implementation):
    lists = CSRLists(torch.zeros(ROWS + 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int32), COLUMNS)
    tables = inputs(10, torch.float64)
    with dispatch.forced(implementation):
        actual = pair_scores(*tables, lists)
        gradients = torch.autograd.grad(actual.sum(), tables)
    assert actual.shape == (0,)
    assert all(torch.equal(gradient, torch.zeros_like(table)) for gradient, table in zip(gradients, tables))


@pytest.mark.parametrize("name", ["pair_scores", "pair_gradients"])
def test_operators_pass_opcheck(name):
    lists, tables = ragged_lists(ROWS, COLUMNS, 20, torch.float32), inputs(64, torch.float32)
    read = lists.pointer, lists.entry, None, None, None
    if name == "pair_gradients":
        tables = [torch.ones(lists.entry.numel()), *(table.detach() for table in tables[:2])]
    operator = getattr(torch.ops.gnnrec, name).default
    assert set(torch.library.opcheck(operator, (*tables, *read)).values()) == {"SUCCESS"}
