"""Triton kernels for statistics, compiled for GPUs, keep their sums in registers."""

from __future__ import annotations

import pytest

from tests.kernels.triton_program import run_program

pytestmark = pytest.mark.slow


def test_kernels_fit_into_the_registers_of_gpus(tmp_path):
    actual = run_program("triton_statistics_resources", [], tmp_path, False)
    assert len(actual) >= 33
    assert {name: taken for name, taken in actual.items() if taken["spills"]} == {}
    assert all(0 < taken["registers"] < 256 and taken["shared"] <= 2048 for taken in actual.values())
