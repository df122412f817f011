"""Sums and maxima over ranks, also of tensors that are not contiguous."""

from __future__ import annotations

import torch

from gnnrec.distributed.world import World
from tests.distributed.ranks import run_on_ranks


def filled(world: World) -> torch.Tensor:
    return torch.arange(12.0).view(3, 4) * (-1) ** world.rank + 100 * world.rank


def collect(world: World) -> dict[str, torch.Tensor]:
    """Collectives in place on a part of a table, which must not change the rest of it."""
    found = {}
    for name, collective in (("sum", world.all_reduce_sum_), ("max", world.all_reduce_max_)):
        for part, where in (("columns", (slice(None), slice(1, 3))), ("rows", slice(1, 2))):
            table = filled(world)
            returned = collective(table[where])
            found[f"{name} {part}"], found[f"{name} {part} returned"] = table, returned.clone()
    leaf = filled(world).requires_grad_()
    found["reduced"] = world.reduce(leaf[:, :3] * (1 + world.rank))
    weights = torch.arange(9.0).view(3, 3) + world.rank
    found["reduced"].backward(weights)
    found["gradient"] = leaf.grad
    found["reduced"] = found["reduced"].detach()
    return found


def test_collectives_on_views_reduce_only_their_elements():
    ranks = run_on_ranks(3, collect)
    whole = torch.stack([filled(World(rank, 3)) for rank in range(3)])
    expected = {"sum": whole.sum(0), "max": whole.amax(0)}
    for rank, found in enumerate(ranks):
        for name, value in expected.items():
            for part, where in (("columns", (slice(None), slice(1, 3))), ("rows", slice(1, 2))):
                table = whole[rank].clone()
                table[where] = value[where]
                assert torch.equal(found[f"{name} {part}"], table)
                assert torch.equal(found[f"{name} {part} returned"], value[where])
        assert torch.equal(found["reduced"], sum((1 + other) * whole[other, :, :3] for other in range(3)))
        # The sum of all ranks' gradients, times this rank's factor.
        gradient = torch.zeros(3, 4)
        gradient[:, :3] = (1 + rank) * (3 * torch.arange(9.0).view(3, 3) + 3)
        assert torch.equal(found["gradient"], gradient)
