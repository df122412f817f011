"""Categories and lists of categories: a column for each frequent one, and one for the rare ones together."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from gnnrec.data.features.kinds import FeatureSettings, FittedColumn, Unusable
from gnnrec.data.features.projection import encode_projected, fit_projection

if TYPE_CHECKING:
    from scipy import sparse

#: Most categories of a list that are counted before they are reduced.
_MOST = 4096


@dataclasses.dataclass
class CategoryColumn:
    """Categories.

    Attributes:
        codes: int64 ``[rows]``: positions in ``names``, -1 for a missing value.
        names: The categories.
        letters: Number of first letters of the values that are the category; None for all.
    """

    codes: np.ndarray
    names: list[str]
    letters: int | None = None
    kind: ClassVar[str] = "category"

    @cached_property
    def missing(self) -> np.ndarray:
        """Rows without a value, bool ``[rows]``."""
        return self.codes < 0

    def fit(self, rows: np.ndarray, settings: FeatureSettings) -> FittedColumn:
        """Chooses the categories that get a column."""
        count = np.bincount(self.codes[rows], minlength=len(self.names))
        kept = _frequent(count, self.names, settings.count, settings.dims)
        distinct, has_rare = int((count > 0).sum()), bool(count.sum() > count[kept].sum())
        if not kept:
            raise Unusable(f"none of {distinct:,} categories has {settings.count} nodes with training ratings")
        details = {"categories": [self.names[code] for code in kept], "rare": has_rare}
        if self.letters is not None:
            details["letters"] = self.letters
        constant = f"all values are {self.names[kept[0]]}" if distinct == 1 else None
        return FittedColumn(len(kept) + has_rare, details, constant=constant)

    def encode(self, rows: np.ndarray, fitted: FittedColumn) -> np.ndarray:
        """Writes 1 into the column of each row's category."""
        columns = _positions(self.names, fitted)[self.codes[rows]]
        x = np.zeros((len(rows), fitted.width), np.float32)
        known = np.flatnonzero(columns >= 0)
        x[known, columns[known]] = 1
        return x


@dataclasses.dataclass
class ListColumn:
    """Lists of categories.

    Attributes:
        ptr: int64 ``[rows + 1]``: row ``r`` has entries ``ptr[r]`` to ``ptr[r + 1]``.
        codes: int64 ``[entries]``: positions in ``names``.
        names: The categories.
        missing: Rows without a list, bool ``[rows]``.
    """

    ptr: np.ndarray
    codes: np.ndarray
    names: list[str]
    missing: np.ndarray
    kind: ClassVar[str] = "list"

    def fit(self, rows: np.ndarray, settings: FeatureSettings) -> FittedColumn:
        """Chooses the categories that get a column, or reduces them if there are too many."""
        count = np.asarray((self._counts(rows, np.arange(len(self.names)), len(self.names)) > 0).sum(0)).ravel()
        kept = _frequent(count, self.names, settings.count, _MOST)
        if not kept:
            distinct = int((count > 0).sum())
            raise Unusable(f"none of {distinct:,} categories has {settings.count} nodes with training ratings")
        has_rare = bool(count.sum() > count[kept].sum())
        details = {"categories": [self.names[code] for code in kept], "rare": has_rare}
        inputs = FittedColumn(len(kept) + has_rare, details)
        shares = self._shares(rows, inputs)
        if len(kept) <= settings.dims:
            is_constant = np.ptp(shares.toarray(), axis=0).max() == 0
            return dataclasses.replace(inputs, constant="all lists are equal" if is_constant else None)
        projection = fit_projection(shares, settings.dims)
        return dataclasses.replace(projection, details=details | projection.details)

    def encode(self, rows: np.ndarray, fitted: FittedColumn) -> np.ndarray:
        """Shares of the categories in each list: rows sum to one, or to zero if no category is known."""
        if fitted.weights is None:
            return self._shares(rows, fitted).toarray()
        inputs = FittedColumn(len(fitted.weights), fitted.details)
        return encode_projected(self._shares(rows, inputs), fitted)

    def _shares(self, rows: np.ndarray, inputs: FittedColumn) -> sparse.csr_matrix:
        """Share of each input in each list, float64 ``[len(rows), inputs.width]``."""
        from scipy import sparse  # imported late: it takes a while

        counts = self._counts(rows, _positions(self.names, inputs), inputs.width)
        total = np.asarray(counts.sum(1)).ravel()
        return sparse.csr_matrix(sparse.diags(1 / np.maximum(total, 1)) @ counts)

    def _counts(self, rows: np.ndarray, columns: np.ndarray, width: int) -> sparse.csr_matrix:
        """Counts entries by column; those with column -1 are left out."""
        from scipy import sparse

        length = self.ptr[rows + 1] - self.ptr[rows]
        owner = np.repeat(np.arange(len(rows)), length)
        entry = np.arange(len(owner)) + np.repeat(self.ptr[rows] - (np.cumsum(length) - length), length)
        column = columns[self.codes[entry]] if len(entry) else np.zeros(0, np.int64)
        known = column >= 0
        ones = np.ones(int(known.sum()))
        return sparse.csr_matrix((ones, (owner[known], column[known])), shape=(len(rows), width))


def _frequent(count: np.ndarray, names: list[str], least: int, most: int) -> list[int]:
    """Codes of categories with a count of ``least`` or more: the most frequent ones first, ties by name."""
    codes = np.flatnonzero(count >= least).tolist()
    return sorted(codes, key=lambda code: (-count[code], names[code]))[:most]


def _positions(names: list[str], fitted: FittedColumn) -> np.ndarray:
    """Column of each category: of rare and unknown ones the last, or -1 if there is none; int64 ``[names]``."""
    column = {name: position for position, name in enumerate(fitted.details["categories"])}
    other = len(column) if fitted.details["rare"] else -1
    return np.array([column.get(name, other) for name in names], np.int64)
