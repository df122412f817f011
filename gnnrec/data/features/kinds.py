"""Shared parts of the kinds of features: a parsed column, what is learned from it, and why one is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

import numpy as np

#: Rows that are encoded at a time.
BLOCK = 1 << 14


class Unusable(Exception):
    """A column that is left out; the text says why, such as ``constant``."""


@dataclasses.dataclass(frozen=True)
class FeatureSettings:
    """Options of encoding.

    Attributes:
        dims: Most columns that one column of a table becomes, apart from flags.
        count: Training nodes with a category for it to have a column of its own.
    """

    dims: int = 64
    count: int = 5


@dataclasses.dataclass(frozen=True)
class FittedColumn:
    """Constants that encode a column.

    Attributes:
        width: Number of columns of the array, without the one for missing values.
        details: Constants as JSON has them (:class:`gnnrec.data.features.node_features.FeatureGroup`).
        weights: float32 ``[inputs, width]``, or None.
        constant: Reason why the values alone say nothing, such as ``all values are 3``; only which nodes have one does.
    """

    width: int
    details: dict[str, Any]
    weights: np.ndarray | None = None
    constant: str | None = None


class Column(Protocol):
    """A parsed column of a table.

    Attributes:
        kind: One of :data:`gnnrec.data.features.node_features.KINDS`.
    """

    kind: ClassVar[str]

    @property
    def missing(self) -> np.ndarray:
        """Rows of the table without a value, bool ``[rows]``."""
        ...

    def fit(self, rows: np.ndarray, settings: FeatureSettings) -> FittedColumn:
        """Learns constants.

        Args:
            rows: Rows of the table that have a value and belong to a node with training ratings, int64, at least one.
            settings: The options.

        Raises:
            Unusable: The column says nothing, or cannot be used.
        """
        ...

    def encode(self, rows: np.ndarray, fitted: FittedColumn) -> np.ndarray:
        """Encodes rows of the table that have a value: float ``[len(rows), fitted.width]``."""
        ...


def encode_nodes(column: Column, rows: np.ndarray, fitted: FittedColumn) -> np.ndarray:
    """Encodes nodes, with zeros and the flag for missing values: float ``[nodes, columns]``.

    Args:
        column: The column.
        rows: Row of the table of each node, int64 ``[nodes]``; -1 for a node that is not in the table.
        fitted: The constants.
    """
    present = has_value(column, rows)
    if not fitted.details["missing"] and present.all():
        return column.encode(rows, fitted)
    x = np.zeros((len(rows), fitted.width + bool(fitted.details["missing"])), np.float32)
    if present.any():
        x[present, : fitted.width] = column.encode(rows[present], fitted)
    if fitted.details["missing"]:
        x[~present, fitted.width] = 1
    return x


def has_value(column: Column, rows: np.ndarray) -> np.ndarray:
    """Flags nodes that have a value: bool ``[nodes]``; arguments as those of :func:`encode_nodes`."""
    present = ~column.missing[rows]  # of the last row where there is none
    return present if rows.min(initial=0) >= 0 else present & (rows >= 0)


def fit_nodes(column: Column, train_rows: np.ndarray, settings: FeatureSettings) -> FittedColumn:
    """Learns the constants of a column from nodes with training ratings.

    Args:
        column: The column.
        train_rows: Row of the table of each node with training ratings, int64; -1 for one that is not in the table.
        settings: The options.

    Raises:
        Unusable: The column says nothing about these nodes, or cannot be used.
    """
    present = has_value(column, train_rows)
    if not present.any():
        raise Unusable("no node with training ratings has a value")
    fitted = column.fit(train_rows[present], settings)
    if fitted.constant is not None and present.all():
        raise Unusable(fitted.constant)
    return dataclasses.replace(fitted, details=fitted.details | {"missing": not bool(present.all())})


def row_blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the rows in blocks."""
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]
