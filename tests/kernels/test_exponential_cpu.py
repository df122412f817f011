"""Exponentials in compiled loops against NumPy's in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.exponential_cpu import exponentials


@compiled
def _compiled(values, count):
    exponentials(values, count)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_exponentials_are_accurate_in_the_range_of_the_type(dtype, tolerance):
    values = np.linspace(-86, 87, 100_003).astype(dtype)
    actual = values.copy()
    _compiled(actual, len(actual))
    np.testing.assert_allclose(actual, np.exp(values.astype(np.float64)), rtol=tolerance)


def test_float32_results_are_finite_and_other_values_unchanged():
    values = np.array([-1e30, -200, 0, 200, 5], np.float32)
    _compiled(values, 4)
    assert 0 <= values[0] < 2e-38 and 0 <= values[1] < 2e-38 and values[2] == 1
    assert 1e38 < values[3] < np.inf and values[4] == 5
