"""Reduces many inputs to a few columns: principal components of vectors, truncated SVD of sparse counts.

Columns are centered, and scaled so that the mean squared norm of a row is 1, as that of a category is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gnnrec.data.features.kinds import FittedColumn, Unusable, row_blocks

if TYPE_CHECKING:
    from scipy import sparse

#: Share of the largest variance below which a component is noise of rounding.
_NOISE = 1e-10
#: Rows from which a truncated SVD is learned; of more rows every other one, every third one and so on.
_MOST_ROWS = 100_000


def fit_components(values: np.ndarray, rows: np.ndarray, dims: int) -> FittedColumn:
    """Learns the principal components of some rows of a dense array.

    Args:
        values: float ``[all rows, inputs]``, may be mapped.
        rows: Rows to learn from, int64.
        dims: Most columns; vectors that are not longer are only centered and scaled.

    Raises:
        Unusable: All rows are equal.
    """
    inputs = values.shape[1]
    mean = sum(values[block].sum(0, dtype=np.float64) for block in row_blocks(rows)) / len(rows)
    gram = np.zeros((inputs, inputs))
    for block in row_blocks(rows):
        deviations = values[block].astype(np.float64) - mean
        gram += deviations.T @ deviations
    variance = np.trace(gram) / len(rows)
    if not variance > 1e-12 * (mean @ mean):
        raise Unusable("all vectors are equal")
    if inputs <= dims:
        scale = 1 / np.sqrt(variance)
        return FittedColumn(inputs, {"length": inputs, "mean": mean.tolist(), "scale": float(scale)})
    values_of, vectors = np.linalg.eigh(gram / len(rows))
    order = np.argsort(-values_of)[:dims]
    order = order[values_of[order] > _NOISE * values_of[order[0]]]
    components, kept = vectors[:, order], values_of[order].sum()
    components *= np.where(components[np.abs(components).argmax(0), np.arange(len(order))] < 0, -1, 1)
    weights = (components / np.sqrt(kept)).astype(np.float32)
    details = {"length": inputs, "bias": (mean @ weights).tolist(), "explained": float(kept / variance)}
    return FittedColumn(len(order), details, weights)


def encode_components(values: np.ndarray, rows: np.ndarray, fitted: FittedColumn) -> np.ndarray:
    """Encodes rows with the result of :func:`fit_components`: float32 ``[len(rows), fitted.width]``."""
    details = fitted.details
    x = np.empty((len(rows), fitted.width), np.float32)
    first = 0
    for block in row_blocks(rows):
        part = values[block].astype(np.float64)
        if fitted.weights is None:
            encoded = (part - details["mean"]) * details["scale"]
        else:
            encoded = part @ fitted.weights.astype(np.float64) - details["bias"]
        x[first : first + len(block)] = encoded
        first += len(block)
    return x


def fit_projection(counts: sparse.csr_matrix, dims: int) -> FittedColumn:
    """Learns a truncated SVD of inputs that are weighted by their rarity (inverse document frequency).

    Args:
        counts: float64 ``[rows, inputs]``, not negative.
        dims: Most columns.

    Raises:
        Unusable: There are fewer than three rows, or all are equal.
    """
    from scipy import sparse
    from sklearn.decomposition import TruncatedSVD  # imported late: it takes a second

    counts = counts[:: -(-counts.shape[0] // _MOST_ROWS)]
    frequency = np.asarray((counts > 0).sum(0)).ravel()
    rarity = np.log((1 + counts.shape[0]) / (1 + frequency)) + 1
    weighted = sparse.csr_matrix(counts @ sparse.diags(rarity))
    columns = min(dims, counts.shape[0] - 1, int((frequency > 0).sum()) - 1)
    if columns < 1:
        raise Unusable(f"{counts.shape[0]} nodes with training ratings and {int((frequency > 0).sum())} inputs are few")
    components = TruncatedSVD(columns, random_state=0).fit(weighted).components_.T * rarity[:, None]
    projected = counts @ components
    deviations = projected - projected.mean(0)
    variance = float((deviations**2).sum(1).mean())
    if not variance > 1e-12 * float((projected**2).sum(1).mean()):
        raise Unusable("all values are equal")
    weights = (components / np.sqrt(variance)).astype(np.float32)
    bias = np.asarray(counts.mean(0)).ravel() @ weights.astype(np.float64)
    details: dict[str, Any] = {"bias": bias.tolist()}
    return FittedColumn(columns, details, weights)


def encode_projected(counts: sparse.csr_matrix, fitted: FittedColumn) -> np.ndarray:
    """Encodes rows with the result of :func:`fit_projection`: float32 ``[rows, fitted.width]``."""
    assert fitted.weights is not None
    return np.asarray(counts @ fitted.weights.astype(np.float64) - fitted.details["bias"], np.float32)
