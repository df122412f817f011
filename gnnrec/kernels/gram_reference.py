"""Reference implementation of :mod:`gnnrec.kernels.gram`, as a product of sparse matrices."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from gnnrec.kernels.lists import CSRLists


def pair_sums(lists: CSRLists, weight: Tensor | None, first: int, last: int) -> Tensor:
    """See :func:`gnnrec.kernels.gram.pair_sums`."""
    factor = np.ones(lists.entry.numel()) if lists.factor is None else lists.factor.numpy()
    arrays = factor, lists.entry.numpy(), lists.pointer.numpy()
    matrix = scipy.sparse.csr_array(arrays, shape=(lists.rows, lists.columns))[:, first:]
    weighted = matrix if weight is None else scipy.sparse.diags_array(weight.numpy()) @ matrix
    sums = (matrix[:, : last - first].T.tocsr() @ weighted).toarray()
    return torch.from_numpy(np.triu(sums))
