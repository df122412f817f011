"""Triton kernels of attention, compiled for GPUs, keep their sums in registers."""

from __future__ import annotations

import pytest

from tests.kernels.triton_program import run_program

pytestmark = pytest.mark.slow


def test_kernels_fit_into_the_registers_of_gpus(tmp_path):
    actual = run_program("triton_attention_resources", [], tmp_path, False)
    assert len(actual) >= 40
    assert {name: taken for name, taken in actual.items() if taken["spills"]} == {}
    # With 192 registers, ten warps fit on a multiprocessor.
    assert all(0 < taken["registers"] <= 192 and taken["shared"] <= 1024 for taken in actual.values())
