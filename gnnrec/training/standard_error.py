"""Whether a gain on validation is more than chance."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.distributed.world import World


@torch.no_grad()
def exceeds_standard_error(gain: Tensor, world: World) -> bool:
    """Whether the mean of gains over all ranks is greater than its standard error.

    Args:
        gain: By how much the squared error of each of this rank's independent elements falls, float ``[elements]``.
        world: The ranks; every rank calls this and gets the same answer. Fewer than two elements prove nothing.
    """
    gain = gain.double()
    sums = torch.stack([gain.sum(), gain.square().sum(), gain.new_tensor(float(gain.numel()))])
    total, square, count = world.all_reduce_sum_(sums).tolist()
    if count < 2:
        return False
    variance = max(square - total**2 / count, 0.0) / (count - 1)
    return total / count > (variance / count) ** 0.5
