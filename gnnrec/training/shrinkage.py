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

#: The shrinkage is rounded to a multiple of this number, so that it does not depend on the number of ranks.
STEP = 1e-3
#: Least shrinkage: exported vectors keep their directions, which similar movies and maps of movies are about.
LEAST = 0.01


@torch.no_grad()
def choose_shrinkage(predicted: Tensor, biases: Tensor, rating: Tensor, world: World) -> float:
    """Chooses the shrinkage with the least squared error, from :data:`LEAST` to 1, if it gains over a standard error.

    Args:
        predicted: Predictions of the model without time, not clipped, float ``[ratings of this rank]``.
        biases: Predictions by mean and closed-form biases.
        rating: The validation ratings.
        world: The ranks; every rank calls this.

    Returns:
        The shrinkage, the same on every rank.
    """
    rest, left = predicted.double() - biases.double(), rating.double() - biases.double()
    along, square = world.all_reduce_sum_(torch.stack([rest @ left, rest @ rest])).tolist()
    if not (0 < square < math.inf and math.isfinite(along)):  # no ratings, or a diverged model
        return 1.0
    shrinkage = round(min(max(along / square, LEAST), 1.0) / STEP) * STEP
    gain = (left - rest).square() - (left - shrinkage * rest).square()
    count = gain.new_tensor(float(gain.numel()))
    total, total_square, count = world.all_reduce_sum_(torch.stack([gain.sum(), gain.square().sum(), count])).tolist()
    if count < 2:
        return 1.0
    variance = max(total_square - total**2 / count, 0.0) / (count - 1)
    return shrinkage if total / count > (variance / count) ** 0.5 else 1.0
