"""The unit of ratings inside models: standard deviations from the mean of the train ratings.

Learning rates, L2 and initial values suit ratings of this unit, so a model is the same for ratings in stars, in percent
or in plays. Mean and standard deviation are constants of the prepared dataset.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gnnrec.data.prepared import Manifest

#: Standardized ratings are multiples of this number. So their float64 sums are exact in any order, and a rating that
#: was rounded in another unit is the same number.
GRID = 2.0**-16
#: Ratings that are converted at a time; their temporaries fit into the CPU cache.
_BLOCK = 1 << 16


@dataclasses.dataclass(frozen=True)
class RatingUnit:
    """Converts ratings to standardized ratings, ``(rating - mean) / std``, and back.

    Attributes:
        mean: Mean of the train ratings.
        std: Their standard deviation; 1 if they are all equal.
        scale: Lowest and highest possible rating.
    """

    mean: float
    std: float
    scale: tuple[float, float]

    @staticmethod
    def of(manifest: Manifest) -> RatingUnit:
        """The unit of a prepared dataset."""
        rating = manifest.rating
        return RatingUnit(rating["mean"], rating["std"], (rating["min"], rating["max"]))

    @property
    def standardized_scale(self) -> tuple[float, float]:
        """Lowest and highest possible standardized rating."""
        low, high = self.standardize_(torch.tensor(self.scale, dtype=torch.float64)).tolist()
        return low, high

    def standardize_(self, rating: Tensor) -> Tensor:
        """Standardizes ratings in place, computing in float64, and returns them.

        Args:
            rating: In the unit of the dataset, float ``[ratings]``.
        """
        for block in rating.split(_BLOCK):
            block.copy_(block.double().sub_(self.mean).div_(self.std * GRID).round_().mul_(GRID))
        return rating

    def restore(self, standardized: Tensor) -> Tensor:
        """Converts standardized ratings, or predictions, to the unit of the dataset."""
        return standardized * self.std + self.mean

    def clip(self, standardized: Tensor) -> Tensor:
        """Clips standardized predictions to the rating scale."""
        return standardized.clamp(*self.standardized_scale)

    def levels(self, standardized: Tensor, levels: list[float]) -> Tensor:
        """Nearest rating level of each standardized rating, uint8 ``[ratings]``; of two at one distance the lower.

        Args:
            standardized: Float ``[ratings]``.
            levels: Ascending, in the unit of the dataset.
        """
        centers = self.standardize_(torch.tensor(levels, dtype=torch.float64))
        level = torch.zeros(standardized.shape, dtype=torch.uint8, device=standardized.device)
        midpoints = ((centers[1:] + centers[:-1]) / 2).tolist()
        for block, source in zip(level.split(_BLOCK), standardized.split(_BLOCK)):
            for midpoint in midpoints:  # at most 63; torch.bucketize takes five times as long
                block += source > midpoint + GRID
        return level
