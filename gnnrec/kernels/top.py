"""Exact top-k columns of each row, with excluded columns: of a product without its matrix, or of a matrix of scores."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import top_reference
from gnnrec.kernels.dispatch import choose


class ColumnScorer:
    """Columns to score rows with.

    A score is ``bias[c] + dot(row, vectors[c])``, or with a ``weight`` that of a layer of hidden units,
    ``bias[c] + sum_d weight[d] * max(row[d] + vectors[c, d], 0)``. On a CPU it does not depend on blocks, threads and
    ranks, bit for bit.

    Args:
        vectors: float32 ``[columns, dim]``.
        bias: float32 ``[columns]``.
        weight: float32 ``[dim]``, or None.
    """

    def __init__(self, vectors: Tensor, bias: Tensor, weight: Tensor | None = None):
        self._kernels = choose(vectors.device, "top", top_reference)
        self._columns = self._kernels.lay_out(vectors, bias, weight)
        self.count = len(vectors)

    def best(self, rows: Tensor, pointer: Tensor, excluded: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Computes the top-k scores and columns of each row, best first; ties go to the lower column.

        Args:
            rows: float32 ``[rows, dim]``.
            pointer: int64 ``[rows + 1]``: row ``r`` excludes ``excluded[pointer[r] : pointer[r + 1]]``.
            excluded: int32 columns, ascending within a row.
            k: Columns per row.

        Returns:
            float32 and int32 ``[rows, min(k, columns)]``. Columns are -1 after a row's last one; NaN and minus
            infinity are no scores.
        """
        return self._kernels.best(rows, self._columns, pointer, excluded, min(k, self.count))


def best_columns(
    scores: Tensor, allowed: Tensor | None, pointer: Tensor, excluded: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Computes the top-k columns of each row of a matrix, best first; ties go to the lower column.

    Args:
        scores: float32 or float64 ``[rows, columns]``.
        allowed: Columns that are listed, bool ``[columns]``; None for all.
        pointer: int64 ``[rows + 1]``: row ``r`` excludes ``excluded[pointer[r] : pointer[r + 1]]``.
        excluded: int32 columns, ascending within a row.
        k: Columns per row.

    Returns:
        int32 ``[rows, min(k, columns)]`` and the scores there. Columns are -1 after a row's last one; NaN and minus
        infinity are no scores.
    """
    kernels = choose(scores.device, "top", top_reference)
    return kernels.best_columns(scores, allowed, pointer, excluded, min(k, scores.shape[1]))


def first_ranks(
    scores: Tensor,
    rows: Tensor,
    allowed: Tensor,
    pointer: Tensor,
    excluded: Tensor,
    wanted_pointer: Tensor,
    wanted: Tensor,
) -> Tensor:
    """Computes the rank of the first wanted column in the whole ranking of some rows of a matrix.

    Ties go to the lower column. Scores that are not finite are ranked too: NaN and minus infinity as the lowest finite
    number, infinity as the highest.

    Args:
        scores: Float ``[all rows, columns]``.
        rows: Rows to rank, int64 ``[rows]``.
        allowed: Columns that are ranked, bool ``[columns]``.
        pointer: int64 ``[rows + 1]``: ``rows[r]`` excludes ``excluded[pointer[r] : pointer[r + 1]]``.
        excluded: int32 columns, ascending within a row.
        wanted_pointer: int64 ``[rows + 1]``: ``rows[r]`` wants ``wanted[wanted_pointer[r] : wanted_pointer[r + 1]]``.
        wanted: int32 columns, at least one for each row.

    Returns:
        float64 ``[rows]``, from 1; infinite if no wanted column is ranked.
    """
    kernels = choose(scores.device, "top", top_reference)
    return kernels.first_ranks(scores, rows, allowed, pointer, excluded, wanted_pointer, wanted)
