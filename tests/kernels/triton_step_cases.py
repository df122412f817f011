"""Compares the Triton kernels around the sums of a step with plain torch: ``cpu``, ``cuda`` or ``compiler``.

A separate program, as :mod:`tests.kernels.triton_cases`. Each case computes values and gradients with both, and with
Triton twice, bit for bit. With ``compiler`` the same calls compile kernels for GPUs, and check their resources.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from gnnrec.kernels import (
    attention_output,
    degrees,
    dispatch,
    errors,
    feature_sums,
    item_scores,
    ragged,
    scaled_biases,
    updates,
)
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.user_messages import user_messages
from tests.kernels.triton_compiling import CAPABILITIES
from tests.kernels.triton_launching import launched_resources
from tests.kernels.triton_program import print_errors

#: Entries of a chunk.
CHUNK = 16
TOLERANCES = {torch.float32: 3e-5, torch.float64: 1e-11}
DTYPES = (torch.float32, torch.float64)
Results = list[Tensor]


class Draws:
    """Random tensors on a device, the same in every run."""

    def __init__(self, device: str, dtype: torch.dtype):
        self.device, self.dtype, self._random = device, dtype, torch.Generator().manual_seed(1)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._random, dtype=self.dtype).to(self.device)

    def leaf(self, *shape: int) -> Tensor:
        return self.normal(*shape).requires_grad_()

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._random, dtype=self.dtype).to(self.device)

    def integers(self, below: int, count: int) -> Tensor:
        return torch.randint(0, below, (count,), generator=self._random).to(self.device)

    def pointer(self, lists: int, entries: int) -> Tensor:
        """Draws offsets of lists, one of which is empty."""
        cuts = torch.sort(torch.randint(0, entries + 1, (lists - 2,), generator=self._random)).values
        return torch.cat([torch.tensor([0, 0]), cuts, torch.tensor([entries])]).to(self.device)


def with_gradients(values: list[Tensor], leaves: list[Tensor]) -> Results:
    """Returns the values, and the gradients of a sum of them with different weights."""
    weighted = [(value * torch.linspace(-1, 2, value.numel()).to(value).view(value.shape)).sum() for value in values]
    return [*values, *torch.autograd.grad(sum(weighted), leaves)]


def order(lists: int, columns: int, entries: int, draws: Draws) -> Results:
    pointer, entry = draws.pointer(lists, entries), draws.integers(columns, entries).to(torch.int32)
    owners = [ragged.owners(pointer, dtype, entries) for dtype in (torch.int32, torch.int64)]
    return [*owners, *CSRLists(pointer, entry, columns).by_column]


def factors(draws: Draws) -> Results:
    total, degree = draws.integers(5, 1300).to(draws.dtype), draws.integers(9, 1300).to(draws.dtype)
    means = [degrees.mean_scale(total, given) for given in (degree, None)]
    return means + [degrees.inverse_root(degree, added) for added in (0, 1)]


def penalties(draws: Draws) -> Results:
    shapes = (130, 16), (50,), (7, 20), (0, 3), (3,), (60, 64), (5, 4)
    tables, gradients = ([draws.normal(*shape) for shape in shapes] for _ in range(2))
    gradients[-1] = draws.normal(4, 5).T
    strengths = [draws.uniform(len(table), *[1] * (table.dim() - 1)) for table in tables]
    updates.add_row_penalties(gradients, tables, strengths)
    return gradients


def norms(draws: Draws) -> Results:
    weights = [draws.normal(*shape) for shape in ((40, 40), (1, 10), (33,), (2, 2), (64, 16))]
    updates.keep_norms(weights, [40, 10, 3, 1, 64])
    return weights


def squared_errors(targets: int, biases: int, draws: Draws) -> Results:
    score, offset, rating = draws.leaf(targets), draws.leaf(), draws.normal(targets)
    bias, factor = (draws.normal(targets, biases), draws.leaf(biases)) if biases else (None, None)
    # On the CPU the function itself is in plain torch.
    total = errors._squared_errors(score, offset, rating, bias, factor)[0]
    return with_gradients([total], [leaf for leaf in (score, offset, factor) if leaf is not None])


def biases(users: int, draws: Draws) -> Results:
    leaves = draws.leaf(users), draws.leaf(1100), draws.leaf()
    user, movie, multiple = leaves
    values = scaled_biases._scaled_biases(user, movie, draws.normal(users), draws.normal(1100), multiple)
    return with_gradients(list(values), list(leaves))


def attention(receivers: int, heads: int, channels: int, by_degree: bool, draws: Draws) -> Results:
    numerator, bias = draws.leaf(receivers, heads * channels), draws.leaf(heads * channels)
    some = draws.uniform(receivers, heads)
    denominator = (some + 0.2).where(some > 0.2, 0).requires_grad_()
    degree = draws.integers(5, receivers).to(draws.dtype) if by_degree else None
    whole, change = draws.uniform(receivers, heads), draws.leaf(receivers, heads)
    out = attention_output.attention_output(numerator, denominator, degree, bias)
    kept = attention_output.kept_denominator(whole, change)
    return with_gradients([out, kept], [numerator, denominator, bias, change])


def totals(receivers: int, heads: int, channels: int, scaled: bool, draws: Draws) -> Results:
    leaves = draws.leaf(receivers, heads * channels), draws.leaf(receivers, heads, 5), draws.leaf(5, heads * channels)
    scale = draws.uniform(receivers) if scaled else None
    return with_gradients(list(attention_output.attention_totals(*leaves, scale)), list(leaves))


def features(rows: int, width: int, draws: Draws) -> Results:
    shapes = [(width,), (width,), (), (width,), ()]
    tables = [draws.leaf(rows, *shape) for shape in shapes]
    added = [draws.leaf(3, *shape) for shape in shapes]
    # On the CPU the function itself is in plain torch.
    values = feature_sums._add_features(tables, draws.uniform(rows, 3), added)
    return with_gradients(list(values), tables + added)


def items(width: int, valued: bool, draws: Draws) -> Results:
    users, movies, entries = 6, 9, 120
    source, target = ((draws.normal(movies, width) / 4).requires_grad_() for _ in range(2))
    lists = CSRLists(draws.pointer(users, entries), draws.integers(movies, entries).to(torch.int32), movies)
    sent = draws.uniform(entries) * (draws.uniform(entries) > 0.3)
    value = draws.uniform(entries) if valued else None
    loss = item_scores.squared_loss(source, target, lists, sent, value, draws.uniform(users))
    return with_gradients([loss], [source, target])


def messages_of_users(valued: bool, rate: float, draws: Draws) -> Results:
    counts = torch.tensor([0, 3, 200, 1, 7])
    start = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    entries, users = int(start[-1]), torch.tensor([2, 0, 4, 1])
    pointer = torch.cat([torch.zeros(1, dtype=torch.int64), counts[users].cumsum(0)]).to(draws.device)
    movie, edge_id = draws.integers(50, entries).to(torch.int32), torch.arange(entries) + 10
    value = draws.uniform(entries).double() if valued else None
    every = start.to(draws.device), movie, edge_id.to(draws.device), value
    found = user_messages(users.to(draws.device), pointer, 210, every, 77, rate, draws.normal(1))
    return [tensor for tensor in found if tensor is not None]


FUNCTIONS: dict[str, Callable[[Draws], Results]] = {
    "order of 7 lists": functools.partial(order, 7, 9, 100),
    "order of no entries": functools.partial(order, 5, 40, 0),
    "order of 30 lists": functools.partial(order, 30, 600, 700),
    "factors of degrees": factors,
    "row penalties": penalties,
    "norms": norms,
    "squared errors of no targets": functools.partial(squared_errors, 0, 3),
    "squared errors": functools.partial(squared_errors, 2100, 0),
    "squared errors with time": functools.partial(squared_errors, 2100, 3),
    "scaled biases": functools.partial(biases, 2100),
    "scaled biases of no users": functools.partial(biases, 0),
    "attention of no receivers": functools.partial(attention, 0, 2, 4, True),
    "attention by degree": functools.partial(attention, 37, 2, 32, True),
    "attention of 3 heads": functools.partial(attention, 300, 3, 5, False),
    "wide attention": functools.partial(attention, 9, 1, 300, True),
    "totals of no receivers": functools.partial(totals, 0, 2, 4, True),
    "totals": functools.partial(totals, 37, 2, 32, False),
    "scaled totals of 3 heads": functools.partial(totals, 300, 3, 5, True),
    "features of no rows": functools.partial(features, 0, 8),
    "features": functools.partial(features, 150, 24),
    "wide features": functools.partial(features, 5, 300),
    "item scores": functools.partial(items, 10, False),
    "item scores with values": functools.partial(items, 64, True),
    "wide item scores": functools.partial(items, 300, True),
    "messages of users": functools.partial(messages_of_users, False, 0.3),
    "messages of users with values": functools.partial(messages_of_users, True, 0.3),
    "messages of users without dropout": functools.partial(messages_of_users, False, 0.0),
}
#: Cases whose kernels the compiler gets, of float32.
COMPILED = [name for name in FUNCTIONS if " no " not in name]


def compare(function: Callable[[Draws], Results], device: str) -> None:
    for dtype in DTYPES:
        results = []
        for name in ("reference", "triton", "triton"):
            with dispatch.forced(name):
                results.append(function(Draws(device, dtype)))
        for expected, actual, again in zip(*results, strict=True):
            assert actual.dtype == expected.dtype and actual.device == expected.device
            assert torch.equal(actual, again), "two runs differ"
            tolerance = TOLERANCES[dtype] if actual.is_floating_point() else 0
            torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def compiles(function: Callable[[Draws], Results], capability: int) -> None:
    """Compiles the kernels of a case; results are of memory that nothing wrote."""
    with dispatch.forced("triton"), launched_resources(capability) as launched:
        function(Draws("cpu", torch.float32))
    assert launched
    for name, used in launched:
        assert used["spills"] == 0 and 0 < used["registers"] <= 255, (name, used)


def main(where: str) -> None:
    from gnnrec.kernels import chunks_triton

    if where == "compiler":
        names = [(name, capability) for name in COMPILED for capability in CAPABILITIES]
        print_errors(
            {f"{name} {number}": functools.partial(compiles, FUNCTIONS[name], number) for name, number in names}
        )
        return
    if where == "cpu":
        chunks_triton.CHUNK = CHUNK
    print_errors({name: functools.partial(compare, function, where) for name, function in FUNCTIONS.items()})


if __name__ == "__main__":
    main(sys.argv[1])
