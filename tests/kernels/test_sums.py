"""Values and gradients of sums over ragged lists against dense matrix products."""

from __future__ import annotations

import pytest
import torch

from gnnrec.kernels import dispatch
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.sums import bag, gather_sums, scatter_sums
from tests.kernels.ragged_examples import assert_near, dense_matrices, ragged_lists, random_table

ROWS, COLUMNS = 40, 12
#: Tolerances of sums, and of gradients, which have the dtype of the table. Both sides get the same rounded inputs.
TOLERANCES = {torch.float64: (1e-12, 1e-12), torch.float32: (1e-5, 1e-5), torch.bfloat16: (1e-5, 2**-8)}
CASES = [
    (torch.float64, 10, True, True, True),
    (torch.float64, 10, True, True, False),
    (torch.float64, 10, False, False, True),
    (torch.float64, 10, False, True, False),
    (torch.float32, 64, True, True, True),
    (torch.float32, 64, False, False, False),
    (torch.float32, 32, False, True, True),
    (torch.bfloat16, 64, True, True, True),
    (torch.bfloat16, 100, False, False, True),
]


def names(case) -> str:
    dtype, width, *options = case
    return "-".join([str(dtype)[6:], str(width), *(n for n, on in zip(["second", "factor", "scale"], options) if on)])


@pytest.mark.parametrize("implementation", ["cpu", "reference"])
@pytest.mark.parametrize("direction", ["gather", "scatter"])
@pytest.mark.parametrize("case", CASES, ids=names)
def test_sums_equal_dense_products(case, direction, implementation, several_threads):
    dtype, width, second, factor, row_scale = case
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    lists = ragged_lists(ROWS, COLUMNS, 150, exact, 1.4, factor, row_scale)
    plain, scaled = (None if matrix is None else matrix.to(exact) for matrix in dense_matrices(lists))
    if factor and not second:
        plain = lists.weight * scaled
    count, operator = (COLUMNS, gather_sums) if direction == "gather" else (ROWS, scatter_sums)
    tables = [random_table(count, width, dtype, seed) for seed in range(1 + second)]

    matrices = [matrix if direction == "gather" else matrix.T for matrix in ([plain, scaled] if second else [plain])]
    expected = sum(matrix @ table.to(exact) for matrix, table in zip(matrices, tables))
    gradient = random_table(*expected.shape, exact, 9).detach()
    wanted = torch.autograd.grad(expected, tables, gradient)

    with dispatch.forced(implementation):
        actual = operator(*tables, *[None] * (2 - len(tables)), lists)
        gradients = torch.autograd.grad(actual, tables, gradient)
    assert actual.dtype == exact
    assert_near(actual, expected, TOLERANCES[dtype][0])
    for table_gradient, expected_gradient in zip(gradients, wanted):
        assert table_gradient.dtype == dtype
        assert_near(table_gradient, expected_gradient, TOLERANCES[dtype][1])


@pytest.mark.parametrize("implementation", ["cpu", "reference"])
@pytest.mark.parametrize("direction", ["gather", "scatter"])
def test_narrow_sums_round_only_what_they_read(direction, implementation):
    """Tables and the gradient of the sums are rounded; sums, and gradients of the tables, are not."""
    lists = ragged_lists(ROWS, COLUMNS, 150, torch.float32, 1.4)
    matrices = [matrix if direction == "gather" else matrix.T for matrix in dense_matrices(lists)]
    count, operator = (COLUMNS, gather_sums) if direction == "gather" else (ROWS, scatter_sums)
    tables = [random_table(count, 64, torch.float32, seed) for seed in range(2)]
    rounded = [table.detach().bfloat16().double() for table in tables]
    with dispatch.forced(implementation):
        actual = operator(*tables, lists, narrow=True)
        gradient = random_table(*actual.shape, torch.float32, 9).detach()
        gradients = torch.autograd.grad(actual, tables, gradient)
    assert actual.dtype == torch.float32
    assert_near(actual, sum(matrix @ table for matrix, table in zip(matrices, rounded)), 1e-5)
    for found, matrix in zip(gradients, matrices):
        assert found.dtype == torch.float32
        assert_near(found, matrix.T @ gradient.bfloat16().double(), 1e-5)


@pytest.mark.parametrize("implementation", ["cpu", "reference"])
@pytest.mark.parametrize("direction", ["gather", "scatter"])
def test_tables_may_be_columns_of_wider_tables(direction, implementation):
    lists = ragged_lists(ROWS, COLUMNS, 20, torch.float32)
    wide = random_table(COLUMNS if direction == "gather" else ROWS, 128, torch.float32, 0).detach()
    operator = gather_sums if direction == "gather" else scatter_sums
    plain, scaled = (matrix.float() if direction == "gather" else matrix.float().T for matrix in dense_matrices(lists))
    with dispatch.forced(implementation):
        actual = operator(wide[:, 64:], wide[:, :64], lists)
    assert_near(actual, plain @ wide[:, 64:] + scaled @ wide[:, :64], 1e-5)


@pytest.mark.parametrize("implementation", ["cpu", "reference"])
def test_no_entries_give_zeros(implementation):
    lists = CSRLists(torch.zeros(4, dtype=torch.int64), torch.zeros(0, dtype=torch.int32), 3)
    with dispatch.forced(implementation):
        assert torch.equal(gather_sums(torch.ones(3, 8), None, lists), torch.zeros(3, 8))
        assert torch.equal(scatter_sums(torch.ones(3, 8), None, lists), torch.zeros(3, 8))


@pytest.mark.parametrize("implementation", ["cpu", "reference"])
def test_bags_equal_dense_products(implementation):
    lists = ragged_lists(ROWS, COLUMNS, 30, torch.float64)
    table = random_table(COLUMNS, 10, torch.float64, 0)
    expected = dense_matrices(CSRLists(lists.pointer, lists.entry, COLUMNS, lists.factor))[1] @ table
    wanted = torch.autograd.grad(expected.square().sum(), table)
    with dispatch.forced(implementation):
        actual = bag(table, lists.entry, lists.pointer, lists.factor)
        gradients = torch.autograd.grad(actual.square().sum(), table)
    assert_near(actual, expected, 1e-12)
    assert_near(gradients[0], wanted[0], 1e-12)


def test_replace_keeps_sorted_lists():
    lists = ragged_lists(ROWS, COLUMNS, 30, torch.float64)
    column_pointer, row, order = lists.by_column
    assert torch.equal(lists.entry[order], torch.repeat_interleave(column_pointer.diff()).int())
    for column in range(COLUMNS):
        places = order[column_pointer[column] : column_pointer[column + 1]]
        assert places.tolist() == [n for n, entry in enumerate(lists.entry.tolist()) if entry == column]
    assert torch.equal(row, lists.owner[order])
    other = lists.replace(row_scale=None)
    assert other.row_scale is None and other.by_column is lists.by_column and other.owner is lists.owner


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gather_sums", "scatter_sums", "gather_pair", "scatter_pair"])
def test_operators_pass_opcheck(name):
    lists = ragged_lists(ROWS, COLUMNS, 20, torch.float32)
    read = lists.pointer, lists.entry, lists.factor, lists.row_scale
    by_column = () if name == "gather_pair" else (None, None, None)
    columns = () if name == "gather_pair" else (COLUMNS,)
    pair = name.endswith("pair")
    tables = [random_table(COLUMNS if name.startswith("gather") else ROWS, 64, torch.float32, n) for n in range(2)]
    tables = [tables[0].detach()] if pair else tables
    operator = getattr(torch.ops.gnnrec, name).default
    arguments = *tables, *read, *by_column, 1.4, *columns
    for narrow in (False, True):
        assert set(torch.library.opcheck(operator, (*arguments, narrow)).values()) == {"SUCCESS"}
