"""The columns with the highest scores of each row: exact, with some left out, and without a matrix of all scores."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import top_reference
from gnnrec.kernels.dispatch import choose


class Columns:
    """What rows are scored with.

    A score is ``bias[c] + dot(row, vectors[c])``, or with a ``weight`` that of a layer of hidden units,
    ``bias[c] + sum_d weight[d] * max(row[d] + vectors[c, d], 0)``. On a CPU it is the same to the last bit however rows
    are cut into blocks, threads and ranks.

    Args:
        vectors: float32 ``[columns, dim]``.
        bias: float32 ``[columns]``.
        weight: float32 ``[dim]``, or None.
    """

    def __init__(self, vectors: Tensor, bias: Tensor, weight: Tensor | None = None):
        self._kernels = choose(vectors.device, "top", top_reference)
        self._columns = self._kernels.lay_out(vectors, bias, weight)
        self.count = len(vectors)

    def best(self, rows: Tensor, pointer: Tensor, left_out: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Scores and columns of each row, best first; of equal scores the lower column is first.

        Args:
            rows: float32 ``[rows, dim]``.
            pointer: int64 ``[rows + 1]``: row ``r`` leaves out ``left_out[pointer[r] : pointer[r + 1]]``.
            left_out: int32 columns, ascending within a row.
            k: Columns wanted.

        Returns:
            float32 and int32 ``[rows, min(k, columns)]``. Where a row has fewer columns, the last ones are -1; scores
            that are not numbers, or minus infinity, do not count.
        """
        return self._kernels.best(rows, self._columns, pointer, left_out, min(k, self.count))
