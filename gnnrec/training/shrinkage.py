"""Shrinkage of a rating model towards closed-form biases, where validation shows that the rest is mostly noise.

On sparse ratings a model can be worse than the biases that it contains. So a prediction is
``biases + shrinkage * (prediction of the model - biases)``, where the biases are the mean and the closed-form biases of
user and movie. The shrinkage is 1 unless the validation error falls by more than a standard error without it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.models.options import LEAST_SHRINKAGE
from gnnrec.training.standard_error import sums_exceed_standard_error, sums_of

#: The shrinkage is rounded to a multiple of this number, so that it does not depend on the number of ranks.
STEP = 1e-3


@torch.no_grad()
def choose_shrinkage(predicted: Tensor, biases: Tensor, rating: Tensor, world: World) -> float:
    """Chooses the shrinkage with the least squared error, from :data:`LEAST_SHRINKAGE` to 1.

    It is 1 unless that gains more than a standard error.

    Args:
        predicted: Predictions of the model without time, not clipped, float ``[ratings of this rank]``.
        biases: Predictions by mean and closed-form biases.
        rating: The validation ratings.
        world: The ranks; every rank calls this.

    Returns:
        The shrinkage, the same on every rank.
    """
    biases = biases.double()
    rest, left = predicted.double() - biases, rating.double() - biases
    # Computed on the device, so that the host waits once.
    along, square = world.all_reduce_sum_(torch.stack([rest @ left, rest @ rest]))
    shrinkage = (along / square).clamp(LEAST_SHRINKAGE, 1.0).div_(STEP).round_().mul_(STEP)
    gain = (left - rest).square_() - (left - shrinkage * rest).square_()
    sums = world.all_reduce_sum_(sums_of(gain))
    chosen, with_left, squared, *of_gain = torch.cat([torch.stack([shrinkage, along, square]), sums]).tolist()
    if not (0 < squared < math.inf and math.isfinite(with_left)):  # no ratings, or a diverged model
        return 1.0
    return chosen if sums_exceed_standard_error(*of_gain) else 1.0
