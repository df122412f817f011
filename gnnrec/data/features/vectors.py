"""Vectors of a fixed length, as other programs have computed them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from gnnrec.data.features.kinds import FeatureSettings, FittedColumn
from gnnrec.data.features.projection import encode_components, fit_components


@dataclasses.dataclass
class VectorColumn:
    """Vectors.

    Attributes:
        values: float ``[rows, length]``, may be mapped.
        missing: Rows without a vector, bool ``[rows]``; their values are not read.
    """

    values: np.ndarray
    missing: np.ndarray
    kind: ClassVar[str] = "vector"

    def fit(self, rows: np.ndarray, settings: FeatureSettings) -> FittedColumn:
        """Learns the mean and the scale, and for vectors that are too long their principal components."""
        return fit_components(self.values, rows, settings.dims)

    def encode(self, rows: np.ndarray, fitted: FittedColumn) -> np.ndarray:
        """Centers, scales and reduces vectors."""
        return encode_components(self.values, rows, fitted)
