"""Sums and maxima over ranks, also of tensors that are not contiguous."""

from __future__ import annotations

import pytest
import torch

from gnnrec.distributed.world import World
from tests.distributed.ranks import run_on_ranks

# Quick tests on several ranks run in one process of pytest-xdist, since the server that forks ranks starts slowly.
pytestmark = pytest.mark.xdist_group("ranks")


def filled(world: World) -> torch.Tensor:
    return torch.arange(12.0).view(3, 4) * (-1) ** world.rank + 100 * world.rank


def collect(world: World) -> dict[str, torch.Tensor]:
    """Collectives in place on a part of a table, which must not change the rest of it."""
    results = {}
    for name, collective in (("sum", world.all_reduce_sum_), ("max", world.all_reduce_max_)):
        for part, where in (("columns", (slice(None), slice(1, 3))), ("rows", slice(1, 2))):
            table = filled(world)
            returned = collective(table[where])
            results[f"{name} {part}"], results[f"{name} {part} returned"] = table, returned.clone()
    leaf = filled(world).requires_grad_()
    results["reduced"] = world.reduce(leaf[:, :3] * (1 + world.rank))
    weights = torch.arange(9.0).view(3, 3) + world.rank
    world.use(results["reduced"]).backward(weights)
    results["gradient"] = leaf.grad
    for name, rows in (("used gradient", None), ("gradient of used rows", torch.tensor([0, 2]))):
        shared = torch.zeros(3, 3, requires_grad=True)
        used = world.use(shared, rows)
        assert torch.equal(used, shared)
        # Rows that no rank uses have no gradient.
        used.backward(weights if rows is None else weights * torch.tensor([[1.0], [0.0], [1.0]]))
        results[name] = shared.grad
    results["reduced"] = results["reduced"].detach()
    return results


def test_collectives_on_views_reduce_only_their_elements():
    ranks = run_on_ranks(3, collect)
    whole = torch.stack([filled(World(rank, 3)) for rank in range(3)])
    expected = {"sum": whole.sum(0), "max": whole.amax(0)}
    for rank, results in enumerate(ranks):
        for name, value in expected.items():
            for part, where in (("columns", (slice(None), slice(1, 3))), ("rows", slice(1, 2))):
                table = whole[rank].clone()
                table[where] = value[where]
                assert torch.equal(results[f"{name} {part}"], table)
                assert torch.equal(results[f"{name} {part} returned"], value[where])
        assert torch.equal(results["reduced"], sum((1 + other) * whole[other, :, :3] for other in range(3)))
        # The mean of all ranks' gradients, since each used the sum, times their number and this rank's factor.
        gradient = torch.zeros(3, 4)
        gradient[:, :3] = (1 + rank) * (3 * torch.arange(9.0).view(3, 3) + 3)
        assert torch.equal(results["gradient"], gradient)
        assert torch.equal(results["used gradient"], torch.arange(9.0).view(3, 3) + 1)
        some = torch.zeros(3, 3)
        some[[0, 2]] = torch.arange(9.0).view(3, 3)[[0, 2]] + 1
        assert torch.equal(results["gradient of used rows"], some)
