"""Text: words and groups of letters, hashed to a fixed number of inputs and reduced by a truncated SVD."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from gnnrec.data.features.kinds import FeatureSettings, FittedColumn, row_blocks
from gnnrec.data.features.projection import encode_projected, fit_projection

if TYPE_CHECKING:
    from scipy import sparse

#: Inputs for words and pairs of words, and as many for groups of letters within words.
_INPUTS = 1 << 13
_WORDS, _LETTERS = (1, 2), (3, 4)
#: First letters of a text from which groups of letters are taken; they are for titles and names.
_LETTERS_OF = 256


@dataclasses.dataclass
class TextColumn:
    """Text.

    Attributes:
        values: Strings ``[rows]``; null for a missing value.
    """

    values: pa.Array
    kind: ClassVar[str] = "text"

    @cached_property
    def missing(self) -> np.ndarray:
        """Rows without a value, bool ``[rows]``."""
        return self.values.is_null().to_numpy(zero_copy_only=False)

    def fit(self, rows: np.ndarray, settings: FeatureSettings) -> FittedColumn:
        """Learns a truncated SVD."""
        from scipy import sparse  # imported late: it takes a while

        return fit_projection(sparse.vstack([self._count(block) for block in row_blocks(rows)], "csr"), settings.dims)

    def encode(self, rows: np.ndarray, fitted: FittedColumn) -> np.ndarray:
        """Reduces text."""
        return np.concatenate([encode_projected(self._count(block), fitted) for block in row_blocks(rows)])

    def _count(self, rows: np.ndarray) -> sparse.csr_matrix:
        """Shares of words and of letters, float64 ``[len(rows), 2 * _INPUTS]``; each half of a row has norm 1."""
        from scipy import sparse
        from sklearn.feature_extraction.text import HashingVectorizer  # imported late: it takes a second

        shared: dict[str, Any] = {"n_features": _INPUTS, "alternate_sign": False}
        texts = self.values.take(pa.array(rows)).to_pylist()
        words = HashingVectorizer(ngram_range=_WORDS, token_pattern=r"(?u)\b\w+\b", **shared).transform(texts)
        starts = [text[:_LETTERS_OF] for text in texts]
        letters = HashingVectorizer(analyzer="char_wb", ngram_range=_LETTERS, **shared).transform(starts)
        return sparse.hstack([words, letters], "csr")
