"""Whether a difference on validation is more than chance."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.distributed.world import World


@torch.no_grad()
def exceeds_standard_error(difference: Tensor, world: World) -> bool:
    """Whether the mean of differences over all ranks is greater than its standard error, or not a number.

    Args:
        difference: Between squared errors of each of this rank's independent elements, float ``[elements]``.
        world: The ranks; every rank calls this and gets the same answer. Fewer than two elements prove nothing.
    """
    return sums_exceed_standard_error(*world.all_reduce_sum_(sums_of(difference)).tolist())


def sums_of(difference: Tensor) -> Tensor:
    """Returns the sums of this rank's differences and of their squares, and their number: float64 ``[3]``."""
    difference = difference.double()
    count = torch.tensor(float(difference.numel()), dtype=torch.float64, device=difference.device)
    return torch.stack([difference.sum(), difference.square().sum(), count])


def sums_exceed_standard_error(total: float, square: float, count: float) -> bool:
    """Returns :func:`exceeds_standard_error` from the sums over all ranks."""
    if count < 2:
        return False
    variance = max(square - total**2 / count, 0.0) / (count - 1)
    return not total / count <= (variance / count) ** 0.5
